import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import { metadata } from "../../../src/core/layers/metadata.ts"
import { ringHash } from "../../../src/core/layers/ringHash.ts"
import type { Channel } from "../../../src/core/rpc/channel.ts"
import { test } from "../../effect.ts"
import { ask, counts, fleet } from "../balance/fleet.ts"
import { settle } from "../support.ts"

const keys = Array.from({ length: 5_000 }, (_, i) => `user-${i}`)

/** Who answers calls with each key. */
const owners = (channel: Channel) => Effect.forEach(keys, (key) => ask(channel.pipe(metadata({ "x-user": key }))))

const names = (count: number) => Array.from({ length: count }, (_, i) => `10.0.0.${i}:8080`)

const ringed = Effect.fnUntraced(function* (listed: ReadonlyArray<string>) {
  const made = yield* fleet({ listed })
  const balanced = made.channel.pipe(ringHash({ key: "X-User" }))
  yield* balanced.connector.connectivity.connect
  yield* settle
  return { ...made, balanced }
})

const moved = (before: ReadonlyArray<unknown>, after: ReadonlyArray<unknown>) =>
  before.filter((one, i) => one !== after[i]).length / before.length

describe("ringHash", () => {
  test("sends calls with the same key to the same endpoint, from all clients, whatever the order of the list", () =>
    Effect.gen(function* () {
      const [one, other] = [yield* ringed(names(5)), yield* ringed(names(5).toReversed())]
      const owned = yield* owners(one.balanced)
      assert.deepEqual(yield* owners(one.balanced), owned)
      assert.deepEqual(yield* owners(other.balanced), owned)
    }))

  for (const count of [2, 5, 10, 50]) {
    test(`moves no more than 1/N and 5 % of the keys when one of ${count} leaves, and only those that it had`, () =>
      Effect.gen(function* () {
        const { balanced, list } = yield* ringed(names(count))
        const before = yield* owners(balanced)
        for (const left of names(count).slice(0, 5)) {
          yield* list(...names(count).filter((name) => name !== left))
          const after = yield* owners(balanced)
          const part = moved(before, after)
          assert.ok(part > 0 && part <= 1 / count + 0.05, `${part}`)
          assert.ok(before.every((owner, i) => owner === left || owner === after[i]))
          yield* list(...names(count))
          assert.deepEqual(yield* owners(balanced), before)
        }
      }))
  }

  test("sends the keys of one that isn't connected to those that are next, until it is back", () =>
    Effect.gen(function* () {
      const { balanced, at } = yield* ringed(names(4))
      const before = yield* owners(balanced)
      const [gone = ""] = names(4)
      yield* at(gone).set("transient_failure")
      const without = yield* owners(balanced)
      assert.ok(!without.includes(gone))
      assert.ok(before.every((owner, i) => owner === gone || owner === without[i]))
      assert.equal(new Set(without.filter((_, i) => before[i] === gone)).size, 3)
      yield* at(gone).set("idle", "ready")
      assert.deepEqual(yield* owners(balanced), before)
    }))

  test("sends calls without the key to any", () =>
    Effect.gen(function* () {
      const { balanced } = yield* ringed(names(4))
      assert.equal((yield* counts(balanced, 200)).size, 4)
    }))
})
