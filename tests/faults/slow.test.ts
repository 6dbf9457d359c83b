import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Stream } from "effect"
import { piClosedForm } from "../../src/core/pi/series.ts"
import { test } from "../effect.ts"
import { dial } from "../transport/support.ts"
import { network } from "./network.ts"
import { counting } from "./support.ts"

describe("a network that carries one byte at a time", () => {
  test("carries the same answers to every kind of method", () =>
    Effect.gen(function* () {
      const server = yield* counting()
      const middle = yield* network(server, { pace: "bytes" })
      const client = yield* dial(middle)
      const direct = yield* dial(server)
      const numbers = Stream.map(Stream.range(1, 30), (n) => ({ n }))
      const values = Stream.map(({ n, value }: { readonly n: number; readonly value: number }) => [n, value])
      assert.equal((yield* client.calc({ n: 999 })).value, piClosedForm(999))
      const points = Array.from({ length: 30 }, (_, index) => [index + 1, piClosedForm(index + 1)])
      assert.deepEqual(yield* Stream.runCollect(values(client.calcRange({ first: 1, last: 30 }))), points)
      assert.deepEqual(yield* Stream.runCollect(values(client.calcStream(numbers))), points)
      assert.deepEqual(yield* client.summarize(numbers), yield* direct.summarize(numbers))
      const refused = yield* Effect.flip(client.calc({ n: 0 }))
      assert.deepEqual([refused.code, refused.message], ["invalid_argument", "request number should be positive"])
      assert.equal(middle.made(), 1)
    }))
})
