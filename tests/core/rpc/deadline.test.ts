import assert from "node:assert/strict"
import { Clock, Deferred, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { delay } from "../../../src/core/layers/delay.ts"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { interceptMessages } from "../../../src/core/layers/interceptMessages.ts"
import { Call } from "../../../src/core/rpc/call.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { test, testWithClock } from "../../effect.ts"
import { clientOf, echo, serving, testEachKind } from "../support.ts"

/** How a fiber has ended at a moment; `undefined` where it still runs. */
const exitAt = <A, E>(fiber: Fiber.Fiber<A, E>, millis: number) =>
  Effect.map(TestClock.setTime(millis), () => fiber.pollUnsafe())

/** A service, and the deadlines that its calls have come with. */
const asked = () => {
  const deadlines: Array<number | undefined> = []
  return { deadlines, service: serving(Effect.map(Call, (call) => deadlines.push(call.deadline))) }
}

test("earliest is the least of those that are set", () =>
  Effect.sync(() => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.integer(), { nil: undefined })), (deadlines) => {
        const set = deadlines.filter((one) => one !== undefined)
        assert.equal(Deadline.earliest(...deadlines), set.length === 0 ? undefined : Math.min(...set))
      }),
    )
    assert.equal(Deadline.earliest(), undefined)
    assert.equal(Deadline.earliest(undefined, 0, 1), 0)
  }))

testWithClock("a deadline lies as far from now as asked, and what remains falls to 0 and stays there", () =>
  Effect.gen(function* () {
    yield* TestClock.setTime(1_000)
    const deadline = yield* Deadline.after("3 seconds")
    assert.equal(deadline, 4_000)
    for (const [now, left] of [
      [1_000, 3_000],
      [3_999, 1],
      [4_000, 0],
      [9_000, 0],
    ] as const) {
      yield* TestClock.setTime(now)
      assert.equal(yield* Deadline.remaining(deadline), left)
    }
  }),
)

testWithClock("enforce fails at the deadline, and not a millisecond before", () =>
  Effect.gen(function* () {
    yield* TestClock.setTime(500)
    const fiber = yield* Effect.forkChild(Effect.flip(Deadline.enforce(Effect.never, 1_500)))
    assert.equal(yield* exitAt(fiber, 1_499), undefined)
    yield* TestClock.setTime(1_500)
    assert.deepEqual(yield* Fiber.join(fiber), Deadline.exceeded())
    assert.equal((yield* Fiber.join(fiber)).code, "deadline_exceeded")
  }),
)

testWithClock("enforce gives what ends in time as it ended", () =>
  Effect.gen(function* () {
    const error = new RpcError({ code: "aborted", message: "again" })
    const slow = Effect.sleep(999)
    const value = yield* Effect.forkChild(Deadline.enforce(Effect.as(slow, "value"), 1_000))
    const failed = yield* Effect.forkChild(
      Effect.flip(Deadline.enforce(Effect.andThen(slow, Effect.fail(error)), 1_000)),
    )
    yield* TestClock.setTime(999)
    assert.equal(yield* Fiber.join(value), "value")
    assert.equal(yield* Fiber.join(failed), error)
  }),
)

testWithClock("enforce doesn't start what is due already", () =>
  Effect.gen(function* () {
    let started = false
    yield* TestClock.setTime(1_000)
    const effect = Effect.sync(() => {
      started = true
    })
    for (const due of [1_000, 999, 0, -1]) {
      assert.deepEqual(yield* Effect.flip(Deadline.enforce(effect, due)), Deadline.exceeded())
    }
    assert.equal(started, false)
  }),
)

testWithClock("enforce runs the finalizers of what it interrupts before it fails", () =>
  Effect.gen(function* () {
    const events: Array<string> = []
    const effect = Effect.onInterrupt(Effect.never, () =>
      Effect.andThen(
        Effect.sleep(100),
        Effect.sync(() => events.push("finalized")),
      ),
    )
    const fiber = yield* Effect.forkChild(
      Effect.tapError(Deadline.enforce(effect, 1_000), () => Effect.sync(() => events.push("failed"))).pipe(
        Effect.flip,
      ),
    )
    yield* TestClock.setTime(1_100)
    assert.equal((yield* Fiber.join(fiber)).code, "deadline_exceeded")
    assert.deepEqual(events, ["finalized", "failed"])
  }),
)

test("enforce gives back the very same effect where there is no deadline", () =>
  Effect.sync(() => {
    const effect = Effect.succeed(1)
    assert.equal(Deadline.enforce(effect, undefined), effect)
  }))

testWithClock("within gives what it holds the nearest of the deadlines around it", () =>
  Effect.gen(function* () {
    yield* TestClock.setTime(1_000)
    const current = Effect.service(Deadline.Current)
    assert.equal(yield* current, undefined)
    const nested = Effect.all([current, Deadline.within("5 seconds")(current), Deadline.within("1 second")(current)])
    assert.deepEqual(yield* Deadline.within("3 seconds")(nested), [4_000, 4_000, 2_000])
    assert.equal(yield* current, undefined)
  }),
)

