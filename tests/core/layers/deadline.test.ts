import assert from "node:assert/strict"
import { Deferred, Duration, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { type DeadlineOptions, deadline } from "../../../src/core/layers/deadline.ts"
import { delay } from "../../../src/core/layers/delay.ts"
import { intercept } from "../../../src/core/layers/intercept.ts"
import * as Calculator from "../../../src/core/pi/calculator.ts"
import { summation } from "../../../src/core/pi/series.ts"
import { Call } from "../../../src/core/rpc/call.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import * as Monotonic from "../../../src/core/rpc/monotonic.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test, testWithClock } from "../../effect.ts"
import { clientOf, echo, piped, serving, testEachKind, testEachSide } from "../support.ts"

const exceeded = Exit.fail(Deadline.exceeded())

// The options, what the call inherits, and the deadline that it has then; all in milliseconds from the beginning.
const cases: ReadonlyArray<readonly [DeadlineOptions | Duration.Input, number | undefined, number | undefined]> = [
  [{ max: 1_000 }, undefined, 1_000],
  [{ max: 1_000 }, 5_000, 1_000],
  [{ max: 1_000 }, 500, 500],
  [{ default: 1_000 }, undefined, 1_000],
  [{ default: 1_000 }, 5_000, 5_000],
  [{ default: 1_000 }, 500, 500],
  [{ max: 3_000, default: 1_000 }, undefined, 1_000],
  [{ max: 3_000, default: 1_000 }, 2_000, 2_000],
  [{ max: 3_000, default: 1_000 }, 5_000, 3_000],
  [{ max: 1_000, default: 3_000 }, undefined, 1_000],
  [{}, undefined, undefined],
  [{}, 500, 500],
  // A duration alone means max, in whatever form it is written.
  [1_000, undefined, 1_000],
  ["1 second", 5_000, 1_000],
  [{ seconds: 1 }, 5_000, 1_000],
  [[1, 0], 5_000, 1_000],
  [Duration.seconds(1), 5_000, 1_000],
  ["1 second", 500, 500],
]

testEachSide(
  "a call gets the nearest of the limit, the default and what it inherits, and ends at it",
  ({ ask, put }) =>
    Effect.gen(function* () {
      for (const [options, inherited, expected] of cases) {
        const begun = yield* Monotonic.now
        const told = yield* Deferred.make<number | undefined>()
        const program = Effect.flatMap(Call, (call) => Deferred.succeed(told, call.deadline))
        const client = yield* put(serving(Effect.andThen(program, Effect.never)), deadline(options))
        const call = inherited === undefined ? ask(client) : Deadline.within(inherited)(ask(client))
        const fiber = yield* Effect.forkChild(Effect.exit(call))
        const got = yield* Deferred.await(told)
        assert.equal(got === undefined ? got : got - begun, expected, JSON.stringify([options, inherited]))
        yield* TestClock.adjust((expected ?? 10_000) - 1)
        assert.equal(fiber.pollUnsafe(), undefined)
        yield* TestClock.adjust(1)
        if (expected === undefined) yield* Fiber.interrupt(fiber)
        else assert.deepEqual(yield* Fiber.join(fiber), exceeded)
      }
    }),
  testWithClock,
)

testEachSide(
  "at the deadline a call that never ends is interrupted, and its finalizers run",
  ({ ask, put }) =>
    Effect.gen(function* () {
      let interrupted = false
      const never = Effect.onInterrupt(Effect.never, () =>
        Effect.sync(() => {
          interrupted = true
        }),
      )
      const fiber = yield* Effect.forkChild(Effect.exit(ask(yield* put(serving(never), deadline("1 second")))))
      yield* TestClock.setTime(999)
      assert.equal(interrupted, false)
      yield* TestClock.setTime(1_000)
      assert.deepEqual(yield* Fiber.join(fiber), exceeded)
      assert.equal(interrupted, true)
    }),
  testWithClock,
)

testEachSide("a call that ends in time is left alone, its metadata too", ({ ask, put, answers }) =>
  Effect.gen(function* () {
    const got: Array<unknown> = []
    const service = serving(Effect.map(Call, ({ metadata }) => got.push(metadata)))
    const client = yield* put(
      service,
      piped(
        deadline("1 hour"),
        intercept((call, next) => next({ ...call, metadata: [["a", "1"]] })),
      ),
    )
    assert.deepEqual(yield* ask(client), answers)
    assert.deepEqual(got, [[["a", "1"]]])
  }),
)

const slow = delay("1 minute")

