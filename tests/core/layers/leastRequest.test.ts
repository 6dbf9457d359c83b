import assert from "node:assert/strict"
import { describe } from "node:test"
import { Clock, Deferred, Effect, Fiber, Random, Semaphore } from "effect"
import { TestClock } from "effect/testing"
import { leastRequest } from "../../../src/core/layers/leastRequest.ts"
import { roundRobin } from "../../../src/core/layers/roundRobin.ts"
import type { ChannelLayer } from "../../../src/core/rpc/channel.ts"
import { test, testWithClock } from "../../effect.ts"
import { ask, counts, fleet } from "../balance/fleet.ts"
import { settle } from "../support.ts"

const names = ["a", "b", "c", "d", "e"]

/**
 * How long calls take, in milliseconds and sorted, that come every 10 ms on average to servers that work on one at a time:
 * four need 10 ms for each, and one five times as long, which is busy all the time if it gets as many as the others.
 */
const simulate = (layer: ChannelLayer) =>
  Effect.gen(function* () {
    const workers = new Map<string, Semaphore.Semaphore>()
    for (const name of names) workers.set(name, yield* Semaphore.make(1))
    const { channel } = yield* fleet({
      listed: names,
      program: ({ address }) =>
        Effect.as(
          workers.get(address)?.withPermits(1)(Effect.sleep(address === "a" ? 50 : 10)) ?? Effect.void,
          address,
        ),
    })
    const balanced = channel.pipe(layer)
    yield* balanced.connector.connectivity.connect
    yield* settle
    const took: Array<number> = []
    const call = Effect.gen(function* () {
      const began = yield* Clock.currentTimeMillis
      yield* ask(balanced)
      took.push((yield* Clock.currentTimeMillis) - began)
    })
    const calls: Array<Fiber.Fiber<void, unknown>> = []
    const arrivals = Effect.gen(function* () {
      for (let i = 0; i < 3_000; i++) {
        calls.push(yield* Effect.forkChild(call))
        const gap = yield* Random.next
        yield* Effect.sleep(-10 * Math.log(1 - gap))
      }
      yield* Effect.forEach(calls, Fiber.join)
    })
    const running = yield* Effect.forkChild(arrivals)
    yield* TestClock.adjust("2 minutes")
    yield* Fiber.join(running)
    return took.sort((one, other) => one - other)
  }).pipe(Random.withSeed("leastRequest"), Effect.scoped)

const quantile = (sorted: ReadonlyArray<number>, part: number) => sorted[Math.floor(sorted.length * part)] ?? Number.NaN

describe("leastRequest", () => {
  test("gives equal endpoints shares that differ by 5 % at most", () =>
    Effect.gen(function* () {
      const { channel } = yield* fleet({ listed: names })
      const balanced = channel.pipe(leastRequest())
      yield* balanced.connector.connectivity.connect
      yield* settle
      const shares = [...(yield* counts(balanced, 100_000)).values()]
      assert.equal(shares.length, names.length)
      assert.ok(Math.max(...shares) <= Math.min(...shares) * 1.05, `${shares}`)
    }).pipe(Random.withSeed("shares")))

  for (const choices of [2, 3, 10]) {
    test(`sends no call to the busier one of two (${choices} choices)`, () =>
      Effect.gen(function* () {
        const go = yield* Deferred.make<void>()
        const { channel } = yield* fleet({
          listed: ["a", "b"],
          program: ({ address }) => Effect.as(Deferred.await(go), address),
        })
        const balanced = channel.pipe(leastRequest({ choices }))
        yield* balanced.connector.connectivity.connect
        yield* settle
        const calls: Array<Fiber.Fiber<unknown, unknown>> = []
        for (let i = 0; i < 40; i++) calls.push(yield* Effect.forkChild(ask(balanced)))
        yield* settle
        yield* Deferred.succeed(go, undefined)
        const answered = yield* Effect.forEach(calls, Fiber.join)
        assert.equal(answered.filter((address) => address === "a").length, 20)
      }))
  }

  testWithClock("has a p99 of at most half of roundRobin's where one endpoint is five times slower", () =>
    Effect.gen(function* () {
      const [least, robin] = [yield* simulate(leastRequest()), yield* simulate(roundRobin())]
      const [mine, theirs] = [quantile(least, 0.99), quantile(robin, 0.99)]
      assert.equal(least.length, robin.length)
      assert.ok(mine <= theirs / 2, `${mine} ms, and roundRobin's ${theirs} ms`)
    }),
  )
})
