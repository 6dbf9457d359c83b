import assert from "node:assert/strict"
import { Clock, Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { type CircuitBreakerOptions, circuitBreaker } from "../../../src/core/layers/circuitBreaker.ts"
import type { Channel } from "../../../src/core/rpc/channel.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { findDetail } from "../../../src/core/rpc/details.ts"
import type { Code } from "../../../src/core/rpc/status.ts"
import { test, testWithClock } from "../../effect.ts"
import { call, outcome, type Step, script, stream } from "../attempts.ts"
import { property, settle } from "../support.ts"

const down: Step = { fails: "unavailable" }
const fatal: Step = { fails: "not_found" }
const hanging: Step = { millis: Number.POSITIVE_INFINITY }
const up: Step = {}

const breaker = (options: CircuitBreakerOptions = {}) =>
  circuitBreaker({ minimumCalls: 4, window: "10 seconds", openFor: "5 seconds", probes: 2, ...options })

const times = (count: number, step: Step) => Array.from({ length: count }, () => step)

/** A channel whose calls go as these steps, and how to call it so many times. */
const begun = (layer: ReturnType<typeof breaker>, ...steps: ReadonlyArray<Step>) => {
  const played = script(...(steps as [Step]))
  const channel = layer(played.channel)
  return { played, channel, calls: (count: number) => Effect.forEach(times(count, {}), () => outcome(call(channel))) }
}

/** Whether a call passes the circuit. */
const passes = ({ played, channel }: { played: { seen: ReadonlyArray<unknown> }; channel: Channel }) =>
  Effect.gen(function* () {
    const before = played.seen.length
    yield* Effect.exit(call(channel))
    return played.seen.length > before
  })

testWithClock("a circuit opens when enough calls have failed, and fails each call at once", () =>
  Effect.gen(function* () {
    const on = begun(breaker(), up, up, down, down, up)
    yield* on.calls(4)
    const error = yield* Effect.flip(call(on.channel))
    assert.equal(on.played.seen.length, 4)
    assert.equal(error.code, "unavailable")
    assert.equal(error.message, "the circuit is open, since too many calls failed: it will be tried again in 5000 ms")
    assert.equal(findDetail(error.details, "google.rpc.RetryInfo")?.retryDelay, "5s")
    yield* TestClock.adjust("2 seconds")
    assert.match((yield* Effect.flip(call(on.channel))).message, /in 3000 ms$/)
  }),
)

testWithClock("it stays closed while fewer fail, or there are too few to tell", () =>
  Effect.gen(function* () {
    const few = begun(breaker(), down)
    yield* few.calls(3)
    assert.equal(yield* passes(few), true)
    const ratio = begun(breaker({ failureRatio: 0.6 }), ...times(5, up), ...times(4, down), up)
    yield* ratio.calls(9)
    assert.equal(yield* passes(ratio), true)
  }),
)

testWithClock("it opens after half of twenty calls in ten seconds, for five, by default", () =>
  Effect.gen(function* () {
    const on = begun(circuitBreaker(), ...times(10, up), down)
    yield* on.calls(19)
    assert.equal(yield* passes(on), true)
    assert.equal(yield* passes(on), false)
    yield* TestClock.adjust("4999 millis")
    assert.equal(yield* passes(on), false)
    yield* TestClock.adjust("1 millis")
    assert.equal(yield* passes(on), true)
  }),
)

testWithClock("calls are counted for as long as the window", () =>
  Effect.gen(function* () {
    const on = begun(breaker(), down, down, down, up, up, up, down)
    yield* on.calls(3)
    yield* TestClock.adjust("10 seconds")
    yield* on.calls(4)
    assert.equal(yield* passes(on), true)
    yield* TestClock.adjust("8 seconds")
    assert.equal(yield* passes(on), true)
    assert.equal(yield* passes(on), false)
  }),
)

testWithClock("half-open, a few calls pass, and close it when all of them succeed", () =>
  Effect.gen(function* () {
    const on = begun(breaker(), ...times(4, down), hanging, { millis: 10 }, up)
    yield* on.calls(4)
    yield* TestClock.adjust("5 seconds")
    const probes = yield* Effect.forkChild(
      Effect.all(
        times(2, {}).map(() => call(on.channel)),
        { concurrency: 2 },
      ),
    )
    yield* settle
    const error = yield* Effect.flip(call(on.channel))
    assert.equal(on.played.seen.length, 6)
    assert.equal(error.code, "unavailable")
    assert.match(error.message, /half-open.* 5000 ms at most$/)
    yield* TestClock.adjust("10 millis")
    // One has succeeded, the other hangs: cancelled, it counts for nothing and leaves its place to another.
    assert.equal(yield* passes(on), false)
    yield* Fiber.interrupt(probes)
    assert.equal(yield* passes(on), true)
    assert.deepEqual([yield* passes(on), yield* passes(on), yield* passes(on)], [true, true, true])
  }),
)

testWithClock("a probe that fails opens it again", () =>
  Effect.gen(function* () {
    const on = begun(breaker(), ...times(4, down), up, down, up)
    yield* on.calls(4)
    yield* TestClock.adjust("5 seconds")
    assert.deepEqual([yield* passes(on), yield* passes(on), yield* passes(on)], [true, true, false])
    yield* TestClock.adjust("5 seconds")
    assert.deepEqual([yield* passes(on), yield* passes(on), yield* passes(on)], [true, true, true])
  }),
)

testWithClock("closed again, it counts from nothing", () =>
  Effect.gen(function* () {
    const on = begun(breaker({ openFor: "1 second" }), ...times(4, down), up, up, down, down, down, up)
    yield* on.calls(4)
    yield* TestClock.adjust("1 second")
    yield* on.calls(5)
    assert.equal(yield* passes(on), true)
  }),
)

testWithClock("probes that never end are given up", () =>
  Effect.gen(function* () {
    const on = begun(breaker(), ...times(4, down), hanging, hanging, up)
    yield* on.calls(4)
    yield* TestClock.adjust("5 seconds")
    const probes = yield* Effect.forkChild(
      Effect.all(
        times(2, {}).map(() => call(on.channel)),
        { concurrency: 2 },
      ),
    )
    yield* settle
    assert.equal(yield* passes(on), false)
    yield* TestClock.adjust("5 seconds")
    assert.equal(yield* passes(on), true)
    yield* Fiber.interrupt(probes)
    assert.deepEqual([yield* passes(on), yield* passes(on)], [true, true])
  }),
)

testWithClock("a call that began before the circuit opened has no say in what follows", () =>
  Effect.gen(function* () {
    const on = begun(breaker(), { fails: "unavailable", millis: 6_000 }, ...times(4, down), up)
    const late = yield* Effect.forkChild(Effect.exit(call(on.channel)))
    yield* settle
    yield* on.calls(4)
    yield* TestClock.adjust("5500 millis")
    assert.equal(yield* passes(on), true)
    yield* TestClock.adjust("500 millis")
    yield* Fiber.join(late)
    assert.deepEqual([yield* passes(on), yield* passes(on)], [true, true])
  }),
)

testWithClock("errors that speak of the call and not of the server don't count, unless named", () =>
  Effect.gen(function* () {
    const opens = (code: Code, options: CircuitBreakerOptions = {}) =>
      Effect.gen(function* () {
        const on = begun(breaker(options), { fails: code })
        yield* on.calls(4)
        return !(yield* passes(on))
      })
    const counted: Array<Code> = []
    const all: ReadonlyArray<Code> = [
      "cancelled",
      "unknown",
      "invalid_argument",
      "deadline_exceeded",
      "not_found",
      "already_exists",
      "permission_denied",
      "resource_exhausted",
      "failed_precondition",
      "aborted",
      "out_of_range",
      "unimplemented",
      "internal",
      "unavailable",
      "data_loss",
      "unauthenticated",
    ]
    for (const code of all) if (yield* opens(code)) counted.push(code)
    assert.deepEqual(counted, [
      "unknown",
      "deadline_exceeded",
      "resource_exhausted",
      "internal",
      "unavailable",
      "data_loss",
    ])
    assert.equal(yield* opens("not_found", { codes: ["not_found"] }), true)
    assert.equal(yield* opens("unavailable", { codes: ["not_found"] }), false)
  }),
)

testWithClock("calls that their deadline ends have failed, calls that are cancelled haven't", () =>
  Effect.gen(function* () {
    const exceeded = begun(breaker(), hanging)
    for (let n = 0; n < 4; n++) {
      const fiber = yield* Effect.forkChild(Effect.exit(call(exceeded.channel).pipe(Deadline.within("10 millis"))))
      yield* settle
      yield* TestClock.adjust("10 millis")
      yield* Fiber.join(fiber)
    }
    assert.match((yield* Effect.flip(call(exceeded.channel))).message, /the circuit is open/)
    const cancelled = begun(breaker(), ...times(4, hanging), up)
    for (let n = 0; n < 4; n++) {
      const fiber = yield* Effect.forkChild(call(cancelled.channel))
      yield* settle
      yield* Fiber.interrupt(fiber)
    }
    assert.equal(yield* passes(cancelled), true)
  }),
)

testWithClock("a stream counts with its end", () =>
  Effect.gen(function* () {
    const played = script({ ...down, answers: 3 })
    const channel = breaker()(played.channel)
    for (let n = 0; n < 4; n++) yield* Effect.exit(stream(channel, Stream.make(1)))
    const error = yield* Effect.flip(stream(channel, Stream.make(1)))
    assert.match(error.message, /the circuit is open/)
    assert.equal(played.seen.length, 4)
  }),
)

testWithClock("each channel has a circuit of its own", () =>
  Effect.gen(function* () {
    const layer = breaker()
    const [first, second] = [begun(layer, down), begun(layer, fatal)]
    yield* first.calls(4)
    assert.deepEqual([yield* passes(first), yield* passes(second)], [false, true])
  }),
)

// What the circuit is to do, told by a list of all calls.
interface Counted {
  readonly at: number
  readonly failed: boolean
}

test("it opens exactly when the failures among the window's calls reach the ratio", () =>
  property(
    fc.record({
      failureRatio: fc.double({ min: 0.05, max: 1, noNaN: true }),
      minimumCalls: fc.integer({ min: 1, max: 10 }),
      calls: fc.array(fc.record({ fails: fc.boolean(), after: fc.integer({ min: 0, max: 3 }) }), { maxLength: 60 }),
    }),
    ({ failureRatio, minimumCalls, calls }) =>
      Effect.gen(function* () {
        // A part of the window is a second, and so is each wait: what is in the window is whole parts.
        const on = begun(
          breaker({ failureRatio, minimumCalls, window: "10 seconds" }),
          ...calls.map(({ fails }) => (fails ? down : up)),
          up,
        )
        const counted: Array<Counted> = []
        for (const { fails, after } of calls) {
          yield* TestClock.adjust(after * 1_000)
          const at = yield* Clock.currentTimeMillis
          assert.equal(yield* passes(on), true)
          counted.push({ at, failed: fails })
          const inWindow = counted.filter((one) => one.at > at - 10_000)
          const failed = inWindow.filter((one) => one.failed).length
          if (fails && inWindow.length >= minimumCalls && failed >= inWindow.length * failureRatio) {
            assert.equal(yield* passes(on), false)
            return
          }
        }
      }).pipe(Effect.provide(TestClock.layer())),
  ))

test("whatever comes, no more calls pass a half-open circuit than there are probes", () =>
  property(
    fc.record({ probes: fc.integer({ min: 1, max: 5 }), calls: fc.integer({ min: 1, max: 12 }) }),
    ({ probes, calls }) =>
      Effect.gen(function* () {
        const on = begun(breaker({ probes }), ...times(4, down), hanging)
        yield* on.calls(4)
        yield* TestClock.adjust("5 seconds")
        const fibers = yield* Effect.forEach(times(calls, {}), () => Effect.forkChild(Effect.exit(call(on.channel))))
        yield* settle
        assert.equal(on.played.seen.length - 4, Math.min(probes, calls))
        for (const fiber of fibers) yield* Fiber.interrupt(fiber)
      }).pipe(Effect.provide(TestClock.layer())),
  ))
