import assert from "node:assert/strict"
import { describe } from "node:test"
import { Clock, Effect, Exit, Random, Scope } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { memoryRegistry } from "../../../src/core/discovery/memory.ts"
import { type RegisteredOptions, registered } from "../../../src/core/discovery/registered.ts"
import type { Registry } from "../../../src/core/discovery/registry.ts"
import { test, testWithClock } from "../../effect.ts"
import { type Logged, logInto, property, settle } from "../support.ts"
import { type Fault, faults, faulty, present, service, watching } from "./support.ts"

const endpoint = { address: "10.0.0.1:80" }
const ttl = "6 seconds"
const here = [endpoint.address]

/** A registry to play with, an endpoint kept in it, and what came of that. */
const begun = Effect.fnUntraced(function* (
  first: Fault = "well",
  { options = { ttl }, ...given }: { readonly options?: RegisteredOptions; readonly under?: Registry } = {},
) {
  const under = given.under ?? (yield* memoryRegistry())
  const played = faulty(under)
  const log: Array<Logged> = []
  const { seen } = yield* watching(under)
  yield* played.be(first)
  // Not the test's own: one that fails would wait for what hangs, and its clock stands still.
  const scope = yield* Scope.make()
  yield* registered(played.registry, service, endpoint, options).pipe(
    Scope.provide(scope),
    Effect.provide(logInto(log)),
  )
  yield* settle
  const lines = () => log.map(({ level, text }) => `${level} ${text}`)
  /** Closes the scope, and gives the milliseconds that it took. */
  const close = Effect.gen(function* () {
    const from = yield* Clock.currentTimeMillis
    const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
    yield* settle
    let millis = 0
    for (; closing.pollUnsafe() === undefined && millis < 60_000; millis += 10) yield* TestClock.adjust(10)
    yield* settle
    return (yield* Clock.currentTimeMillis) - from
  })
  return { ...played, under, seen, lines, close, present: present(under) }
})

