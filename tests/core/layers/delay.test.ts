import assert from "node:assert/strict"
import { Clock, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { delay } from "../../../src/core/layers/delay.ts"
import { Call } from "../../../src/core/rpc/call.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { testWithClock } from "../../effect.ts"
import { echo, piped, serving, testEachSide } from "../support.ts"

testEachSide(
  "a call starts as late as the delay says, and a stream waits once, not once a message",
  ({ ask, put, answers }) =>
    Effect.gen(function* () {
      const started: Array<number> = []
      const service = serving(Effect.map(Clock.currentTimeMillis, (now) => started.push(now)))
      const fiber = yield* Effect.forkChild(ask(yield* put(service, delay("10 millis"))))
      yield* TestClock.setTime(9)
      assert.deepEqual([started, fiber.pollUnsafe()], [[], undefined])
      yield* TestClock.setTime(10)
      assert.deepEqual(yield* Fiber.join(fiber), answers)
      assert.deepEqual(started, [10])
    }),
  testWithClock,
)

testEachSide(
  "the wait counts against a deadline behind it in the pipe, and against the call's own",
  ({ ask, put }) =>
    Effect.gen(function* () {
      const calls = [
        ask(yield* put(echo, piped(delay("1 minute"), deadline("1 second")))),
        Deadline.within("1 second")(ask(yield* put(echo, delay("1 minute")))),
      ]
      const fibers = yield* Effect.forEach(calls, (call) => Effect.forkChild(Effect.exit(call)))
      yield* TestClock.setTime(1_000)
      for (const fiber of fibers) assert.deepEqual(fiber.pollUnsafe(), Exit.succeed(Exit.fail(Deadline.exceeded())))
    }),
  testWithClock,
)

testEachSide(
  "an interrupt ends the wait, and the program never runs",
  ({ ask, put }) =>
    Effect.gen(function* () {
      let started = false
      const service = serving(
        Effect.sync(() => {
          started = true
        }),
      )
      const fiber = yield* Effect.forkChild(ask(yield* put(service, delay("1 minute"))))
      yield* TestClock.setTime(1_000)
      yield* Fiber.interrupt(fiber)
      yield* TestClock.adjust("1 hour")
      assert.equal(started, false)
    }),
  testWithClock,
)

testEachSide(
  "the call passes as it is",
  ({ ask, put }) =>
    Effect.gen(function* () {
      const calls: Array<unknown> = []
      const service = serving(
        Effect.map(Call, ({ metadata, deadline, peer }) => calls.push({ metadata, deadline, peer })),
      )
      const fiber = yield* Effect.forkChild(ask(yield* put(service, delay(1))))
      yield* TestClock.setTime(1)
      yield* Fiber.join(fiber)
      assert.deepEqual(calls, [{ metadata: [], deadline: undefined, peer: { address: undefined } }])
    }),
  testWithClock,
)
