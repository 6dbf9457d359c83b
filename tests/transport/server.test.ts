import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import * as http2 from "node:http2"
import { join } from "node:path"
import { describe } from "node:test"
import { create, createFileRegistry, toBinary } from "@bufbuild/protobuf"
import { FileDescriptorProtoSchema, file_google_protobuf_wrappers, StringValueSchema } from "@bufbuild/protobuf/wkt"
import { Context, Deferred, Effect, Result, Stream } from "effect"
import { intercept } from "../../src/core/layers/intercept.ts"
import { Call, flushHeader, sendHeader, sendTrailer } from "../../src/core/rpc/call.ts"
import { RpcError } from "../../src/core/rpc/error.ts"
import * as Metadata from "../../src/core/rpc/metadata.ts"
import { fromHandlers } from "../../src/core/rpc/service.ts"
import { protocols } from "../../src/transport/channel.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { protoMethod } from "../../src/transport/method.ts"
import { ListenError } from "../../src/transport/net/listenError.ts"
import { serve } from "../../src/transport/server.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import {
  bytes,
  calculator,
  dial,
  envelope,
  http1,
  http2Requests,
  http2Session,
  pi,
  request999,
  requests2,
  start,
  watch,
  withLog,
} from "./support.ts"

const json = { "content-type": "application/json" }

const pem = (name: string): string => readFileSync(join(import.meta.dirname, "certificates", name), "utf8")

/** A service of its own package: `other.Echo/Say`. */
const echo = createFileRegistry(
  create(FileDescriptorProtoSchema, {
    name: "other.proto",
    package: "other",
    syntax: "proto3",
    dependency: ["google/protobuf/wrappers.proto"],
    service: [
      {
        name: "Echo",
        method: [
          { name: "Say", inputType: ".google.protobuf.StringValue", outputType: ".google.protobuf.StringValue" },
        ],
      },
    ],
  }),
  () => file_google_protobuf_wrappers,
).getService("other.Echo")

