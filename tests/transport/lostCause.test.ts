import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { type AddressInfo, createServer } from "node:net"
import { join } from "node:path"
import { describe } from "node:test"
import { Effect, Exit, Fiber, Scope, Stream } from "effect"
import { staticRegistry } from "../../src/core/discovery/static.ts"
import { deadline } from "../../src/core/layers/deadline.ts"
import { retry } from "../../src/core/layers/retry.ts"
import type { ChannelLayer } from "../../src/core/rpc/channel.ts"
import * as Deadline from "../../src/core/rpc/deadline.ts"
import type { RpcError } from "../../src/core/rpc/error.ts"
import * as Client from "../../src/transport/client.ts"
import { discover } from "../../src/transport/discover.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { test } from "../effect.ts"
import { head, scripted } from "./scripted.ts"
import { dial, ownScope, pi, start } from "./support.ts"

const pem = (name: string) => readFileSync(join(import.meta.dirname, "certificates", name), "utf8")

const retried: ChannelLayer = (channel) =>
  channel.pipe(retry({ methods: "all", maxAttempts: 1000, backoff: { initial: 50, multiplier: 1 } }), deadline(400))

/** The address of a server that is there no more. */
const nowhere = Effect.gen(function* () {
  const scope = yield* ownScope
  const { url } = yield* Scope.provide(start(pi, { grace: 0 }), scope)
  yield* Scope.close(scope, Exit.void)
  return { url }
})

const refused =
  /cannot connect to http:\/\/127\.0\.0\.1:\d+: nothing listens there: check the address, and that the server runs/

describe("a call that its deadline ends says which server it waited for, and why", () => {
  for (const waitForReady of [false, true]) {
    test(`nothing listens there, ${waitForReady ? "and it waits for the server" : "each time that it is tried again"}`, () =>
      Effect.gen(function* () {
        const { calc } = yield* dial(yield* nowhere, { waitForReady }, waitForReady ? deadline(400) : retried)
        const { code, message, method } = yield* Effect.flip(calc({ n: 1 }))
        assert.deepEqual([code, method], ["deadline_exceeded", "pi.PiCalculator/Calc"])
        assert.match(message, refused)
        assert.match(
          message,
          waitForReady ? /^the deadline passed before the call could be sent: / : /\d+ attempts failed/,
        )
      }))

    for (const protocol of ["connect", "grpc-web"] as const) {
      test(`the same over ${protocol}, ${waitForReady ? "and it waits for the server" : "each time that it is tried again"}`, () =>
        Effect.gen(function* () {
          const options = { waitForReady, protocol }
          const client = yield* dial(yield* nowhere, options, waitForReady ? deadline(400) : retried)
          const calls = [client.calc({ n: 1 }), Stream.runDrain(client.calcRange({ first: 1, last: 2 }))]
          for (const call of calls) {
            const { code, message } = yield* Effect.flip(Effect.asVoid<unknown, RpcError, never>(call))
            assert.equal(code, "deadline_exceeded")
            assert.match(message, refused)
          }
        }))
    }

    test(`no endpoint of a service can be connected to (${waitForReady ? "it waits" : "it is tried again"})`, () =>
      Effect.gen(function* () {
        const registry = staticRegistry([{ address: (yield* nowhere).url }])
        const channel = yield* discover(registry, "pi", { waitForReady })
        const { calc } = Client.make(PiCalculator, (waitForReady ? deadline(400) : retried)(channel))
        assert.match((yield* Effect.flip(calc({ n: 1 }))).message, refused)
      }))
  }

  test("its certificate isn't trusted", () =>
    Effect.gen(function* () {
      const server = yield* start(pi, { tls: { cert: pem("server.pem"), key: pem("server.key") } })
      const { calc } = yield* dial(server, {}, retried)
      assert.match(
        (yield* Effect.flip(calc({ n: 1 }))).message,
        /its certificate is of no authority that is trusted here/,
      )
    }))

  test("it has no connection yet", () =>
    Effect.gen(function* () {
      // It accepts, and says nothing.
      const silent = createServer()
      yield* Effect.acquireRelease(
        Effect.callback<void>((resume) => void silent.listen(0, "127.0.0.1", () => resume(Effect.void))),
        () => Effect.sync(() => silent.close()),
      )
      const { port } = silent.address() as AddressInfo // It listens on TCP.
      const { calc } = yield* dial({ url: `http://127.0.0.1:${port}` }, { waitForReady: true }, deadline(100))
      assert.match((yield* Effect.flip(calc({ n: 1 }))).message, /^the deadline passed before the call could be sent: /)
    }))

  test("the server takes no more streams", () =>
    Effect.gen(function* () {
      const server = yield* scripted([3, 1])
      const { calc } = yield* dial(server, { maxConnections: 1 })
      yield* Effect.forkScoped(Effect.exit(calc({ n: 1 })))
      yield* (yield* server.accept).request()
      const { message } = yield* Effect.flip(Deadline.within(300)(calc({ n: 2 })))
      assert.match(message, /^the deadline passed before the call could be sent: the server takes no more streams now/)
    }))

  test("the server hasn't responded, or hasn't ended its response", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const { host } = new URL(server.url)
      const { calc, calcRange } = yield* dial(server, {}, deadline(500))
      const silent = yield* Effect.flip(calc({ n: 1 }))
      assert.equal(silent.message, `the deadline passed before the call ended: ${host} had not responded`)
      const stream = yield* Effect.forkChild(Effect.flip(Stream.runDrain(calcRange({ first: 1, last: 2 }))))
      const peer = yield* server.accept
      const { id } = yield* peer.request(1)
      peer.say(head(id))
      const begun = yield* Fiber.join(stream)
      assert.equal(begun.message, `the deadline passed before the call ended: ${host} had not ended its response`)
    }))
})
