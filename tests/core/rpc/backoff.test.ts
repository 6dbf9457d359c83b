import assert from "node:assert/strict"
import { Duration, Effect, Random, Schedule } from "effect"
import fc from "fast-check"
import { type Backoff, connection, delay, schedule } from "../../../src/core/rpc/backoff.ts"
import { test } from "../../effect.ts"
import { property } from "../support.ts"

const millis = (backoff: Backoff, earlier: number) => Effect.map(delay(backoff, earlier), Duration.toMillis)

/** The first delays, as `Random` with this draw makes them. */
const delays = (backoff: Backoff, count: number, draw: number) =>
  Effect.provideService(
    Effect.forEach(
      Array.from({ length: count }, (_, earlier) => earlier),
      (earlier) => millis(backoff, earlier),
    ),
    Random.Random,
    { nextDoubleUnsafe: () => draw, nextIntUnsafe: () => 0 },
  )

test("delays grow from the first one by the multiplier, up to the longest", () =>
  Effect.gen(function* () {
    const backoff = { initial: "100 millis", multiplier: 2, max: "1 second", jitter: 0.2 } as const
    assert.deepEqual(yield* delays(backoff, 6, 0.5), [100, 200, 400, 800, 1000, 1000])
  }))

test("jitter makes a delay shorter or longer by its part, the longest too", () =>
  Effect.gen(function* () {
    const backoff = { initial: "100 millis", multiplier: 10, max: "500 millis", jitter: 0.2 } as const
    assert.deepEqual(yield* delays(backoff, 3, 0), [80, 400, 400])
    assert.deepEqual(yield* delays(backoff, 3, 1), [120, 600, 600])
  }))

test("a connection is tried again after a second at first, and after two minutes at last", () =>
  Effect.gen(function* () {
    const [first, second, ...rest] = (yield* delays(connection, 20, 0.5)).map(Math.round)
    assert.deepEqual([first, second, rest.at(-1)], [1000, 1600, 120_000])
  }))

test("however many came before, a delay is a number between the bounds that jitter sets", () =>
  property(
    fc.record({
      initial: fc.integer({ min: 0, max: 10_000 }),
      multiplier: fc.double({ min: 0.1, max: 100, noNaN: true }),
      max: fc.integer({ min: 0, max: 100_000 }),
      jitter: fc.double({ min: 0, max: 1, noNaN: true }),
      earlier: fc.nat(10_000),
      seed: fc.string(),
    }),
    ({ earlier, seed, ...backoff }) =>
      Effect.gen(function* () {
        const drawn = yield* millis(backoff, earlier)
        const middle = Math.min(
          backoff.initial === 0 ? 0 : backoff.initial * backoff.multiplier ** earlier,
          backoff.max,
        )
        assert.ok(drawn >= middle * (1 - backoff.jitter) - 1e-3, `${drawn} is too short for ${middle}`)
        assert.ok(drawn <= middle * (1 + backoff.jitter) + 1e-3, `${drawn} is too long for ${middle}`)
      }).pipe(Random.withSeed(seed)),
  ))

test("the same seed gives the same delays", () =>
  Effect.gen(function* () {
    const drawn = Effect.all([millis(connection, 0), millis(connection, 0)])
    const [first, second] = yield* Effect.all([Random.withSeed(drawn, "a"), Random.withSeed(drawn, "a")])
    assert.deepEqual(first, second)
    assert.notEqual(first[0], first[1])
  }))

test("as a schedule it gives the same delays, and begins anew each time it is begun", () =>
  Effect.gen(function* () {
    const made = schedule({ initial: "100 millis", multiplier: 2, max: "300 millis", jitter: 0 })
    for (let begun = 0; begun < 2; begun++) {
      const step = yield* Schedule.toStep(made)
      const steps = yield* Effect.replicateEffect(
        Effect.suspend(() => step(0, undefined)),
        3,
      )
      assert.deepEqual(
        steps.map(([count, delay]) => [count, Duration.toMillis(delay)]),
        [
          [1, 100],
          [2, 200],
          [3, 300],
        ],
      )
    }
  }))