describe("an endpoint that is kept registered", () => {
  testWithClock("is in at once, stays in, and is out when the scope closes", () =>
    Effect.gen(function* () {
      const on = yield* begun()
      assert.deepEqual(on.seen, [[], here])
      yield* TestClock.adjust("10 minutes")
      assert.deepEqual(on.seen, [[], here])
      assert.equal(yield* on.close, 0)
      assert.deepEqual(on.seen, [[], here, []])
      assert.deepEqual(on.lines(), ["Info 10.0.0.1:80 is registered as pi"])
    }),
  )

  testWithClock("is renewed at each third of its lease, and asks for nothing after the scope has closed", () =>
    Effect.gen(function* () {
      const on = yield* begun()
      yield* TestClock.adjust("1999 millis")
      assert.deepEqual(on.asked, { register: 1, renew: 0, deregister: 0 })
      yield* TestClock.adjust("1 millis")
      assert.deepEqual(on.asked, { register: 1, renew: 1, deregister: 0 })
      yield* TestClock.adjust("20 seconds")
      assert.deepEqual(on.asked, { register: 1, renew: 11, deregister: 0 })
      yield* on.close
      yield* TestClock.adjust("1 minute")
      assert.deepEqual(on.asked, { register: 1, renew: 11, deregister: 1 })
    }),
  )

  testWithClock("has a lease of five seconds by default", () =>
    Effect.gen(function* () {
      const on = yield* begun("well", { options: {} })
      yield* on.be("hangs")
      yield* TestClock.adjust("4999 millis")
      assert.deepEqual(yield* on.present, here)
      yield* TestClock.adjust("1 millis")
      assert.deepEqual(yield* on.present, [])
    }),
  )

  for (const fault of ["fails", "hangs", "breaks"] as const)
    testWithClock(`doesn't wait for a registry that ${fault}, is in once it is well, and the log says so once`, () =>
      Effect.gen(function* () {
        const on = yield* begun(fault)
        yield* TestClock.adjust("2 minutes")
        assert.deepEqual(on.seen, [[]])
        assert.equal(on.lines().length, 1)
        assert.match(
          on.lines()[0] ?? "",
          /^Warn 10\.0\.0\.1:80 can't be registered as pi, and this is tried until it works: /,
        )
        yield* on.be("well")
        yield* TestClock.adjust(ttl)
        assert.deepEqual(on.seen, [[], here])
        assert.deepEqual(on.lines().slice(1), ["Info 10.0.0.1:80 is registered as pi"])
      }),
    )

  testWithClock("says why it can't be registered", () =>
    Effect.gen(function* () {
      const reasons: Array<string | undefined> = []
      for (const fault of ["fails", "hangs", "breaks"] as const) {
        const on = yield* begun(fault)
        yield* TestClock.adjust("5 seconds")
        reasons.push(/until it works: (.*)/.exec(on.lines().join())?.[1])
        yield* on.close
      }
      assert.deepEqual(reasons, [
        "unavailable: the registry is away",
        "deadline_exceeded: the registry didn't answer within 2000 ms",
        "Error: the registry is broken",
      ])
    }),
  )

  testWithClock("is registered again when its lease was forgotten, which the log needs not know", () =>
    Effect.gen(function* () {
      const on = yield* begun()
      yield* on.be("forgets")
      yield* TestClock.adjust("2 seconds")
      assert.deepEqual(on.seen, [[], here, [], here])
      assert.deepEqual(on.asked, { register: 2, renew: 1, deregister: 0 })
      assert.equal(on.lines().length, 1)
    }),
  )

  for (const fault of ["fails", "hangs", "loses answers", "breaks"] as const)
    testWithClock(`comes through a registry that ${fault} for less than the lease without being out`, () =>
      Effect.gen(function* () {
        const on = yield* begun()
        yield* on.be(fault)
        yield* TestClock.adjust("3500 millis")
        yield* on.be("well")
        yield* TestClock.adjust("1 minute")
        assert.deepEqual(on.seen, [[], here])
      }),
    )

  testWithClock("is out while a registry hangs for longer, and in again, which the log says once", () =>
    Effect.gen(function* () {
      const on = yield* begun()
      for (let times = 0; times < 3; times++) {
        yield* on.be("hangs")
        yield* TestClock.adjust("1 minute")
        assert.deepEqual(on.seen.at(-1), [])
        yield* on.be("well")
        yield* TestClock.adjust(ttl)
        assert.deepEqual(on.seen.at(-1), here)
      }
      const levels = on.lines().map((line) => line.replace(/, and this.*/, ""))
      const away = "Warn 10.0.0.1:80 can't be registered as pi"
      const back = "Info 10.0.0.1:80 is registered as pi again"
      assert.deepEqual(levels, ["Info 10.0.0.1:80 is registered as pi", away, back, away, back, away, back])
    }),
  )

  testWithClock("asks a registry that is away ever more seldom, but three times in a lease", () =>
    Effect.gen(function* () {
      const on = yield* Random.withSeed(begun("fails"), "any")
      yield* TestClock.adjust("10 seconds")
      assert.ok(on.asked.register > 8, `${on.asked.register}`)
      const before = on.asked.register
      yield* TestClock.adjust("10 minutes")
      const every = 600_000 / (on.asked.register - before)
      // A third of the lease, 20 % more or less.
      assert.ok(every > 1900 && every < 2100, `${every} ms`)
    }),
  )

  describe("when the scope closes", () => {
    testWithClock("waits for a registration that is on its way, and takes it out", () =>
      Effect.gen(function* () {
        const under = yield* memoryRegistry()
        const slow: Registry = {
          ...under,
          register: (...args) => Effect.delay(under.register(...args), "500 millis"),
        }
        const on = yield* begun("well", { under: slow })
        assert.deepEqual(on.seen, [[]])
        assert.equal(yield* on.close, 500)
        assert.deepEqual(on.seen.at(-1), [])
        yield* TestClock.adjust("1 minute")
        assert.deepEqual(on.seen.at(-1), [])
        assert.equal(on.asked.deregister, 1)
      }),
    )

    testWithClock("doesn't wait for a renewal that hangs", () =>
      Effect.gen(function* () {
        const on = yield* begun()
        yield* on.be("hangs")
        yield* TestClock.adjust("2500 millis")
        assert.equal(on.asked.renew, 1)
        yield* on.be("well")
        assert.equal(yield* on.close, 0)
        assert.deepEqual(on.seen, [[], here, []])
      }),
    )

    testWithClock("nor for a backoff", () =>
      Effect.gen(function* () {
        const on = yield* begun("fails")
        yield* TestClock.adjust("1 minute")
        assert.equal(yield* on.close, 0)
        assert.equal(on.asked.deregister, 0)
      }),
    )

    testWithClock("a registry that hangs holds it up for a second, and the endpoint is out with its lease", () =>
      Effect.gen(function* () {
        const on = yield* begun()
        yield* on.be("hangs")
        assert.equal(yield* on.close, 1000)
        assert.deepEqual(on.lines().slice(1), [
          "Warn 10.0.0.1:80 could not be taken out of pi, and is out when its lease ends: the registry doesn't answer",
        ])
        yield* TestClock.adjust(ttl)
        assert.deepEqual(on.seen.at(-1), [])
      }),
    )

    testWithClock("even one that can't be interrupted", () =>
      Effect.gen(function* () {
        const under = yield* memoryRegistry()
        const stubborn: Registry = {
          ...under,
          register: () => Effect.uninterruptible(Effect.never),
        }
        const on = yield* begun("well", { under: stubborn })
        yield* TestClock.adjust("1 minute")
        assert.ok(on.asked.register > 10, "it gives up tries that hang")
        assert.ok((yield* on.close) <= 1000)
      }),
    )

    testWithClock("one that fails doesn't hold it up, and the log says why", () =>
      Effect.gen(function* () {
        const on = yield* begun()
        yield* on.be("fails")
        assert.equal(yield* on.close, 0)
        assert.match(on.lines().at(-1) ?? "", /^Warn .* is out when its lease ends: unavailable: the registry is away$/)
      }),
    )
  })

  testWithClock("goes by the time that passes, whatever the wall clock is set to", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let offset = 0
      const jumping: Clock.Clock = { ...clock, currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + offset }
      const body = Effect.gen(function* () {
        const on = yield* begun()
        for (const jump of [3_600_000, -86_400_000, 10_000, 0, -1]) {
          offset = jump
          yield* TestClock.adjust("20 seconds")
        }
        assert.deepEqual(on.seen, [[], here])
        assert.equal(on.asked.renew, 50)
        assert.equal(on.asked.register, 1)
      })
      yield* Effect.provideService(body, Clock.Clock, jumping)
    }),
  )

  testWithClock("is in again after the machine has slept for longer than the lease", () =>
    Effect.gen(function* () {
      const clock = yield* Clock.Clock
      let slept = 0n
      const sleeping: Clock.Clock = {
        ...clock,
        monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe() + slept,
      }
      const body = Effect.gen(function* () {
        const on = yield* begun()
        yield* TestClock.adjust("1 second")
        slept = 3_600_000_000_000n
        assert.deepEqual(yield* on.present, [])
        yield* TestClock.adjust("1 second")
        assert.deepEqual(on.seen.at(-1), here)
      })
      yield* Effect.provideService(body, Clock.Clock, sleeping)
    }),
  )

  test("is in exactly once when the registry has been well for one lease, and out when closed, whatever happened", () =>
    property(
      fc.record({
        seed: fc.string(),
        first: fc.constantFrom(...faults),
        happens: fc.array(fc.tuple(fc.constantFrom(...faults), fc.integer({ min: 1, max: 20_000 })), { maxLength: 12 }),
      }),
      ({ seed, first, happens }) =>
        Effect.gen(function* () {
          const on = yield* begun(first)
          for (const [fault, millis] of happens) {
            yield* on.be(fault)
            yield* TestClock.adjust(millis)
            assert.ok((yield* on.present).length <= 1)
          }
          yield* on.be("well")
          yield* TestClock.adjust(ttl)
          assert.deepEqual(yield* on.present, here)
          yield* TestClock.adjust("1 minute")
          assert.deepEqual(on.seen.at(-1), here)
          assert.equal(yield* on.close, 0)
          assert.deepEqual(yield* on.present, [])
          yield* TestClock.adjust("1 minute")
          assert.deepEqual(on.seen.at(-1), [])
        }).pipe(Random.withSeed(seed), Effect.scoped, Effect.provide(TestClock.layer())),
    ))

  test("whatever happens until it closes, that takes a second at most, and it is out one lease later for good", () =>
    property(
      fc.array(fc.tuple(fc.constantFrom(...faults), fc.integer({ min: 1, max: 20_000 })), { maxLength: 8 }),
      (happens) =>
        Effect.gen(function* () {
          const on = yield* begun()
          for (const [fault, millis] of happens) {
            yield* on.be(fault)
            yield* TestClock.adjust(millis)
          }
          assert.ok((yield* on.close) <= 1000)
          yield* TestClock.adjust(ttl)
          assert.deepEqual(yield* on.present, [])
          yield* on.be("well")
          yield* TestClock.adjust("1 minute")
          assert.deepEqual(yield* on.present, [])
        }).pipe(Effect.scoped, Effect.provide(TestClock.layer())),
    ))
})