testEachKind(
  "at a channel only what stands before it in the pipe is within the limit",
  ({ ask, answers }) =>
    Effect.gen(function* () {
      const limit = deadline("1 second")
      const fibers = [
        yield* Effect.forkChild(Effect.exit(ask(yield* clientOf(echo, piped(slow, limit))))),
        yield* Effect.forkChild(Effect.exit(ask(yield* clientOf(echo, piped(limit, slow))))),
      ] as const
      yield* TestClock.adjust("2 minutes")
      assert.deepEqual(yield* Fiber.join(fibers[0]), exceeded)
      assert.deepEqual(yield* Fiber.join(fibers[1]), Exit.succeed(answers))
    }),
  testWithClock,
)

testEachKind(
  "at a service all of its layers are within the limit, wherever it stands in the pipe",
  ({ ask }) =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      let begun = 0
      const watch = intercept((call, next) => {
        seen.push((call.deadline ?? 0) - begun)
        return next(call)
      })
      const limit = deadline("1 second")
      for (const layers of [piped(watch, slow, limit), piped(watch, limit, slow), piped(limit, slow, watch)]) {
        begun = yield* Monotonic.now
        const fiber = yield* Effect.forkChild(Effect.exit(ask(yield* clientOf(echo.pipe(layers)))))
        yield* TestClock.adjust(1_000)
        assert.deepEqual(yield* Fiber.join(fiber), exceeded)
      }
      assert.deepEqual(seen, [1_000, 1_000, 1_000])
    }),
  testWithClock,
)

testWithClock("of two at a service the shorter limit holds, and the outer one's default", () =>
  Effect.gen(function* () {
    const cases: ReadonlyArray<readonly [DeadlineOptions, DeadlineOptions, number | undefined, number | undefined]> = [
      [{ max: 1_000 }, { max: 2_000 }, undefined, 1_000],
      [{ max: 2_000 }, { max: 1_000 }, undefined, 1_000],
      [{ default: 1_000 }, { default: 2_000 }, undefined, 2_000],
      [{ default: 1_000 }, { max: 2_000 }, undefined, 1_000],
      [{ max: 1_000 }, { default: 500 }, undefined, 500],
      [{ max: 1_000 }, { default: 500 }, 5_000, 1_000],
    ]
    for (const [inner, outer, inherited, expected] of cases) {
      const asked = serving(Effect.map(Call, (call) => assert.equal(call.deadline, expected)))
      const { calc } = yield* clientOf(asked.pipe(deadline(inner), deadline(outer)))
      yield* inherited === undefined ? calc({ n: 1 }) : Deadline.within(inherited)(calc({ n: 1 }))
    }
  }),
)

testWithClock("a stream is limited as a whole: what came in time stays, then it fails", () =>
  Effect.gen(function* () {
    const service = Service.partial(PiCalculator, {
      calcRange: () => Stream.mapEffect(Stream.range(1, 100), (n) => Effect.delay(Effect.succeed({ n }), 400)),
    })
    for (const client of [
      yield* clientOf(service.pipe(deadline("1 second"))),
      yield* clientOf(service, deadline("1 second")),
    ]) {
      const taken: Array<number> = []
      const fiber = yield* client.calcRange({}).pipe(
        Stream.runForEach(({ n }) => Effect.sync(() => taken.push(n))),
        Effect.exit,
        Effect.forkChild,
      )
      yield* TestClock.adjust("1 second")
      assert.deepEqual(yield* Fiber.join(fiber), exceeded)
      assert.deepEqual(taken, [1, 2])
    }
  }),
)

testWithClock("a stream whose consumer is slow ends at its deadline too", () =>
  Effect.gen(function* () {
    const { calcRange } = yield* clientOf(
      Service.partial(PiCalculator, { calcRange: () => Stream.forever(Stream.make({ n: 1 })) }).pipe(
        deadline("1 second"),
      ),
    )
    let taken = 0
    const slowly = Stream.runForEach(calcRange({}), () =>
      Effect.andThen(
        Effect.sync(() => taken++),
        Effect.sleep(300),
      ),
    )
    const fiber = yield* Effect.forkChild(Effect.exit(slowly))
    yield* TestClock.adjust("2 seconds")
    assert.deepEqual(yield* Fiber.join(fiber), exceeded)
    assert.ok(taken < 7, `${taken} messages taken`)
  }),
)

// The one test on the real clock: a computation that would take seconds must not outlast its limit.
test("the longest sum that there is ends at a deadline of 20 millis", () =>
  Effect.gen(function* () {
    const journal = { report: () => Effect.succeed(true) }
    const calculator = Service.make(PiCalculator, Calculator.make({ series: summation, journal }))
    for (const client of [
      yield* clientOf(calculator.pipe(deadline("20 millis"))),
      yield* clientOf(calculator, deadline("20 millis")),
    ]) {
      assert.equal((yield* Effect.flip(client.calc({ n: 2147483647 }))).code, "deadline_exceeded")
    }
  }))