describe("a server", () => {
  test("says where it is, and is there", () =>
    Effect.gen(function* () {
      const server = yield* start(pi)
      assert.equal(server.url, `http://127.0.0.1:${server.port}`)
      assert.equal((yield* (yield* http1(server))(json, '{"n":1}')).status, 200)
    }))

  test("puts an IPv6 address into brackets, or fails where there is none", () =>
    Effect.gen(function* () {
      const listened = yield* Effect.result(serve(pi, { host: "::1", port: 0 }))
      if (Result.isFailure(listened)) {
        assert.ok(listened.failure instanceof ListenError)
        assert.match(listened.failure.message, /^cannot listen on \[::1\]:0: /)
        return
      }
      assert.equal(listened.success.url, `http://[::1]:${listened.success.port}`)
      const taken = yield* Effect.flip(serve(pi, { host: "::1", port: listened.success.port }))
      assert.equal(taken.address, `[::1]:${listened.success.port}`)
      const client = yield* dial(listened.success)
      assert.ok((yield* client.calc({ n: 1 })).value > 2)
    }))

  test("serves several services, each inside its own layers", () =>
    Effect.gen(function* () {
      assert.ok(echo?.methods[0] !== undefined)
      const refuse = intercept(() => Effect.fail(new RpcError({ code: "permission_denied", message: "no" })))
      const say = { method: protoMethod(echo.methods[0]), kind: "unary" as const, run: Effect.succeed }
      const other = fromHandlers(echo, [say])
      const request = yield* http1(yield* start([pi.pipe(refuse), other]))
      assert.equal((yield* request(json, '{"n":1}')).status, 403)
      const said = yield* request({ ...json, ":path": "/other.Echo/Say" }, '"hello"')
      assert.deepEqual([said.status, `${said.body}`], [200, '"hello"'])
    }))

  for (const [how, tls] of [
    ["", {}],
    [" over TLS", { tls: { key: pem("server.key"), cert: pem("server.pem") } }],
  ] as const) {
    test(`gives back long messages as they were, many of them at once${how}`, () =>
      Effect.gen(function* () {
        assert.ok(echo?.methods[0] !== undefined)
        const say = { method: protoMethod(echo.methods[0]), kind: "unary" as const, run: Effect.succeed }
        const { url } = yield* start(fromHandlers(echo, [say]), tls)
        const sessions = yield* Effect.acquireRelease(
          Effect.sync(() => [1, 2].map(() => http2.connect(url, { rejectUnauthorized: false }))),
          (all) =>
            Effect.sync(() => {
              for (const session of all) session.destroy()
            }),
        )
        const messages = Array.from({ length: 24 }, (_, i) => {
          const value = Array.from({ length: 20_000 + 9_000 * i }, (_, at) =>
            String.fromCharCode(32 + ((at * at + i) % 90)),
          )
          return envelope(toBinary(StringValueSchema, create(StringValueSchema, { value: value.join("") })))
        })
        yield* Effect.forEach(
          messages,
          (message, i) =>
            Effect.gen(function* () {
              const session = sessions[i % sessions.length]
              assert.ok(session)
              const headers = { ":path": "/other.Echo/Say", "content-type": "application/grpc" }
              const { body, trailers } = yield* requests2(session)(headers, message)
              assert.equal(trailers["grpc-status"], "0")
              assert.ok(body.equals(message), `message ${i} came back as another`)
            }),
          { concurrency: "unbounded" },
        )
      }))
  }

  test("runs programs in the context that it was started in", () =>
    Effect.gen(function* () {
      class Factor extends Context.Service<Factor, number>()("Factor") {}
      const service = Service.partial(PiCalculator, {
        calc: ({ n }) => Effect.map(Factor, (factor) => ({ value: n * factor })),
      })
      const client = yield* dial(yield* Effect.provideService(start(service), Factor, 3))
      assert.equal((yield* client.calc({ n: 7 })).value, 21)
    }))

  test("answers unimplemented for a method that has no program, and goes on", () =>
    Effect.gen(function* () {
      const client = yield* dial(yield* start(Service.partial(PiCalculator, { calc: calculator.calc })))
      assert.equal((yield* Effect.flip(client.report({}))).code, "unimplemented")
      assert.ok((yield* client.calc({ n: 1 })).value > 2)
    }))

  test("tells programs the address of each peer, which differs by connection and not by HTTP", () =>
    Effect.gen(function* () {
      const peers: Array<string | undefined> = []
      const look = Effect.map(Call, ({ peer }) => ({ value: peers.push(peer.address) }))
      const server = yield* start(Service.partial(PiCalculator, { calc: () => look }))
      for (const open of [http1, http2Requests]) {
        const request = yield* open(server)
        yield* request(json, "{}")
        yield* request(json, "{}")
      }
      const [first, second, third, fourth] = peers
      assert.deepEqual([first, third], [second, fourth])
      assert.notEqual(first, third)
      for (const peer of peers) assert.match(peer ?? "", /^127\.0\.0\.1:\d+$/)
    }))

  test("lets out nothing of a program that died: not in body, headers or trailers", () =>
    withLog((lines) =>
      Effect.gen(function* () {
        const service = Service.make(PiCalculator, {
          ...calculator,
          calc: () => Effect.die(new Error("secret at /home/me")),
        })
        const server = yield* start(service)
        const [one, two] = [yield* http1(server), yield* http2Requests(server)]
        const asked = [
          yield* one(json, "{}"),
          yield* two(json, "{}"),
          yield* one({ "content-type": "application/grpc-web" }, envelope(request999)),
          yield* two({ "content-type": "application/grpc" }, envelope(request999)),
        ]
        for (const answer of asked) {
          const all = `${JSON.stringify([answer.headers, answer.trailers])} ${answer.body}`
          assert.match(decodeURI(all), /internal error/)
          assert.doesNotMatch(all, /secret|home|\.ts/)
        }
        assert.equal(lines.filter((line) => line.includes("secret at /home/me")).length, asked.length)
      }),
    ))

  test("ends the program of a raw client that resets its stream, and of one that closes its connection", () =>
    Effect.gen(function* () {
      for (const leave of ["reset", "close"]) {
        const begun = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const service = Service.make(PiCalculator, {
          ...calculator,
          calc: () =>
            Effect.ensuring(
              Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
              Deferred.succeed(ended, undefined),
            ),
        })
        const session = yield* http2Session(yield* start(service))
        const fiber = yield* Effect.forkChild(requests2(session)(json, bytes("{}")))
        yield* Deferred.await(begun)
        if (leave === "reset") fiber.interruptUnsafe()
        else session.destroy()
        yield* Deferred.await(ended)
      }
    }))

  test("ends a call by the deadline that its client sent, though the client waits on", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      const never = Effect.ensuring(Effect.never, Deferred.succeed(ended, undefined))
      const server = yield* start(Service.make(PiCalculator, { ...calculator, calc: () => never }))
      const grpc = { "content-type": "application/grpc", "grpc-timeout": "20m" }
      const answer = yield* (yield* http2Requests(server))(grpc, envelope(request999))
      assert.equal(answer.trailers["grpc-status"] ?? answer.headers["grpc-status"], "4")
      yield* Deferred.await(ended)
      const unary = yield* (yield* http1(server))({ ...json, "connect-timeout-ms": "20" }, "{}")
      assert.deepEqual([unary.status, JSON.parse(`${unary.body}`).code], [504, "deadline_exceeded"])
    }))

  test("leaves the connection of HTTP/1.1 to the next request where it answered a stream early", () =>
    Effect.gen(function* () {
      const request = yield* http1(yield* start(pi, { maxReceiveBytes: 1000 }))
      const stream = { "content-type": "application/connect+json", ":path": "/pi.PiCalculator/CalcRange" }
      const refused = yield* request(stream, envelope(new Uint8Array(300_000)))
      assert.match(`${refused.body}`, /resource_exhausted/)
      assert.equal((yield* request(json, '{"n":999}')).status, 200)
    }))

  test("serves bidi methods over HTTP/1.1 too, in half duplex", () =>
    Effect.gen(function* () {
      const request = yield* http1(yield* start(pi))
      const stream = { "content-type": "application/connect+json", ":path": "/pi.PiCalculator/CalcStream" }
      const { status, body } = yield* request(stream, Buffer.concat([1, 2].map((n) => envelope(bytes(`{"n":${n}}`)))))
      assert.equal(status, 200)
      assert.equal(`${body}`.match(/"value":/g)?.length, 2)
    }))

  test("sends leading metadata of a gRPC call in a block of its own, though the call fails without an answer", () =>
    Effect.gen(function* () {
      const failing = Effect.andThen(
        sendHeader({ "x-lead": "1" }),
        Effect.fail(new RpcError({ code: "not_found", message: "" })),
      )
      const request = yield* http2Requests(
        yield* start(Service.make(PiCalculator, { ...calculator, calc: () => failing })),
      )
      const { headers, trailers } = yield* request({ "content-type": "application/grpc" }, envelope(request999))
      assert.deepEqual([headers["x-lead"], trailers["grpc-status"]], ["1", "5"])
    }))

  test("cuts an error that is longer than its client takes, and drops metadata that is: other calls go on", () =>
    Effect.gen(function* () {
      const long = "é".repeat(100_000)
      const failing = Effect.fail(new RpcError({ code: "aborted", message: long, metadata: Metadata.of({ x: "y" }) }))
      const wide = { "x-wide": "w".repeat(100_000) }
      const server = yield* start(
        Service.make(PiCalculator, {
          ...calculator,
          calc: ({ n }) => {
            if (n === 1) return failing
            if (n === 2) return Effect.andThen(sendHeader({ x: "y" }), failing)
            if (n === 3) return Effect.as(sendHeader(wide), {})
            return Effect.as(sendTrailer(wide), {})
          },
          calcRange: () => Stream.fromEffect(Effect.as(sendHeader(wide), {})),
        }),
      )
      const client = yield* dial(server)
      const other = yield* Effect.forkChild(client.calcStream(Stream.never).pipe(Stream.runDrain))
      for (const n of [1, 2]) {
        const { code, message } = yield* Effect.flip(client.calc({ n }))
        assert.equal(code, "aborted")
        assert.match(message, /^é{500,}….*65536 bytes/)
      }
      for (const call of [client.calc({ n: 3 }), client.calc({ n: 4 }), Stream.runDrain(client.calcRange({}))]) {
        const { code, message } = yield* Effect.flip(call)
        assert.equal(code, "resource_exhausted")
        assert.match(message, /(leading|trailing) metadata.*65536 bytes/)
      }
      assert.equal(other.pollUnsafe(), undefined)
    }))

  test("refuses gRPC over HTTP/1.1, which can't carry its status everywhere, and says what there is", () =>
    Effect.gen(function* () {
      const request = yield* http1(yield* start(pi))
      const { status, headers, body } = yield* request({ "content-type": "application/grpc" }, envelope(request999))
      assert.deepEqual([status, headers["grpc-status"]], [505, undefined])
      assert.match(`${body}`, /HTTP\/2/)
    }))

  test("tells a client that waits for it to go on with its body, over HTTP/2", () =>
    Effect.gen(function* () {
      const session = yield* http2Session(yield* start(pi))
      const status = yield* Effect.callback<number | undefined>((resume) => {
        const stream = session.request({
          ":method": "POST",
          ":path": "/pi.PiCalculator/Calc",
          ...json,
          expect: "100-continue",
        })
        stream.once("continue", () => stream.end('{"n":999}'))
        stream.once("response", (headers) => resume(Effect.succeed(headers[":status"])))
      })
      assert.equal(status, 200)
    }))
})

