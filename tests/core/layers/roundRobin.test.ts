import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import { roundRobin } from "../../../src/core/layers/roundRobin.ts"
import { test } from "../../effect.ts"
import { ask, counts, fleet } from "../balance/fleet.ts"
import { settle } from "../support.ts"

describe("roundRobin", () => {
  test("gives each endpoint as many calls as the others", () =>
    Effect.gen(function* () {
      const { channel } = yield* fleet({ listed: ["a", "b", "c", "d"] })
      const balanced = channel.pipe(roundRobin())
      yield* balanced.connector.connectivity.connect
      yield* settle
      assert.deepEqual([...(yield* counts(balanced, 100_000)).values()], [25_000, 25_000, 25_000, 25_000])
    }))

  test("passes over those that aren't connected, and comes back to them", () =>
    Effect.gen(function* () {
      const { channel, at } = yield* fleet({ listed: ["a", "b", "c"] })
      const balanced = channel.pipe(roundRobin())
      yield* ask(balanced)
      yield* settle
      yield* at("b").set("transient_failure")
      const without = yield* counts(balanced, 10)
      assert.deepEqual([without.get("a"), without.get("b"), without.get("c")], [5, undefined, 5])
      yield* at("b").set("idle", "ready")
      assert.equal((yield* counts(balanced, 9)).get("b"), 3)
    }))
})
