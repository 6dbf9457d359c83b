import assert from "node:assert/strict"
import { Effect, Exit, Fiber, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { type HedgeOptions, hedge } from "../../../src/core/layers/hedge.ts"
import { intercept } from "../../../src/core/layers/intercept.ts"
import type { CallInfo } from "../../../src/core/rpc/call.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import { test, testWithClock } from "../../effect.ts"
import { bidi, call, idempotent, inTime, outcome, passing, type Step, script, stream, times } from "../attempts.ts"
import { method, property, settle } from "../support.ts"

const hanging: Step = { millis: Number.POSITIVE_INFINITY }
const down: Step = { fails: "unavailable" }
const up: Step = {}

const hedged = (options: Partial<HedgeOptions> = {}) => hedge({ delay: 50, maxAttempts: 4, ...options })
const ends = ({ seen }: ReturnType<typeof script>) => seen.map(({ ended }) => ended)

testWithClock("an answer that comes soon enough is the only one asked for", () =>
  Effect.gen(function* () {
    const played = script({ millis: 49 })
    assert.deepEqual(yield* inTime(call(hedged()(played.channel))), Exit.succeed(1))
    assert.equal(played.seen.length, 1)
  }),
)

testWithClock("each delay without an answer sends another attempt, and the first answer interrupts the others", () =>
  Effect.gen(function* () {
    const played = script(hanging, hanging, { millis: 30 }, hanging)
    assert.deepEqual(yield* inTime(call(hedged()(played.channel))), Exit.succeed(3))
    assert.deepEqual(times(played), [0, 50, 100])
    assert.deepEqual(ends(played), ["interrupted", "interrupted", "answered"])
  }),
)

testWithClock("there are as many attempts as allowed, two by default", () =>
  Effect.gen(function* () {
    for (const [layer, attempts] of [
      [hedged(), 4],
      [hedge({ delay: 50 }), 2],
    ] as const) {
      const played = script(hanging)
      const fiber = yield* Effect.forkChild(call(layer(played.channel)))
      yield* settle
      yield* TestClock.adjust("1 hour")
      assert.equal(played.seen.length, attempts)
      yield* Fiber.interrupt(fiber)
      assert.deepEqual(
        ends(played),
        Array.from({ length: attempts }, () => "interrupted"),
      )
    }
  }),
)

testWithClock("without a delay all attempts are sent at once", () =>
  Effect.gen(function* () {
    const played = script({ millis: 30 }, { millis: 20 }, { millis: 10 }, hanging)
    yield* inTime(call(hedged({ delay: 0 })(played.channel)))
    assert.deepEqual(times(played), [0, 0, 0, 0])
    assert.deepEqual(ends(played), ["interrupted", "interrupted", "answered", "interrupted"])
  }),
)

testWithClock("an error that isn't fatal sends the next attempt at once, and those after it at their delay again", () =>
  Effect.gen(function* () {
    const played = script({ millis: 20, ...down }, hanging, hanging, up)
    assert.deepEqual(yield* inTime(call(hedged()(played.channel))), Exit.succeed(4))
    assert.deepEqual(times(played), [0, 20, 70, 120])
  }),
)

testWithClock("any other error ends the call, and interrupts the other attempts", () =>
  Effect.gen(function* () {
    const played = script(hanging, { fails: "internal" })
    assert.deepEqual(yield* inTime(outcome(call(hedged()(played.channel)))), Exit.succeed("internal"))
    assert.deepEqual(ends(played), ["interrupted", "failed"])
    const named = script({ fails: "internal" }, { fails: "unavailable" })
    const layer = hedged({ nonFatal: ["internal"] })
    assert.equal(yield* outcome(call(layer(named.channel))), "unavailable")
    assert.equal(named.seen.length, 2)
  }),
)

testWithClock("when all attempts have failed the last error is the call's", () =>
  Effect.gen(function* () {
    const played = script({ ...down, millis: 200 }, down, { ...down, millis: 300 }, down)
    const exit = yield* inTime(Effect.flip(call(hedged()(played.channel))))
    assert.deepEqual([Exit.isSuccess(exit) && exit.value.message, played.seen.length], ["attempt 4", 4])
  }),
)

testWithClock("an error after the server has begun to answer is the call's", () =>
  Effect.gen(function* () {
    const played = script({ ...down, header: "first" }, up)
    assert.equal(yield* outcome(call(hedged()(played.channel))), "unavailable")
  }),
)

testWithClock("a server says when the next attempt is sent, and the ones after it come at their delay again", () =>
  Effect.gen(function* () {
    const played = script({ ...down, pushback: "500" }, hanging, up)
    yield* inTime(call(hedged()(played.channel)))
    assert.deepEqual(times(played), [0, 500, 550])
  }),
)

testWithClock("a server that wants no further attempts gets none, and those that run go on", () =>
  Effect.gen(function* () {
    const played = script({ millis: 100 }, { ...down, pushback: "-1" }, up)
    assert.deepEqual(yield* inTime(call(hedged()(played.channel))), Exit.succeed(2))
    assert.deepEqual(times(played), [0, 50])
    assert.deepEqual(ends(played), ["answered", "failed"])
    const alone = script({ ...down, pushback: "soon" }, up)
    assert.equal(yield* outcome(call(hedged()(alone.channel))), "unavailable")
  }),
)

testWithClock("each further attempt says how many came before", () =>
  Effect.gen(function* () {
    const played = script(hanging, hanging, up)
    yield* inTime(call(hedged()(played.channel)))
    assert.deepEqual(
      played.seen.map(({ call }) => Metadata.getAll(call.metadata, "grpc-previous-rpc-attempts")),
      [[], ["1"], ["2"]],
    )
  }),
)

testWithClock("only methods that are called idempotent are hedged, unless more are named", () =>
  Effect.gen(function* () {
    for (const [of, options, attempts] of [
      [method, {}, 1],
      [idempotent, {}, 2],
      [method, { methods: "all" }, 2],
      [idempotent, { methods: () => false }, 1],
    ] as const) {
      const played = script({ millis: 60 })
      yield* inTime(call(hedged(options)(played.channel), of))
      assert.equal(played.seen.length, attempts)
    }
  }),
)

testWithClock("streams pass it unchanged", () =>
  Effect.gen(function* () {
    const played = script({ ...down, millis: 100 }, up)
    const layer = hedged({ methods: "all", delay: 0, throttle: { maxTokens: 1, tokenRatio: 1 } })
    assert.deepEqual(
      yield* inTime(outcome(stream(layer(played.channel), Stream.make(1, 2), bidi))),
      Exit.succeed("unavailable"),
    )
    assert.deepEqual([played.seen.length, played.seen[0]?.requests], [1, [1, 2]])
  }),
)

testWithClock("while too many calls fail only the first attempt is sent", () =>
  Effect.gen(function* () {
    const played = script(down, { millis: 10, ...down }, up, down)
    const channel = hedged({ throttle: { maxTokens: 2, tokenRatio: 0.1 } })(played.channel)
    assert.equal(yield* outcome(call(channel)), "unavailable")
    assert.equal(played.seen.length, 1)
    assert.deepEqual(yield* inTime(outcome(call(channel))), Exit.succeed("unavailable"))
    assert.equal(played.seen.length, 2)
    const slow = script(down, hanging)
    const throttled = hedged({ throttle: { maxTokens: 2, tokenRatio: 0.1 } })(slow.channel)
    yield* Effect.exit(call(throttled))
    const waiting = yield* Effect.forkChild(call(throttled))
    yield* settle
    yield* TestClock.adjust("1 hour")
    assert.equal(slow.seen.length, 2)
    yield* Fiber.interrupt(waiting)
  }),
)

testWithClock("a call whose next attempt is given up while it waits fails with the last error", () =>
  Effect.gen(function* () {
    const played = script({ ...down, pushback: "500" }, { ...down, pushback: "-1" }, up)
    const channel = hedged({ throttle: { maxTokens: 4, tokenRatio: 0.1 } })(played.channel)
    const waiting = yield* Effect.forkChild(outcome(call(channel)))
    yield* settle
    yield* Effect.exit(call(channel))
    yield* TestClock.adjust("500 millis")
    assert.equal(yield* Fiber.join(waiting), "unavailable")
    assert.equal(played.seen.length, 2)
  }),
)

testWithClock("the response's metadata is that of the attempt that ended the call", () =>
  Effect.gen(function* () {
    let response: CallInfo["response"] | undefined
    const watched = intercept((call, next) => {
      response = call.response
      return next(call)
    })
    const played = script({ ...hanging, header: "first" }, { header: "second" })
    yield* inTime(call(played.channel.pipe(hedged(), watched)))
    assert.deepEqual([response?.header, response?.committed], [[["x-header", "second"]], true])
    yield* inTime(Effect.exit(call(script(down).channel.pipe(hedged(), watched))))
    assert.deepEqual(response?.trailer, [["x-attempt", "4"]])
  }),
)

testWithClock("the call's deadline holds for all attempts together", () =>
  Effect.gen(function* () {
    const played = script(hanging)
    const limited = outcome(call(hedged()(played.channel))).pipe(Deadline.within("120 millis"))
    assert.deepEqual(yield* inTime(limited), Exit.succeed("deadline_exceeded"))
    assert.deepEqual(times(played), [0, 50, 100])
    // Each knows the deadline; the first that ends by it ends the others.
    assert.deepEqual(ends(played), ["failed", "interrupted", "interrupted"])
  }),
)

const steps = fc.array(
  fc.record({
    millis: fc.nat(200),
    failure: fc.constantFrom<Step>(
      {},
      down,
      down,
      { fails: "internal" },
      { ...down, pushback: "-1" },
      { ...down, pushback: "30" },
    ),
  }),
  { minLength: 1, maxLength: 6 },
)

test("however attempts go, there are never too many, one answer or error ends the call, and none is left running", () =>
  property(
    fc.record({ steps, maxAttempts: fc.integer({ min: 1, max: 5 }), delay: fc.nat(100), seed: fc.string() }),
    ({ steps, maxAttempts, delay, seed }) =>
      Effect.gen(function* () {
        const made = steps.map(({ millis, failure }) => ({ millis, ...failure })) as [Step]
        const played = script(...made)
        const exit = yield* passing(Effect.exit(call(hedged({ maxAttempts, delay })(played.channel))))
        assert.ok(Exit.isSuccess(exit))
        assert.ok(played.seen.length <= maxAttempts)
        assert.ok(played.seen.every(({ ended }) => ended !== undefined))
        const answered = played.seen.filter(({ ended }) => ended === "answered").length
        assert.equal(answered > 0, Exit.isSuccess(exit.value))
        const once = script(...made)
        yield* passing(Effect.exit(call(hedged({ maxAttempts, delay })(once.channel), method)))
        assert.equal(once.seen.length, 1)
      }).pipe(Effect.scoped, Effect.provide(TestClock.layer()), Random.withSeed(seed)),
  ))
