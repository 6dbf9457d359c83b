/**
 * What SECURITY.md promises, held against each attack: on the runtime that the tests run on, as a process of its own.
 */
import assert from "node:assert/strict"
import { Effect } from "effect"
import { addressOf, file, running } from "../e2e/command.ts"
import { test } from "../effect.ts"
import { type Attack, attacks } from "./attacks.ts"
import { type Seen, siege } from "./siege.ts"

// What a runtime's own heap grows by under load before it collects.
const heap = 256
const ofConnection = 64
const ofProcess = 512
const longest = 3000

const withstood = (attack: Attack): Effect.Effect<Seen> =>
  Effect.scoped(
    Effect.gen(function* () {
      const server = yield* running(file("src/main.ts", "serve", "--port", "0"))
      const { hostname, port } = new URL(yield* addressOf(server))
      const { pid } = server.process
      assert.ok(pid !== undefined)
      const bound = (before: number) => before + heap
      return yield* Effect.promise(() =>
        siege(
          attack,
          { host: hostname, port: Number(port), pid },
          { holdMillis: 500, restMillis: 30_000, restsAt: bound },
        ),
      )
    }),
  )

for (const attack of attacks) {
  test(`${attack.name}: others are served, memory is bounded, and the server is there afterwards`, () =>
    Effect.gen(function* () {
      const { before, peak, after, slowest } = yield* withstood(attack)
      const bound = Math.min(ofProcess, ofConnection * attack.connections)
      assert.ok(peak - before <= bound + heap, `memory went from ${before} to ${peak} MiB: over ${bound} and ${heap}`)
      assert.ok(after - before <= heap, `memory went from ${before} to ${peak} MiB, and rests at ${after}`)
      assert.ok(slowest !== undefined && slowest <= longest, `another client's call took ${slowest} ms`)
    }))
}
