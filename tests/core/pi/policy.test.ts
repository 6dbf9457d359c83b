import assert from "node:assert/strict"
import { Effect, Random } from "effect"
import fc from "fast-check"
import { type Policy, skipHalf, skipWith } from "../../../src/core/pi/policy.ts"
import { test } from "../../effect.ts"
import { property } from "../support.ts"

const decisions = (policy: Policy, seed: number, count: number) =>
  Effect.replicateEffect(policy, count).pipe(Random.withSeed(seed))

/** How many of many draws are answered. */
const answered = (policy: Policy, seed: string, draws: number) =>
  Effect.gen(function* () {
    let count = 0
    for (let i = 0; i < draws; i++) if (yield* policy) count += 1
    return count
  }).pipe(Random.withSeed(seed))

/** Fails where a count is further from its mean than chance allows once in a million. */
const assertRate = (count: number, draws: number, p: number): void => {
  const sigma = Math.sqrt(draws * p * (1 - p))
  assert.ok(Math.abs(count - draws * p) <= 5 * sigma, `${count} of ${draws}, with a chance of ${p}`)
}

const DRAWS = 1_000_000

test("the same seed decides the same, and another seed otherwise", () =>
  property(fc.tuple(fc.nat(), fc.nat(), fc.double({ min: 0.3, max: 0.7, noNaN: true })), ([a, b, p]) =>
    Effect.gen(function* () {
      for (const policy of [skipHalf, skipWith(p)]) {
        const first = yield* decisions(policy, a, 200)
        assert.deepEqual(yield* decisions(policy, a, 200), first)
        if (a !== b) assert.notDeepEqual(yield* decisions(policy, b, 200), first)
      }
    }),
  ))

test("half of the requests are answered", () =>
  Effect.gen(function* () {
    assertRate(yield* answered(skipHalf, "half", DRAWS), DRAWS, 0.5)
  }))

test("each decision stands for itself: two in a row are as often unlike as like", () =>
  Effect.gen(function* () {
    const drawn = yield* decisions(skipHalf, 1, 100_001)
    const changes = drawn.filter((decision, i) => i > 0 && decision !== drawn[i - 1]).length
    assertRate(changes, 100_000, 0.5)
  }))

test("requests are skipped as often as asked", () =>
  Effect.gen(function* () {
    for (const p of [0.01, 0.1, 0.5, 0.9, 0.99]) {
      assertRate(yield* answered(skipWith(p), `${p}`, DRAWS / 10), DRAWS / 10, 1 - p)
    }
  }))

test("a chance of 0 answers all, a chance of 1 none", () =>
  Effect.gen(function* () {
    assert.equal(yield* answered(skipWith(0), "all", 10_000), 10_000)
    assert.equal(yield* answered(skipWith(1), "none", 10_000), 0)
    // The least and the most that Random draws.
    const drawing = (next: number) => ({ nextDoubleUnsafe: () => next, nextIntUnsafe: () => 0 })
    assert.equal(yield* Effect.provideService(skipWith(0), Random.Random, drawing(0)), true)
    assert.equal(yield* Effect.provideService(skipWith(1), Random.Random, drawing(1 - 2 ** -53)), false)
  }))
