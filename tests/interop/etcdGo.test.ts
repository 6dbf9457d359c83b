/**
 * Programs in Go that use etcd's own resolver for grpc-go, against ours: what either registers, the other finds and calls.
 */
import assert from "node:assert/strict"
import { describe } from "node:test"
import { Duration, Effect, Option, Stream } from "effect"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { etcd } from "../../src/transport/etcd/registry.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { contents, etcdServer } from "../transport/etcd/server.ts"
import { watching } from "../transport/etcd/watching.ts"
import { server, started } from "./processes.ts"
import { runtimes, served } from "./programs.ts"
import { shared, test } from "./support.ts"
import { etcdGo } from "./tools.ts"

const long = Duration.minutes(1)

describe("etcd between Go and us", () => {
  const member = shared(etcdServer())

  for (const runtime of runtimes) {
    test(`grpc-go calls our servers on ${runtime} while they are registered`, () =>
      Effect.gen(function* () {
        const service = `pi.${runtime}`
        const registry = yield* etcd(member().url)
        const [first, second] = yield* Effect.all([served([], runtime), served([], runtime)], { concurrency: 2 })
        const { deregister } = yield* registry.register(service, { address: first.host }, long)
        const client = yield* started({ command: etcdGo, args: ["call", member().host, service, "999"] })
        const answered = ({ host }: typeof first) => new RegExp(`pi\\(999\\) = 3\\.14127400894\\d+ from ${host}\n`)
        yield* client.said(answered(first))
        yield* registry.register(service, { address: second.host }, long)
        yield* client.said(answered(second))
        yield* deregister
        // Twice in a row: it doesn't take turns any more.
        yield* client.said(new RegExp(`(from ${second.host}\n.*){2}`))
      }))
  }

  test("we find and call a server of grpc-go's until it leaves, or its lease ends", () =>
    Effect.gen(function* () {
      const registry = yield* etcd(member().url)
      const { until } = yield* watching(registry, "pi.go")
      yield* until()
      const go = { command: etcdGo, args: ["serve", member().host, "pi.go"] }
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { host } = yield* server(go, /^listening on 127\.0\.0\.1:(\d+)$/m)
          yield* until(host)
          const found = yield* Stream.runHead(registry.resolve("pi.go"))
          assert.deepEqual(Option.getOrUndefined(found), [{ address: host }])
          const { calc } = Client.make(PiCalculator, yield* connect(`http://${host}`))
          assert.ok(Math.abs((yield* calc({ n: 999 })).value - 3.141274008942) < 1e-9)
        }),
      )
      // It has deregistered at Ctrl-C.
      yield* until()
      const lost = yield* started(go)
      const [, port] = yield* lost.said(/^listening on 127\.0\.0\.1:(\d+)$/m)
      yield* until(`127.0.0.1:${port}`)
      lost.child.kill("SIGKILL")
      yield* until()
    }))

  test("an endpoint looks the same, whoever has registered it", () =>
    Effect.gen(function* () {
      const registry = yield* etcd(member().url)
      const { host } = yield* server(
        { command: etcdGo, args: ["serve", member().host, "alike"] },
        /^listening on 127\.0\.0\.1:(\d+)$/m,
      )
      const theirs = (yield* contents(member())).get(`alike/${host}`)
      assert.equal(theirs, `{"Op":0,"Addr":"${host}","Metadata":{"by":"grpc-go"}}`)
      yield* registry.register("alike", { address: host }, long)
      const ours = (yield* contents(member())).get(`alike/${host}`)
      assert.equal(ours, theirs?.replace('{"by":"grpc-go"}', "null"))
    }))
})