describe("a header that is sent before the first message", () => {
  /** A range that sends its header, and then waits. */
  const early = (gate: Deferred.Deferred<void>) =>
    Service.partial(PiCalculator, {
      calc: ({ n }) => Effect.as(flushHeader, { value: n }),
      calcRange: ({ first }) =>
        Stream.fromEffect(
          Effect.gen(function* () {
            yield* sendHeader({ "x-early": "yes" })
            yield* flushHeader
            yield* Deferred.await(gate)
            return { n: first, value: first }
          }),
        ),
    })

  test("comes alone over gRPC", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const session = yield* http2Session(yield* start(early(gate)))
      const stream = session.request({
        ":method": "POST",
        ":path": "/pi.PiCalculator/CalcRange",
        "content-type": "application/grpc",
        te: "trailers",
      })
      const came = <A>(event: string) => Effect.promise(() => new Promise<A>((resolve) => stream.once(event, resolve)))
      stream.end(envelope(request999))
      const headers = yield* came<http2.IncomingHttpHeaders>("response")
      assert.deepEqual([headers[":status"], headers["x-early"]], [200, "yes"])
      yield* Deferred.succeed(gate, undefined)
      stream.resume()
      const trailers = yield* came<http2.IncomingHttpHeaders>("trailers")
      assert.equal(trailers["grpc-status"], "0")
    }))

  for (const contentType of ["application/grpc", "application/connect+proto"]) {
    test(`and is over the client's limit ends its program too, in ${contentType}`, () =>
      Effect.gen(function* () {
        const ended = yield* Deferred.make<void>()
        const calcRange = () =>
          Stream.fromEffect(
            Effect.andThen(sendHeader({ "x-wide": "w".repeat(100_000) }), Effect.andThen(flushHeader, Effect.never)),
          ).pipe(Stream.ensuring(Deferred.succeed(ended, undefined)))
        const request = yield* http2Requests(yield* start(Service.partial(PiCalculator, { calcRange })))
        const headers = { ":path": "/pi.PiCalculator/CalcRange", "content-type": contentType }
        const answer = yield* request(headers, envelope(request999))
        assert.match(
          decodeURI(`${answer.headers["grpc-message"]} ${answer.trailers["grpc-message"]} ${answer.body}`),
          /leading metadata/,
        )
        yield* Deferred.await(ended)
      }))
  }

  for (const protocol of protocols) {
    test(`or with that message: over ${protocol} a client has it in any case`, () =>
      Effect.gen(function* () {
        const gate = yield* Deferred.make<void>()
        yield* Deferred.succeed(gate, undefined)
        const { layer, seen } = watch()
        const client = yield* dial(yield* start(early(gate)), { protocol }, layer)
        assert.equal((yield* client.calc({ n: 3 })).value, 3)
        assert.equal((yield* Stream.runCollect(client.calcRange({ first: 1, last: 1 }))).length, 1)
        assert.ok(seen.call?.response.header.some(([key]) => key === "x-early"))
      }))
  }
})
