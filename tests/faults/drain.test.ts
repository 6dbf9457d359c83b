import assert from "node:assert/strict"
import { describe } from "node:test"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { metadata } from "../../src/core/layers/metadata.ts"
import { type ConnectOptions, connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { test } from "../effect.ts"
import { dial } from "../transport/support.ts"
import { network } from "./network.ts"
import { type Counting, counting, eager, identified, over, tally } from "./support.ts"

const inFlight = 64

/**
 * Calls that may not run twice, in a burst that goes on while one server drains, with others in flight on it, and another
 * one takes over, which `next` starts.
 */
const burst = Effect.fnUntraced(function* <R>(
  first: Counting,
  next: Effect.Effect<Counting, never, R>,
  addresses: ReadonlyArray<string>,
  options: ConnectOptions = {},
) {
  const { layer, ids } = identified()
  const channel = yield* connect(addresses, { backoff: eager, ...options })
  const client = Client.make(PiCalculator, layer(channel))
  const holding = Client.make(PiCalculator, channel.pipe(metadata({ "x-hold": "yes" }), layer))
  const held = yield* Effect.forkChild(
    Effect.all(
      Array.from({ length: inFlight }, () => holding.report({})),
      { concurrency: "unbounded", discard: true },
    ),
  )
  yield* first.said(new RegExp(`holds ${inFlight}\\.`))
  const calls = tally()
  let stopping = false
  const calling = yield* over(
    Effect.suspend(() => (stopping ? Effect.never : Effect.map(client.report({}), calls.add))),
    16,
  )
  const more = Effect.raceFirst(Fiber.join(calling), calls.more(300))
  yield* more
  yield* first.drain
  const second = yield* next
  yield* Effect.raceFirst(Fiber.join(calling), second.said(/runs/))
  yield* more
  yield* first.release
  yield* Fiber.join(held)
  const before = yield* first.ran
  yield* more
  stopping = true
  const left = ids() - inFlight - calls.count()
  if (left > 0) yield* Effect.raceFirst(Fiber.join(calling), calls.more(left))
  yield* second.drain
  const ran = [...before, ...(yield* second.ran)]
  assert.deepEqual(
    ran.filter(([, times]) => times !== 1),
    [],
  )
  assert.equal(new Set(ran.map(([id]) => id)).size, ran.length)
  assert.equal(ran.length, ids())
})

describe("a server that drains in a burst of calls", () => {
  for (const [way, options] of [
    ["nearby", {}],
    ["far away", { delay: 5 }],
  ] as const) {
    test(`${way}, runs each exactly once, or leaves it to the next address`, () =>
      Effect.gen(function* () {
        const [first, second] = yield* Effect.all([counting(), counting()], { concurrency: 2 })
        const [one, two] = [yield* network(first, options), yield* network(second, options)]
        yield* burst(first, Effect.succeed(second), [one.url, two.url])
      }))
  }

  test("runs each exactly once, or leaves it to the next one on its port, for which calls wait", () =>
    Effect.gen(function* () {
      const first = yield* counting()
      yield* burst(first, counting({ port: first.port }), [first.url], { waitForReady: true })
    }))

  test("and with the last answer closes no connection before all of it has arrived", () =>
    Effect.gen(function* () {
      const server = yield* counting()
      const client = yield* dial(server)
      const begun = yield* Deferred.make<void>()
      // While it takes them the client opens windows, to the last.
      const points = Stream.tap(client.calcRange({ first: 1, last: 100_000 }), () => Deferred.succeed(begun, undefined))
      const reading = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 4 }, () => Stream.runCount(points)),
          { concurrency: "unbounded" },
        ),
      )
      yield* Deferred.await(begun)
      yield* server.drain
      assert.deepEqual(yield* Fiber.join(reading), [100_000, 100_000, 100_000, 100_000])
      yield* server.ran
    }))
})