testWithClock("within counts from when the effect runs, not from when it was written", () =>
  Effect.gen(function* () {
    const program = Deadline.within("1 second")(Effect.service(Deadline.Current))
    yield* TestClock.setTime(5_000)
    assert.equal(yield* program, 6_000)
  }),
)

testEachKind(
  "a call is told the deadline that it was made within, and ends at it",
  ({ ask }) =>
    Effect.gen(function* () {
      const deadlines: Array<number | undefined> = []
      const interrupted = yield* Deferred.make<number>()
      const client = yield* clientOf(
        serving(
          Effect.flatMap(Call, (call) => {
            deadlines.push(call.deadline)
            return Effect.onInterrupt(Effect.never, () =>
              Effect.flatMap(Clock.currentTimeMillis, (now) => Deferred.succeed(interrupted, now)),
            )
          }),
        ),
      )
      const fiber = yield* ask(client).pipe(Deadline.within("1 second"), Effect.flip, Effect.forkChild)
      assert.equal(yield* exitAt(fiber, 999), undefined)
      yield* TestClock.setTime(1_000)
      assert.equal((yield* Fiber.join(fiber)).code, "deadline_exceeded")
      assert.deepEqual(deadlines, [1_000])
      assert.equal(yield* Deferred.await(interrupted), 1_000)
    }),
  testWithClock,
)

testEachKind(
  "calls that a program makes while it serves inherit its deadline",
  ({ ask, answers }) =>
    Effect.gen(function* () {
      const { deadlines, service: inner } = asked()
      const innerClient = yield* clientOf(inner)
      const outer = yield* clientOf(serving(Effect.andThen(Effect.sleep(400), ask(innerClient))))
      const fiber = yield* ask(outer).pipe(Deadline.within("1 second"), Effect.forkChild)
      yield* TestClock.setTime(400)
      assert.deepEqual(yield* Fiber.join(fiber), answers)
      assert.deepEqual(deadlines, [1_000])
    }),
  testWithClock,
)

testEachKind(
  "calls that a program makes inherit the deadline that a layer of its service set",
  ({ ask }) =>
    Effect.gen(function* () {
      const { deadlines, service: inner } = asked()
      const innerClient = yield* clientOf(inner)
      const outer = yield* clientOf(serving(ask(innerClient)).pipe(deadline("2 seconds")))
      yield* ask(outer)
      yield* ask(outer).pipe(Deadline.within("1 second"))
      assert.deepEqual(deadlines, [2_000, 1_000])
    }),
  testWithClock,
)

testWithClock("a stream that an answer draws from a further call inherits too", () =>
  Effect.gen(function* () {
    const { deadlines, service: inner } = asked()
    const { calcStream } = yield* clientOf(inner)
    const { calcRange } = yield* clientOf(echo)
    const program = Stream.runDrain(calcStream(Stream.map(calcRange({ first: 1, last: 2 }), ({ n }) => ({ n }))))
    yield* Deadline.within("1 second")(program)
    assert.deepEqual(deadlines, [1_000])
  }),
)

test("without a deadline around it a call has none", () =>
  Effect.gen(function* () {
    const { deadlines, service } = asked()
    yield* (yield* clientOf(service)).calc({ n: 1 })
    assert.deepEqual(deadlines, [undefined])
  }))

testEachKind(
  "the deadline that a call was made within ends its channel's layers too",
  ({ ask }) =>
    Effect.gen(function* () {
      const client = yield* clientOf(echo, delay("1 hour"))
      const fiber = yield* ask(client).pipe(Deadline.within("1 second"), Effect.exit, Effect.forkChild)
      assert.equal(yield* exitAt(fiber, 999), undefined)
      const exit = yield* exitAt(fiber, 1_000)
      assert.deepEqual(exit, Exit.succeed(Exit.fail(Deadline.exceeded())))
    }),
  testWithClock,
)

testWithClock("what carries calls keeps a deadline set by hand, and functions around messages have no longer", () =>
  Effect.gen(function* () {
    const soon = intercept((call, next) => next({ ...call, deadline: 1_000 }))
    const slow = interceptMessages({ response: () => Effect.never })
    const { calc } = yield* clientOf(serving(Effect.never), soon)
    const { calcRange } = yield* clientOf(echo, (channel) => soon(slow(channel)))
    const calls = [Effect.asVoid(calc({ n: 1 })), Stream.runDrain(calcRange({}))]
    const fibers = yield* Effect.forEach(calls, (call) => Effect.forkChild(Effect.exit(call)))
    for (const fiber of fibers) assert.equal(yield* exitAt(fiber, 999), undefined)
    for (const fiber of fibers) {
      assert.deepEqual(yield* exitAt(fiber, 1_000), Exit.succeed(Exit.fail(Deadline.exceeded())))
    }
  }),
)
