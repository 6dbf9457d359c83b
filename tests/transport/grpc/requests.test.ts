import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Fiber, Stream } from "effect"
import { Requests } from "../../../src/transport/grpc/requests.ts"
import { test } from "../../effect.ts"

const open = () => {
  const seen = { taken: 0 }
  const requests = new Requests(() => {
    seen.taken += 1
  })
  return { requests, seen }
}

describe("the requests of a call", () => {
  test("are a stream of all that came, before it was pulled and after, in order", () =>
    Effect.gen(function* () {
      const { requests } = open()
      for (const message of [1, 2]) requests.push(message)
      const all = yield* Effect.forkChild(Stream.runCollect(requests.stream))
      yield* Effect.yieldNow
      for (const message of [3, 4]) {
        requests.push(message)
        requests.flush()
        yield* Effect.yieldNow
      }
      requests.push(5)
      requests.end()
      assert.deepEqual(yield* Fiber.join(all), [1, 2, 3, 4, 5])
    }))

  test("that came together are one array, and are taken when it is pulled", () =>
    Effect.gen(function* () {
      const { requests, seen } = open()
      for (const message of [1, 2, 3]) requests.push(message)
      requests.flush()
      assert.ok(!requests.empty)
      assert.equal(seen.taken, 0)
      requests.end()
      const arrays = yield* Stream.runCollect(Stream.chunks(requests.stream))
      assert.deepEqual(arrays, [[1, 2, 3]])
      assert.ok(requests.empty)
      assert.equal(seen.taken, 1)
    }))

  test("reach a program that waits for them in the turn in which they come", () =>
    Effect.gen(function* () {
      const { requests } = open()
      const got: Array<unknown> = []
      yield* Effect.forkChild(Stream.runForEach(requests.stream, (message) => Effect.sync(() => got.push(message))))
      yield* Effect.yieldNow
      requests.push(1)
      requests.flush()
      assert.deepEqual(got, [1])
    }))

  test("may be left by their program: what comes later waits for nobody", () =>
    Effect.gen(function* () {
      const { requests } = open()
      const fiber = yield* Effect.forkChild(Stream.runDrain(requests.stream))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      requests.push(1)
      requests.flush()
      assert.ok(!requests.empty)
    }))
})
