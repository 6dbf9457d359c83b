import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type OutlierEjectionOptions, outlierEjection } from "../../../src/core/layers/outlierEjection.ts"
import { roundRobin } from "../../../src/core/layers/roundRobin.ts"
import type { Channel } from "../../../src/core/rpc/channel.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import type { Code } from "../../../src/core/rpc/status.ts"
import { testWithClock } from "../../effect.ts"
import { ask, fleet } from "../balance/fleet.ts"
import { settle } from "../support.ts"

const names = ["a", "b", "c", "d", "e"]

/** Servers of which some fail their calls with a code; `failing` may be changed. */
const watched = Effect.fnUntraced(function* (options: OutlierEjectionOptions, listed = names) {
  const failing = new Map<string, Code>()
  const made = yield* fleet({
    listed,
    program: ({ address }) => {
      const code = failing.get(address)
      return code === undefined ? Effect.succeed(address) : Effect.fail(new RpcError({ code, message: "it fails" }))
    },
  })
  const balanced = made.channel.pipe(roundRobin(), outlierEjection(options))
  yield* balanced.connector.connectivity.connect
  yield* settle
  return { ...made, balanced, failing }
})

/** Makes so many calls; gives how many each server took of them, in their order. */
const taking = Effect.fnUntraced(function* (
  { balanced, servers }: { readonly balanced: Channel; readonly servers: ReadonlyArray<{ readonly taken: number }> },
  calls: number,
) {
  const before = servers.map(({ taken }) => taken)
  for (let i = 0; i < calls; i++) yield* Effect.exit(ask(balanced))
  return servers.map(({ taken }, i) => taken - (before[i] ?? 0))
})

describe("outlierEjection", () => {
  testWithClock("leaves out an endpoint that fails several calls one after another, and lets it come back", () =>
    Effect.gen(function* () {
      const one = yield* watched({ consecutiveFailures: 3, baseEjection: "30 seconds" })
      one.failing.set("b", "unavailable")
      assert.equal((yield* taking(one, 40))[1], 3)
      assert.deepEqual(yield* taking(one, 20), [5, 0, 5, 5, 5])
      yield* TestClock.adjust("29 seconds")
      assert.deepEqual(yield* taking(one, 20), [5, 0, 5, 5, 5])
      one.failing.clear()
      yield* TestClock.adjust("1 second")
      assert.deepEqual(yield* taking(one, 20), [4, 4, 4, 4, 4])
    }),
  )

  testWithClock("leaves it out for longer each time, and for less again after quiet intervals", () =>
    Effect.gen(function* () {
      const one = yield* watched({ consecutiveFailures: 1, baseEjection: "10 seconds", interval: "10 seconds" })
      const out = Effect.gen(function* () {
        one.failing.set("a", "internal")
        yield* taking(one, 5)
        one.failing.clear()
        let seconds = 0
        while ((yield* taking(one, 5))[0] === 0) {
          seconds += 1
          yield* TestClock.adjust("1 second")
        }
        return seconds
      })
      assert.deepEqual([yield* out, yield* out, yield* out], [10, 20, 30])
      yield* TestClock.adjust("20 seconds")
      assert.equal(yield* out, 20)
      yield* TestClock.adjust("1 hour")
      assert.equal(yield* out, 10)
    }),
  )

  testWithClock("ejects one of which too large a part fails, once there were enough calls in an interval", () =>
    Effect.gen(function* () {
      const one = yield* watched({
        consecutiveFailures: 1_000,
        failureRatio: 0.5,
        minimumCalls: 10,
        interval: "10 seconds",
      })
      const half = Effect.gen(function* () {
        one.failing.set("c", "unknown")
        yield* taking(one, 5)
        one.failing.clear()
        yield* taking(one, 5)
      })
      // The first call begins the first interval.
      yield* Effect.replicateEffect(half, 4)
      yield* TestClock.adjust("10 seconds")
      assert.deepEqual(yield* taking(one, 10), [2, 2, 2, 2, 2])
      yield* TestClock.adjust("10 seconds")
      yield* Effect.replicateEffect(half, 5)
      yield* TestClock.adjust("10 seconds")
      yield* taking(one, 5)
      assert.equal((yield* taking(one, 20))[2], 0)
    }),
  )

  testWithClock("ejects no more than a part of them, but one in any case", () =>
    Effect.gen(function* () {
      const one = yield* watched({ consecutiveFailures: 1, maxEjectedPercent: 10 })
      for (const name of ["a", "b", "c"]) one.failing.set(name, "unavailable")
      yield* taking(one, 20)
      assert.equal((yield* taking(one, 20)).filter((count) => count === 0).length, 1)
      const two = yield* watched({ consecutiveFailures: 1, maxEjectedPercent: 40 })
      for (const name of ["a", "b", "c"]) two.failing.set(name, "unavailable")
      yield* taking(two, 20)
      assert.equal((yield* taking(two, 20)).filter((count) => count === 0).length, 2)
    }),
  )

  testWithClock("sends calls to outliers where no other is left", () =>
    Effect.gen(function* () {
      const one = yield* watched({ consecutiveFailures: 1, maxEjectedPercent: 100 }, ["a", "b"])
      for (const name of ["a", "b"]) one.failing.set(name, "unavailable")
      yield* taking(one, 4)
      one.failing.clear()
      assert.deepEqual(yield* taking(one, 10), [5, 5])
    }),
  )

  testWithClock("takes no error for a failure that speaks of the call, and no call that was cancelled", () =>
    Effect.gen(function* () {
      const one = yield* watched({ consecutiveFailures: 1 })
      one.failing.set("a", "not_found")
      one.failing.set("b", "cancelled")
      const call = yield* Effect.forkChild(ask(one.balanced))
      yield* Fiber.interrupt(call)
      yield* taking(one, 19)
      assert.deepEqual(yield* taking(one, 10), [2, 2, 2, 2, 2])
      const other = yield* watched({ consecutiveFailures: 1, codes: ["not_found"] })
      other.failing.set("a", "not_found")
      yield* taking(other, 5)
      assert.equal((yield* taking(other, 8))[0], 0)
    }),
  )

  testWithClock("forgets an endpoint that is no longer listed", () =>
    Effect.gen(function* () {
      const one = yield* watched({ consecutiveFailures: 1, baseEjection: "1 hour" })
      one.failing.set("a", "unavailable")
      yield* taking(one, 5)
      yield* one.list("b", "c", "d", "e")
      one.failing.clear()
      one.failing.set("b", "unavailable")
      yield* taking(one, 4)
      assert.equal((yield* taking(one, 6))[1], 0)
      yield* one.list(...names)
      yield* settle
      assert.equal(one.at("a").closed, false)
      one.failing.clear()
      yield* TestClock.adjust("1 hour")
      assert.deepEqual((yield* taking(one, 5)).slice(1), [1, 1, 1, 1, 1])
    }),
  )
})
