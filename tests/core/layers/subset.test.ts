import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import { roundRobin } from "../../../src/core/layers/roundRobin.ts"
import { subset } from "../../../src/core/layers/subset.ts"
import { test } from "../../effect.ts"
import { counts, fleet } from "../balance/fleet.ts"
import { settle } from "../support.ts"

const names = (count: number) => Array.from({ length: count }, (_, i) => `10.0.0.${i}:8080`)

const connected = (client?: string, listed = names(50)) =>
  Effect.gen(function* () {
    const made = yield* fleet({ listed })
    const layer = subset(10, client === undefined ? {} : { client })
    const balanced = made.channel.pipe(layer, roundRobin())
    yield* balanced.connector.connectivity.connect
    yield* settle
    const open = () => made.servers.filter(({ closed }) => !closed).map(({ address }) => address)
    return { ...made, balanced, open }
  })

describe("subset", () => {
  test("uses and opens so many endpoints and no more, all of them where there are fewer", () =>
    Effect.gen(function* () {
      const { balanced, servers } = yield* connected()
      assert.equal((yield* counts(balanced, 1_000)).size, 10)
      assert.equal(servers.length, 10)
      const few = yield* connected(undefined, names(3))
      assert.equal((yield* counts(few.balanced, 100)).size, 3)
    }))

  test("is the same for the same client, and others for others", () =>
    Effect.gen(function* () {
      const [one, same, other] = [yield* connected("one"), yield* connected("one"), yield* connected("other")]
      assert.deepEqual(same.open(), one.open())
      assert.notDeepEqual(other.open(), one.open())
    }))

  test("changes by those alone that come and go", () =>
    Effect.gen(function* () {
      const { open, list } = yield* connected("one")
      const before = new Set(open())
      const [gone = ""] = before
      yield* list(...names(50).filter((name) => name !== gone))
      const after = open()
      assert.equal(after.length, 10)
      assert.deepEqual(after.filter((address) => !before.has(address)).length, 1)
      yield* list(...names(50))
      assert.deepEqual(new Set(open()), before)
      yield* list(...names(51))
      assert.ok(open().filter((address) => !before.has(address)).length <= 1)
    }))

  test("gives servers much the same number of clients", () =>
    Effect.gen(function* () {
      const clients = new Map<string, number>()
      for (let i = 0; i < 500; i++) {
        const { open, close } = yield* connected(`client-${i}`, names(20))
        for (const address of open()) clients.set(address, (clients.get(address) ?? 0) + 1)
        yield* close
      }
      // 250 each on average, with a deviation of 11.
      assert.ok(
        [...clients.values()].every((count) => count > 200 && count < 300),
        `${[...clients.values()]}`,
      )
    }))
})
