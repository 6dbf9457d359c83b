import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Fiber } from "effect"
import { metadata } from "../../src/core/layers/metadata.ts"
import { piClosedForm } from "../../src/core/pi/series.ts"
import { test } from "../effect.ts"
import { dial } from "../transport/support.ts"
import { network } from "./network.ts"
import { counting, eager } from "./support.ts"

describe("a server that takes two calls at once on a connection", () => {
  test("gets more connections, but no more than there may be, and answers all calls in the end", () =>
    Effect.gen(function* () {
      const server = yield* counting({ limits: { maxConcurrentStreams: 2 } })
      const middle = yield* network(server)
      const client = yield* dial(middle, { maxConnections: 5, backoff: eager })
      const answers = yield* Effect.all(
        Array.from({ length: 100 }, (_, index) => client.calc({ n: index + 1 })),
        { concurrency: "unbounded" },
      )
      assert.deepEqual(
        answers.map(({ value }) => value),
        answers.map((_, index) => piClosedForm(index + 1)),
      )
      assert.ok(middle.made() <= 5, `${middle.made()} connections`)
    }))

  test("runs two on each of all its connections, and those that wait get theirs when these end", () =>
    Effect.gen(function* () {
      const server = yield* counting({ limits: { maxConcurrentStreams: 2 } })
      const middle = yield* network(server)
      const client = yield* dial(middle, { maxConnections: 5, backoff: eager }, metadata({ "x-hold": "yes" }))
      const calls = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 100 }, () => client.calc({ n: 1 })),
          { concurrency: "unbounded" },
        ),
      )
      yield* server.said(/holds 10\./)
      assert.equal(middle.made(), 5)
      yield* server.release
      assert.equal((yield* Fiber.join(calls)).length, 100)
      assert.equal(middle.made(), 5)
    }))
})
