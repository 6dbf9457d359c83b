import assert from "node:assert/strict"
import { createClient } from "@connectrpc/connect"
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web"
import { Effect } from "effect"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { test } from "../effect.ts"
import { file, running, runtimeName, start } from "./command.ts"

test("the core as a library needs neither a server nor a permission", () =>
  Effect.gen(function* () {
    const { code, stdout, stderr } = yield* Effect.promise(() => start(file("examples/core/main.ts")).finished)
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" })
    assert.match(stdout, /^(pi\(\d+\) = \d\.\d+\n){5}$/)
  }))

test("custom errors reach the client in all three ways", () =>
  Effect.gen(function* () {
    const { code, stdout } = yield* Effect.promise(() => start(file("examples/errors/main.ts")).finished)
    assert.equal(code, 0)
    assert.match(stdout, /code: +failed_precondition/)
    assert.match(stdout, /message: +something happened/)
    assert.match(stdout, /x-biz-err-code.*10086/)
    assert.match(stdout, /field: +n\nreason: +BAD_TASTE\nretry in: +1\.500s/)
  }))

test("the edge handler answers Connect JSON and gRPC-Web under the runtime's own server", () =>
  Effect.gen(function* () {
    const adapter = `examples/edge/${runtimeName}.ts`
    const server = yield* running(file(adapter, "0"))
    const [baseUrl] = yield* Effect.promise(() => server.said(/http:\/\/127\.0\.0\.1:\d+/))
    const json = yield* Effect.promise(async () => {
      const response = await fetch(`${baseUrl}/pi.PiCalculator/Calc`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: '{"n":999}',
      })
      return response.json()
    })
    assert.deepEqual(json, { value: 3.1412740089419966 })
    for (const transport of [createGrpcWebTransport({ baseUrl }), createConnectTransport({ baseUrl })]) {
      const client = createClient(PiCalculator, transport)
      const { value } = yield* Effect.promise(() => client.calc({ n: 999 }))
      assert.equal(value, 3.1412740089419966)
      const points = yield* Effect.promise(() => Array.fromAsync(client.calcRange({ first: 1, last: 10 })))
      assert.deepEqual(
        points.map(({ n }) => n),
        [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
      )
      const refused = yield* Effect.promise(() => client.calc({ n: 0 }).catch(String))
      assert.match(String(refused), /\[invalid_argument\] request number should be positive/)
    }
    const grpc = yield* Effect.promise(() =>
      fetch(`${baseUrl}/pi.PiCalculator/Calc`, { method: "POST", headers: { "content-type": "application/grpc" } }),
    )
    assert.equal(grpc.status, 415, "gRPC needs trailers, which fetch doesn't have")
    const lost = yield* Effect.promise(() => fetch(`${baseUrl}/nowhere`))
    assert.equal(lost.status, 404)
    yield* Effect.promise(async () => {
      await grpc.body?.cancel()
      await lost.body?.cancel()
    })
  }))
