import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Fiber, Random } from "effect"
import { TestClock } from "effect/testing"
import { pickFirst } from "../../../src/core/layers/pickFirst.ts"
import { test, testWithClock } from "../../effect.ts"
import { ask, counts, fleet, linger, type Server } from "../balance/fleet.ts"
import { settle } from "../support.ts"

const tries = (servers: ReadonlyArray<Server>) => servers.map(({ tries }) => tries)

describe("pickFirst", () => {
  test("sends all calls to the first endpoint, and connects to no other", () =>
    Effect.gen(function* () {
      const { channel, servers } = yield* fleet({ listed: ["a", "b", "c"] })
      assert.deepEqual(yield* counts(channel.pipe(pickFirst({ shuffle: false })), 100), new Map([["a", 100]]))
      assert.deepEqual(tries(servers), [1, 0, 0])
    }))

  test("is what a balanced channel does by itself, in an order of its own", () =>
    Effect.gen(function* () {
      const first = new Map<unknown, number>()
      for (let i = 0; i < 300; i++) {
        const { channel, close } = yield* fleet({ listed: ["a", "b", "c"] })
        const answered = [...(yield* counts(channel, 3)).keys()]
        assert.equal(answered.length, 1)
        first.set(answered[0], (first.get(answered[0]) ?? 0) + 1)
        yield* close
      }
      assert.ok([...first.values()].every((count) => count > 60) && first.size === 3, `${[...first]}`)
    }).pipe(Random.withSeed("pickFirst")))

  testWithClock("tries one after another, and goes on with all of them once each has failed", () =>
    Effect.gen(function* () {
      const { channel, servers, at } = yield* fleet({ listed: ["a", "b"], connect: linger })
      const balanced = channel.pipe(pickFirst({ shuffle: false }))
      const call = yield* Effect.forkChild(Effect.flip(ask(balanced)))
      yield* settle
      assert.deepEqual(tries(servers), [1, 0])
      yield* at("a").set("transient_failure")
      assert.deepEqual(tries(servers), [1, 1])
      yield* at("a").set("idle")
      assert.deepEqual(tries(servers), [1, 1])
      yield* at("b").set("transient_failure")
      assert.deepEqual(tries(servers), [2, 1])
      assert.equal(call.pollUnsafe()?._tag, "Success")
      yield* at("b").set("idle")
      assert.deepEqual(tries(servers), [2, 2])
      yield* at("b").set("ready")
      assert.equal(yield* ask(balanced), "b")
    }),
  )

  testWithClock("tries the next beside one that takes long, and takes the first that is there", () =>
    Effect.gen(function* () {
      const { channel, servers, at } = yield* fleet({ listed: ["a", "b", "c"], connect: linger })
      const balanced = channel.pipe(pickFirst({ shuffle: false }))
      const call = yield* Effect.forkChild(ask(balanced))
      yield* settle
      yield* TestClock.adjust(249)
      assert.deepEqual(tries(servers), [1, 0, 0])
      yield* TestClock.adjust(1)
      assert.deepEqual(tries(servers), [1, 1, 0])
      yield* at("b").set("ready")
      assert.equal(yield* Fiber.join(call), "b")
      yield* TestClock.adjust("1 second")
      assert.deepEqual(tries(servers), [1, 1, 0])
    }),
  )

  testWithClock("tries those again that failed before, when the one it was with is lost", () =>
    Effect.gen(function* () {
      const { channel, at } = yield* fleet({ listed: ["a", "b"], connect: linger })
      const balanced = channel.pipe(pickFirst({ shuffle: false }))
      const first = yield* Effect.forkChild(ask(balanced))
      yield* settle
      yield* at("a").set("transient_failure")
      yield* at("b").set("ready")
      assert.equal(yield* Fiber.join(first), "b")
      yield* at("a").set("idle")
      yield* TestClock.adjust("1 minute")
      yield* at("b").set("idle")
      const second = yield* Effect.forkChild(ask(balanced))
      yield* settle
      assert.equal(at("a").tries, 2)
      yield* at("a").set("ready")
      assert.equal(yield* Fiber.join(second), "a")
    }),
  )

  testWithClock("is idle when its endpoint is lost, and the next call begins with the first again", () =>
    Effect.gen(function* () {
      const { channel, servers, at, list } = yield* fleet({ listed: ["a", "b"] })
      const balanced = channel.pipe(pickFirst({ shuffle: false }))
      assert.equal(yield* ask(balanced), "a")
      yield* TestClock.adjust("1 minute")
      yield* at("a").set("idle")
      assert.equal(yield* balanced.connector.connectivity.state, "idle")
      assert.deepEqual(tries(servers), [1, 0])
      assert.equal(yield* ask(balanced), "a")
      assert.deepEqual(tries(servers), [2, 0])
      yield* list("b")
      assert.equal(yield* ask(balanced), "b")
    }),
  )
})
