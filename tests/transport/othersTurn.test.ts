import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Fiber } from "effect"
import { longestTurn, othersTurn } from "../../src/transport/othersTurn.ts"
import { test } from "../effect.ts"

/** Works for some milliseconds. */
const busy = (millis: number) =>
  Effect.sync(() => {
    const until = performance.now() + millis
    while (performance.now() < until);
  })

describe("the turn of others", () => {
  test("comes to all that wait, in their order", () =>
    Effect.gen(function* () {
      const went: Array<number> = []
      const one = (n: number) => Effect.map(othersTurn, () => went.push(n))
      yield* Effect.all(
        Array.from({ length: 100 }, (_, n) => one(n)),
        { concurrency: "unbounded" },
      )
      assert.deepEqual(
        went,
        Array.from({ length: 100 }, (_, n) => n),
      )
    }))

  test("lets the event loop look after others between some of very many that are busy", () =>
    Effect.gen(function* () {
      let steps = 0
      const stream = Effect.forever(
        Effect.andThen(
          othersTurn,
          Effect.andThen(
            busy(longestTurn / 2),
            Effect.sync(() => steps++),
          ),
        ),
      )
      const all = yield* Effect.forEach(Array.from({ length: 500 }), () => Effect.forkChild(stream))
      let before = 0
      let most = 0
      // Each immediate of another's sees how many of them have gone on since the last one.
      for (let i = 0; i < 50; i++) {
        yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
        most = Math.max(most, steps - before)
        before = steps
      }
      yield* Fiber.interruptAll(all)
      assert.ok(steps > 0)
      assert.ok(most <= 5, `${most} went on in one turn`)
    }))

  test("is left by who is interrupted", () =>
    Effect.gen(function* () {
      let went = false
      const waiting = yield* Effect.forkChild(
        Effect.map(othersTurn, () => {
          went = true
        }),
        { startImmediately: true },
      )
      yield* Fiber.interrupt(waiting)
      yield* othersTurn
      yield* othersTurn
      assert.equal(went, false)
    }))
})
