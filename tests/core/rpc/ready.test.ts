import assert from "node:assert/strict"
import { describe } from "node:test"
import { Deferred, Effect, Fiber, Stream } from "effect"
import fc from "fast-check"
import { mapReady } from "../../../src/core/rpc/ready.ts"
import { test } from "../../effect.ts"
import { property } from "../support.ts"

const double = (n: number) => Effect.succeed(2 * n)
const late = <A>(value: A) => Effect.as(Effect.yieldNow, value)

describe("mapReady", () => {
  test("gives what Stream.mapEffect gives, be the effects ready, late or failing", () =>
    property(fc.array(fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 1 })), (arrays) =>
      Effect.gen(function* () {
        const numbers = Stream.flatMap(Stream.fromIterable(arrays), Stream.fromIterable)
        const effect = (n: number) => (n === 9 ? Effect.fail("nine") : n % 3 === 0 ? late(n) : double(n))
        const all = <E>(stream: Stream.Stream<number, E>) =>
          Effect.gen(function* () {
            const got: Array<number> = []
            const exit = yield* Effect.exit(Stream.runForEach(stream, (n) => Effect.sync(() => got.push(n))))
            return { got, exit }
          })
        assert.deepEqual(yield* all(mapReady(effect)(numbers)), yield* all(Stream.mapEffect(numbers, effect)))
      }),
    ))

  test("keeps together what is ready, and gives it on before it waits for what isn't", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const arrays: Array<ReadonlyArray<number>> = []
      const stream = mapReady((n: number) => (n === 3 ? Effect.as(Deferred.await(gate), n) : Effect.succeed(n)))(
        Stream.make(1, 2, 3, 4, 5),
      )
      const fiber = yield* Effect.forkChild(
        Stream.runForEachArray(stream, (array) => Effect.sync(() => arrays.push(array))),
      )
      yield* Effect.yieldNow
      assert.deepEqual(arrays, [[1, 2]])
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      assert.deepEqual(arrays, [[1, 2], [3], [4, 5]])
    }))

  test("gives what came before a failure, and begins nothing behind it", () =>
    Effect.gen(function* () {
      const begun: Array<number> = []
      const got: Array<number> = []
      const stream = mapReady((n: number) => {
        begun.push(n)
        return n === 3 ? Effect.fail("three") : Effect.succeed(n)
      })(Stream.make(1, 2, 3, 4))
      const error = yield* Effect.flip(Stream.runForEach(stream, (n) => Effect.sync(() => got.push(n))))
      assert.deepEqual([error, got, begun], ["three", [1, 2], [1, 2, 3]])
    }))

  test("interrupts what it waits for when its stream is left, or interrupted", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const never = Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++))
      const stream = mapReady((n: number) => (n === 2 ? never : Effect.succeed(n)))(Stream.make(1, 2))
      assert.deepEqual(yield* Stream.runCollect(Stream.take(stream, 1)), [1])
      assert.equal(interrupted, 1)
      const fiber = yield* Effect.forkChild(Stream.runDrain(stream))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      assert.equal(interrupted, 2)
    }))

  test("begins an effect when those before it have ended", () =>
    Effect.gen(function* () {
      let running = 0
      const alone = (n: number) =>
        Effect.gen(function* () {
          running += 1
          assert.equal(running, 1)
          if (n % 2 === 0) yield* Effect.yieldNow
          running -= 1
        })
      yield* Stream.runDrain(mapReady(alone)(Stream.range(1, 50)))
    }))
})
