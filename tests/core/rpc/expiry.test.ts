import assert from "node:assert/strict"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import { type Expiring, Expiry } from "../../../src/core/rpc/expiry.ts"
import { testWithClock } from "../../effect.ts"

const begin = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  // Each sleep is a fiber.
  const sleeps = { count: 0 }
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const expiry = new Expiry(clock, (effect) => {
    sleeps.count += 1
    return run(effect)
  })
  const expired: Array<number> = []
  const waiting = (deadline: number): Expiring => ({ deadline, expire: () => void expired.push(deadline) })
  return { expiry, expired, waiting, sleeps }
})

testWithClock("each is told at its deadline, in whatever order they came, and once", () =>
  Effect.gen(function* () {
    const { expiry, expired, waiting } = yield* begin
    for (const deadline of [300, 100, 200, 100]) expiry.add(waiting(deadline))
    yield* TestClock.adjust(99)
    assert.deepEqual(expired, [])
    yield* TestClock.adjust(1)
    assert.deepEqual(expired, [100, 100])
    yield* TestClock.adjust(1000)
    assert.deepEqual(expired, [100, 100, 200, 300])
  }),
)

testWithClock("one that is forgotten is not told", () =>
  Effect.gen(function* () {
    const { expiry, expired, waiting } = yield* begin
    const [first, second] = [waiting(100), waiting(200)]
    expiry.add(first)
    expiry.add(second)
    expiry.forget(first)
    yield* TestClock.adjust(1000)
    assert.deepEqual(expired, [200])
  }),
)

testWithClock("thousands that end before their deadlines cost one sleep", () =>
  Effect.gen(function* () {
    const { expiry, expired, waiting, sleeps } = yield* begin
    for (let i = 0; i < 10_000; i++) {
      const one = waiting(30_000 + i)
      expiry.add(one)
      expiry.forget(one)
    }
    assert.equal(sleeps.count, 1)
    yield* TestClock.adjust("1 hour")
    assert.deepEqual([expired, sleeps.count], [[], 1])
    expiry.add(waiting(3_700_000))
    yield* TestClock.adjust("2 minutes")
    assert.deepEqual(expired, [3_700_000])
  }),
)

testWithClock("who is told may add others, and one whose deadline has passed is told at once", () =>
  Effect.gen(function* () {
    const { expiry, expired, waiting } = yield* begin
    expiry.add({ deadline: 100, expire: () => expiry.add(waiting(150)) })
    yield* TestClock.adjust(200)
    expiry.add(waiting(120))
    yield* TestClock.adjust(0)
    assert.deepEqual(expired, [150, 120])
  }),
)

testWithClock("once closed nobody is told", () =>
  Effect.gen(function* () {
    const { expiry, expired, waiting } = yield* begin
    expiry.add(waiting(100))
    expiry.close()
    yield* TestClock.adjust(1000)
    assert.deepEqual(expired, [])
  }),
)
