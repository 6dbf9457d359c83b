import assert from "node:assert/strict"
import { Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import type { PiRequest, PiResponse } from "../../../src/core/pi/calculator.ts"
import { type Experiment, maxCalls, measure, WrongAnswer } from "../../../src/core/pi/experiment.ts"
import { piClosedForm, summation } from "../../../src/core/pi/series.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { test, testWithClock } from "../../effect.ts"
import { property } from "../support.ts"

/** A calculator that takes 10 ms a call, and what has happened to it. */
const slow = () => {
  const begun: Array<number> = []
  let running = 0
  const seen = { begun, mostAtATime: 0, interrupted: 0 }
  const calc = ({ n }: PiRequest) =>
    Effect.suspend(() => {
      begun.push(n)
      running += 1
      seen.mostAtATime = Math.max(seen.mostAtATime, running)
      return Effect.delay(
        Effect.sync(() => ({ value: piClosedForm(n) })),
        "10 millis",
      )
    }).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          running -= 1
          if (Exit.hasInterrupts(exit)) seen.interrupted += 1
        }),
      ),
    )
  return { calc, seen }
}

/** Runs a measurement while the clock goes on. */
const timed = Effect.fnUntraced(function* <E>(
  calc: (request: PiRequest) => Effect.Effect<PiResponse, E>,
  experiment: Experiment,
) {
  const fiber = yield* Effect.forkChild(measure(calc, experiment))
  yield* TestClock.adjust("1 minute")
  return yield* Fiber.join(fiber)
})

testWithClock("one after another takes as long as all the calls together", () =>
  Effect.gen(function* () {
    const { calc, seen } = slow()
    assert.equal(Duration.toMillis(yield* timed(calc, { calls: 999, atATime: 1 })), 9990)
    assert.equal(seen.mostAtATime, 1)
  }),
)

testWithClock("several at a time take their share of that, and no more run than may", () =>
  Effect.gen(function* () {
    for (const [atATime, millis] of [
      [4, 2500],
      [16, 630],
      [64, 160],
      [2000, 10],
    ] as const) {
      const { calc, seen } = slow()
      assert.equal(Duration.toMillis(yield* timed(calc, { calls: 999, atATime })), millis)
      assert.equal(seen.mostAtATime, Math.min(atATime, 999))
    }
  }),
)

test("each number is asked for once, in its order", () =>
  property(fc.tuple(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 20 })), ([calls, atATime]) =>
    Effect.gen(function* () {
      const asked: Array<number> = []
      const calc = ({ n }: PiRequest) =>
        Effect.as(
          Effect.andThen(
            Effect.sync(() => asked.push(n)),
            Effect.yieldNow,
          ),
          { value: piClosedForm(n) },
        )
      yield* measure(calc, { calls, atATime })
      assert.deepEqual(
        asked,
        Array.from({ length: calls }, (_, i) => i + 1),
      )
    }),
  ))

testWithClock("a call that fails ends it, and the calls beside it", () =>
  Effect.gen(function* () {
    const { calc, seen } = slow()
    const gone = new RpcError({ code: "unavailable", message: "gone" })
    const failing = (request: PiRequest) =>
      request.n === 6 ? Effect.delay(Effect.fail(gone), "5 millis") : calc(request)
    assert.equal(yield* Effect.flip(timed(failing, { calls: 999, atATime: 4 })), gone)
    assert.deepEqual(seen.begun, [1, 2, 3, 4, 5, 7, 8])
    assert.equal(seen.interrupted, 3)
  }),
)

test("an answer that isn't pi(n) ends it, also when it is the next number's, and says what it was", () =>
  Effect.gen(function* () {
    const answering = (wrong: (n: number) => number) =>
      Effect.flip(
        measure(({ n }) => Effect.succeed({ value: n === maxCalls - 1 ? wrong(n) : piClosedForm(n) }), {
          calls: maxCalls,
          atATime: 1,
        }),
      )
    for (const wrong of [(n: number) => piClosedForm(n + 1), () => 0, () => Number.NaN]) {
      const error = yield* answering(wrong)
      assert.ok(error instanceof WrongAnswer)
      assert.equal(error.n, maxCalls - 1)
    }
    assert.match((yield* answering(() => 3)).message, /^pi\(9999\) was answered with 3, and is 3\.14156/)
  }))

test("the tutorial's loop is right enough, up to the last call", () =>
  Effect.gen(function* () {
    yield* measure(({ n }) => Effect.map(summation(n), (value) => ({ value })), { calls: maxCalls, atATime: 1 })
  }))
