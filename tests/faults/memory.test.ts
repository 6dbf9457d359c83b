import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import { file, running } from "../e2e/command.ts"
import { test } from "../effect.ts"
import { network } from "./network.ts"
import { counting } from "./support.ts"

const calls = 50_000

describe("a client that makes many calls, and interrupts a third of them", () => {
  test("holds no more after the last than after the first", () =>
    Effect.gen(function* () {
      // Else the server takes so many interruptions for an attack.
      const server = yield* counting({ limits: { maxResets: calls } })
      const middle = yield* network(server)
      const client = yield* running(
        file("tests/faults/memoryClient.ts", middle.url, `${calls}`)
          .replace(/^deno run/, "deno run --v8-flags=--expose-gc")
          .replace(/^node/, "node --expose-gc"),
      )
      const { code, stdout, stderr } = yield* Effect.promise(() => client.finished)
      assert.deepEqual([code, stderr], [0, ""])
      const reached = [...stdout.matchAll(/reaches (\d+) bytes/g)].map(([, bytes]) => Number(bytes))
      assert.equal(reached.length, 10)
      // The first tenths fill what grows once: pools, tables of HPACK, compiled code.
      const [early, late] = [Math.max(...reached.slice(2, 5)), Math.min(...reached.slice(7))]
      // One word a call would be more.
      assert.ok(late - early < (calls / 2) * 16, `${reached}`)
      assert.equal(middle.made(), 1)
      yield* middle.empty
      yield* server.drain
      yield* server.ran
    }))
})
