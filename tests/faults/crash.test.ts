import assert from "node:assert/strict"
import { describe } from "node:test"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { metadata } from "../../src/core/layers/metadata.ts"
import { retry } from "../../src/core/layers/retry.ts"
import { piClosedForm } from "../../src/core/pi/series.ts"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { test } from "../effect.ts"
import { dial } from "../transport/support.ts"
import { network } from "./network.ts"
import { counting, eager, over, tally } from "./support.ts"

const held = metadata({ "x-hold": "yes" })

describe("a server that is killed", () => {
  test("ends the calls that it runs, and these are unavailable", () =>
    Effect.gen(function* () {
      const server = yield* counting()
      const client = yield* dial(server, {}, held)
      const calls = yield* Effect.forEach(Array.from({ length: 10 }), () =>
        Effect.forkChild(Effect.flip(client.calc({ n: 1 }))),
      )
      yield* server.said(/holds 10\./)
      yield* server.kill
      for (const call of calls) {
        const { code, message } = yield* Fiber.join(call)
        assert.equal(code, "unavailable")
        assert.match(message, /the connection was lost/)
      }
    }))

  test("ends a stream behind the messages that came", () =>
    Effect.gen(function* () {
      const server = yield* counting()
      const client = yield* dial(server, {}, held)
      const all = yield* Deferred.make<void>()
      const got: Array<number> = []
      const reading = yield* client.calcRange({ first: 1, last: 5 }).pipe(
        Stream.runForEach(({ n }) => (got.push(n) === 5 ? Deferred.succeed(all, undefined) : Effect.void)),
        Effect.flip,
        Effect.forkChild,
      )
      yield* Deferred.await(all)
      yield* server.kill
      assert.equal((yield* Fiber.join(reading)).code, "unavailable")
      assert.deepEqual(got, [1, 2, 3, 4, 5])
    }))

  test("serves the next call once it is back", () =>
    Effect.gen(function* () {
      const first = yield* counting()
      const client = yield* dial(first)
      yield* client.calc({ n: 1 })
      yield* first.kill
      yield* counting({ port: first.port })
      assert.equal((yield* client.calc({ n: 2 })).value, piClosedForm(2))
    }))

  test("and started again costs calls nothing but time where they are retried", () =>
    Effect.gen(function* () {
      const first = yield* counting()
      const channel = yield* connect(first.url, { backoff: eager })
      // For as long as a slow machine may take to start a process.
      const patient = retry({ maxAttempts: 200, backoff: { initial: "20 millis", max: "200 millis" } })
      const client = Client.make(PiCalculator, patient(channel))
      const calls = tally()
      const calling = yield* over(Effect.map(client.calc({ n: 1 }), calls.add), 8)
      const more = Effect.raceFirst(Fiber.join(calling), calls.more(100))
      yield* more
      yield* first.kill
      yield* counting({ port: first.port })
      yield* more
    }))

  test("and started five times over leaves one connection behind, and no call fails", () =>
    Effect.gen(function* () {
      let server = yield* counting()
      const middle = yield* network(server)
      const channel = yield* connect(middle.url, { backoff: eager, waitForReady: true })
      const client = Client.make(PiCalculator, retry()(channel))
      const calls = tally()
      const calling = yield* over(Effect.map(client.calc({ n: 1 }), calls.add), 8)
      const more = Effect.raceFirst(Fiber.join(calling), calls.more(100))
      for (let restarts = 0; restarts < 5; restarts++) {
        yield* more
        yield* server.kill
        server = yield* counting({ port: server.port })
      }
      yield* more
      assert.equal(middle.open(), 1)
    }))
})
