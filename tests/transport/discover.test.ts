import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe } from "node:test"
import { Effect, Exit, Fiber, Queue, Scope, Stream } from "effect"
import type { Registry } from "../../src/core/discovery/registry.ts"
import { leastRequest } from "../../src/core/layers/leastRequest.ts"
import { pickFirst } from "../../src/core/layers/pickFirst.ts"
import { retry } from "../../src/core/layers/retry.ts"
import { roundRobin } from "../../src/core/layers/roundRobin.ts"
import type { ChannelLayer } from "../../src/core/rpc/channel.ts"
import { RpcError } from "../../src/core/rpc/error.ts"
import * as Client from "../../src/transport/client.ts"
import { type DiscoverOptions, discover } from "../../src/transport/discover.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { counting, eager, over, tally } from "../faults/support.ts"
import { calculator, start, withLog } from "./support.ts"

const pem = (name: string) => readFileSync(join(import.meta.dirname, "certificates", name), "utf8")

/** A registry that has what the test lists. */
const registered = Effect.fnUntraced(function* (...addresses: ReadonlyArray<string>) {
  const lists = yield* Queue.unbounded<ReadonlyArray<string>>()
  yield* Queue.offer(lists, addresses)
  const registry: Registry = {
    register: () => Effect.fail(new RpcError({ code: "unimplemented", message: "the test lists them" })),
    resolve: () => Stream.map(Stream.fromQueue(lists), (list) => list.map((address) => ({ address }))),
  }
  return { registry, list: (...list: ReadonlyArray<string>) => Queue.offer(lists, list) }
})

/** A client of the calculator, balanced. */
const clientOf = (registry: Registry, layer: ChannelLayer, options: DiscoverOptions = {}) =>
  Effect.map(discover(registry, "pi", { backoff: eager, ...options }), (channel) =>
    Client.make(PiCalculator, layer(channel)),
  )

/** A server that counts the calls it runs, and that the test ends by itself: it drains then. */
const server = Effect.fnUntraced(function* (port = 0) {
  const scope = yield* Effect.acquireRelease(Scope.make(), (made) => Scope.close(made, Exit.void))
  const calls = { count: 0 }
  const service = Service.make(PiCalculator, {
    ...calculator,
    // It takes its time, so that there are calls on it when it drains.
    report: () =>
      Effect.delay(
        Effect.as(
          Effect.sync(() => calls.count++),
          {},
        ),
        1,
      ),
  })
  const started = yield* Scope.provide(start(service, { port, grace: "20 seconds" }), scope)
  return { address: `127.0.0.1:${started.port}`, port: started.port, calls, drain: Scope.close(scope, Exit.void) }
})

describe("discover", () => {
  test("opens a channel to the endpoints that a registry has, and follows them", () =>
    Effect.gen(function* () {
      const [a, b, c] = [yield* server(), yield* server(), yield* server()]
      const { registry, list } = yield* registered(a.address, `http://${b.address}`)
      const client = yield* clientOf(registry, roundRobin())
      const until = (done: () => boolean) => Effect.repeat(client.report({}), { until: done })
      yield* until(() => a.calls.count > 3 && b.calls.count > 3)
      yield* list(a.address, c.address)
      yield* until(() => c.calls.count > 3)
      const [before, others] = [b.calls.count, a.calls.count]
      yield* until(() => a.calls.count > others + 3)
      assert.equal(b.calls.count, before)
    }))

  test("leaves out what is no address, and says so", () =>
    withLog((lines) =>
      Effect.gen(function* () {
        const one = yield* server()
        const { registry } = yield* registered("no address", one.address)
        const client = yield* clientOf(registry, roundRobin())
        for (let i = 0; i < 5; i++) yield* client.report({})
        assert.equal(one.calls.count, 5)
        assert.equal(lines.length, 1)
        assert.match(
          lines[0] ?? "",
          /endpoint "no address" of "pi", which is left out: "http:\/\/no address" is not an/,
        )
      }),
    ))

  test("speaks TLS to addresses without a scheme where it is told how", () =>
    Effect.gen(function* () {
      const secure = yield* start(Service.make(PiCalculator, calculator), {
        tls: { key: pem("server.key"), cert: pem("server.pem") },
      })
      const { registry } = yield* registered(`localhost:${secure.port}`)
      const client = yield* clientOf(registry, roundRobin(), { tls: { ca: pem("ca.pem") } })
      assert.ok((yield* client.calc({ n: 9 })).value > 3)
    }))

  test("fails where its TLS can't be used", () =>
    Effect.gen(function* () {
      const { registry } = yield* registered()
      const error = yield* Effect.flip(discover(registry, "pi", { tls: { ca: "none" } }))
      assert.match(error.message, /^cannot connect to endpoints of "pi": tls\.ca is no certificate/)
    }))

  test("says why a call fails whose endpoints can't be reached", () =>
    Effect.gen(function* () {
      const one = yield* server()
      yield* one.drain
      const { registry } = yield* registered(one.address)
      const client = yield* clientOf(registry, roundRobin())
      const error = yield* Effect.flip(client.report({}))
      assert.equal(error.code, "unavailable")
      assert.match(error.message, /nothing listens there/)
    }))

  for (const [name, layer, spreads] of [
    ["roundRobin", roundRobin(), true],
    ["leastRequest", leastRequest(), true],
    ["pickFirst", pickFirst(), false],
  ] as const) {
    test(`fails no call while servers drain one after another and come back, of a method that must not run twice (${name})`, () =>
      Effect.gen(function* () {
        const servers = [yield* server(), yield* server(), yield* server()]
        const { registry } = yield* registered(...servers.map(({ address }) => address))
        const client = yield* clientOf(registry, layer)
        const calls = tally()
        let stopping = false
        const calling = yield* over(
          Effect.suspend(() => (stopping ? Effect.never : Effect.map(client.report({}), calls.add))),
          32,
        )
        const more = Effect.raceFirst(Fiber.join(calling), calls.more(200))
        let ran = 0
        for (const [i, one] of [...servers.entries()]) {
          yield* more
          yield* one.drain
          ran += one.calls.count
          yield* more
          const next = yield* server(one.port)
          servers[i] = next
          // The next one drains when this one is back.
          if (spreads) yield* Effect.repeat(more, { until: () => next.calls.count > 0 })
        }
        yield* more
        stopping = true
        // Those that run still.
        yield* Effect.forEach(servers, ({ drain }) => drain)
        for (const { calls } of servers) ran += calls.count
        yield* Effect.repeat(Effect.yieldNow, { until: () => calls.count() >= ran })
        assert.equal(calls.count(), ran)
        yield* Fiber.interrupt(calling)
      }))
  }

  test("fails no call that is retried while a server is killed", () =>
    Effect.gen(function* () {
      const [one, other] = yield* Effect.all([counting(), counting()], { concurrency: 2 })
      const { registry } = yield* registered(one.url, other.url)
      const client = yield* clientOf(registry, (channel) => channel.pipe(leastRequest(), retry()))
      const calls = tally()
      const calling = yield* over(Effect.map(client.calc({ n: 9 }), calls.add), 32)
      const more = Effect.raceFirst(Fiber.join(calling), calls.more(300))
      yield* more
      yield* one.kill
      yield* more
      yield* Fiber.interrupt(calling)
    }))
})
