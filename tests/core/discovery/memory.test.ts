import assert from "node:assert/strict"
import { describe } from "node:test"
import { Clock, Context, Duration, Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { memoryRegistry } from "../../../src/core/discovery/memory.ts"
import type { Registration, Registry } from "../../../src/core/discovery/registry.ts"
import { test, testWithClock } from "../../effect.ts"
import { property, settle } from "../support.ts"
import { present, service, watching } from "./support.ts"

const a = { address: "10.0.0.1:80" }
const b = { address: "10.0.0.2:80" }
const ttl = Duration.seconds(5)

/** What a registry keeps of services. */
const kept = (registry: Registry) => (registry as unknown as { readonly entries: Map<string, unknown> }).entries.size

describe("the registry in memory", () => {
  testWithClock("tells who watches a service which endpoints there are, and again after each change", () =>
    Effect.gen(function* () {
      const registry = yield* memoryRegistry()
      const { seen } = yield* watching(registry)
      const first = yield* registry.register(service, a, ttl)
      yield* settle
      yield* registry.register(service, b, ttl)
      yield* settle
      yield* first.deregister
      yield* settle
      const late = yield* watching(registry)
      assert.deepEqual(seen, [[], [a.address], [a.address, b.address], [b.address]])
      assert.deepEqual(late.seen, [[b.address]])
    }),
  )

  testWithClock("keeps services apart", () =>
    Effect.gen(function* () {
      const registry = yield* memoryRegistry()
      const { seen } = yield* watching(registry, "another")
      yield* registry.register(service, a, ttl)
      yield* settle
      assert.deepEqual(seen, [[]])
    }),
  )

  testWithClock("tells who takes slowly the last of several changes", () =>
    Effect.gen(function* () {
      const registry = yield* memoryRegistry()
      const seen: Array<number> = []
      const reading = yield* Effect.forkChild(
        Stream.runForEach(registry.resolve(service), (endpoints) =>
          Effect.andThen(
            Effect.sync(() => seen.push(endpoints.length)),
            Effect.sleep("1 second"),
          ),
        ),
      )
      yield* settle
      for (let port = 1; port <= 50; port++) yield* registry.register(service, { address: `h:${port}` }, ttl)
      yield* TestClock.adjust("1 second")
      assert.deepEqual(seen, [0, 50])
      yield* Fiber.interrupt(reading)
    }),
  )

  testWithClock("an endpoint is out when its lease ends, and not before, and who watches is told", () =>
    Effect.gen(function* () {
      const registry = yield* memoryRegistry()
      const { seen } = yield* watching(registry)
      yield* registry.register(service, a, ttl)
      yield* TestClock.adjust("2 seconds")
      yield* registry.register(service, b, ttl)
      yield* TestClock.adjust("2999 millis")
      assert.deepEqual(seen.at(-1), [a.address, b.address])
      yield* TestClock.adjust("1 millis")
      assert.deepEqual(seen.at(-1), [b.address])
      yield* TestClock.adjust("2 seconds")
      assert.deepEqual(seen.at(-1), [])
      assert.deepEqual(yield* present(registry), [])
    }),
  )

  testWithClock("a lease that is renewed has its whole time again; one that has ended can't be", () =>
    Effect.gen(function* () {
      const registry = yield* memoryRegistry()
      const { seen } = yield* watching(registry)
      const { renew } = yield* registry.register(service, a, ttl)
      for (let times = 0; times < 5; times++) {
        yield* TestClock.adjust("4 seconds")
        yield* renew
      }
      yield* TestClock.adjust("4999 millis")
      assert.deepEqual(seen, [[], [a.address]])
      yield* TestClock.adjust("1 millis")
      assert.deepEqual(seen, [[], [a.address], []])
      const { code, message } = yield* Effect.flip(renew)
      assert.deepEqual([code, message], ["not_found", "the lease of 10.0.0.1:80 has ended"])
    }),
  )

  testWithClock("an endpoint that is put in anew is there once, and its first registration has ended", () =>
    Effect.gen(function* () {
      const registry = yield* memoryRegistry()
      const { seen } = yield* watching(registry)
      const first = yield* registry.register(service, a, ttl)
      const second = yield* registry.register(service, a, Duration.seconds(2))
      yield* settle
      assert.equal((yield* Effect.flip(first.renew)).code, "not_found")
      yield* first.deregister
      assert.deepEqual(yield* present(registry), [a.address])
      yield* second.renew
      // Its lease is the shorter one by now.
      yield* TestClock.adjust("2 seconds")
      assert.deepEqual(seen, [[], [a.address], []])
    }),
  )

  testWithClock("deregistering twice is no error, and neither is it after the lease", () =>
    Effect.gen(function* () {
      const registry = yield* memoryRegistry()
      const first = yield* registry.register(service, a, ttl)
      yield* first.deregister
      yield* first.deregister
      const second = yield* registry.register(service, a, ttl)
      yield* TestClock.adjust(ttl)
      yield* second.deregister
      assert.deepEqual(yield* present(registry), [])
    }),
  )

  testWithClock("has a bound, and room again when leases have ended that nobody watched", () =>
    Effect.gen(function* () {
      const registry = yield* memoryRegistry({ maxEndpoints: 2 })
      yield* registry.register("one", a, ttl)
      yield* registry.register("two", a, ttl)
      const { code, message } = yield* Effect.flip(registry.register("two", b, ttl))
      assert.equal(code, "resource_exhausted")
      assert.match(message, /has 2 endpoints, and takes no more/)
      // Who is in needs no room.
      yield* registry.register("two", a, ttl)
      yield* TestClock.adjust(ttl)
      yield* registry.register("two", b, ttl)
      yield* registry.register("three", b, ttl)
      assert.equal((yield* Effect.flip(registry.register("four", b, ttl))).code, "resource_exhausted")
    }),
  )

  testWithClock("keeps nothing of a service that has no endpoints and that nobody watches", () =>
    Effect.gen(function* () {
      const registry = yield* memoryRegistry()
      const { fiber } = yield* watching(registry)
      const { deregister } = yield* registry.register(service, a, ttl)
      yield* deregister
      assert.equal(kept(registry), 1)
      yield* Fiber.interrupt(fiber)
      assert.equal(kept(registry), 0)
      yield* registry.register(service, a, ttl)
      yield* TestClock.adjust(ttl)
      yield* present(registry)
      assert.equal(kept(registry), 0)
    }),
  )

  testWithClock("tells a thousand who watch", () =>
    Effect.gen(function* () {
      const registry = yield* memoryRegistry()
      const watched = yield* Effect.replicateEffect(watching(registry), 1000)
      yield* registry.register(service, a, ttl)
      yield* settle
      yield* TestClock.adjust(ttl)
      for (const { seen } of watched) assert.deepEqual(seen, [[], [a.address], []])
    }),
  )

  testWithClock("goes by the time that passes, whatever the wall clock is set to", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let offset = 0
      const set: Clock.Clock = { ...clock, currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + offset }
      const body = Effect.gen(function* () {
        const registry = yield* memoryRegistry()
        const { seen } = yield* watching(registry)
        const { renew } = yield* registry.register(service, a, ttl)
        offset = 3_600_000
        yield* renew
        yield* TestClock.adjust("4999 millis")
        offset = -3_600_000
        yield* renew
        assert.deepEqual(seen, [[], [a.address]])
        yield* TestClock.adjust("5 seconds")
        assert.deepEqual(seen, [[], [a.address], []])
      })
      yield* Effect.provideContext(body, Context.add(yield* Effect.context<never>(), Clock.Clock, set))
    }),
  )

  // Against a model: when each endpoint's lease ends.
  const step = fc.oneof(
    fc.record({ does: fc.constant("register" as const), port: fc.nat(3), seconds: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ does: fc.constant("renew" as const), index: fc.nat(20) }),
    fc.record({ does: fc.constant("deregister" as const), index: fc.nat(20) }),
    fc.record({ does: fc.constant("pass" as const), millis: fc.integer({ min: 1, max: 4000 }) }),
  )
  test("has those endpoints whose leases last, whatever is done to them", () =>
    property(fc.array(step, { maxLength: 40 }), (steps) =>
      Effect.gen(function* () {
        const registry = yield* memoryRegistry()
        const { seen } = yield* watching(registry)
        const made: Array<{ on: Registration; port: number; millis: number }> = []
        const model = new Map<number, { by: unknown; endsAt: number }>()
        let now = 0
        for (const one of steps) {
          if (one.does === "register") {
            const millis = one.seconds * 1000
            const on = yield* registry.register(service, { address: `${one.port}` }, Duration.millis(millis))
            made.push({ on, port: one.port, millis })
            model.set(one.port, { by: on, endsAt: now + millis })
          } else if (one.does === "pass") {
            yield* TestClock.adjust(one.millis)
            now += one.millis
            for (const [port, { endsAt }] of model) if (endsAt <= now) model.delete(port)
          } else if (made.length > 0) {
            const { on, port, millis } = made[one.index % made.length] as (typeof made)[number]
            const holds = model.get(port)?.by === on
            if (one.does === "renew") {
              const exit = yield* Effect.exit(on.renew)
              assert.equal(exit._tag, holds ? "Success" : "Failure")
              if (holds) model.set(port, { by: on, endsAt: now + millis })
            } else {
              yield* on.deregister
              if (holds) model.delete(port)
            }
          }
          yield* settle
          const expected = [...model.keys()].map(String).sort()
          assert.deepEqual([...(seen.at(-1) ?? [])].sort(), expected)
          assert.deepEqual([...(yield* present(registry))].sort(), expected)
        }
      }).pipe(Effect.scoped, Effect.provide(TestClock.layer())),
    ))
})
