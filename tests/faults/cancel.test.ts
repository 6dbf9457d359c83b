/**
 * Calls that are given up, as many as honest clients may: none of them harms the others of its connection.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe } from "node:test"
import { Effect, Fiber, Queue, Stream } from "effect"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { errorCode, frameType } from "../../src/transport/http2/frames.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { data, headers, rstStream } from "../transport/http2/support.ts"
import { callOf, goaway, ofType, peer } from "../transport/net/support.ts"
import { calculator, dial, envelope, start } from "../transport/support.ts"
import { network } from "./network.ts"

// For longer: CANCEL_SECONDS=60.
const seconds = Number(process.env.CANCEL_SECONDS ?? 3)
const perSecond = 1000
// Calls begin in groups, since timers are no finer than milliseconds.
const group = 20

const waiting = Service.make(PiCalculator, {
  ...calculator,
  calcRange: () => Stream.concat(Stream.make({ n: 1, value: 3 }), Stream.never),
})

describe("1,000 calls a second that are given up after their first response, beside a stream that goes on", () => {
  const ways = {
    take: (client: Effect.Success<ReturnType<typeof dial>>) =>
      Stream.runDrain(Stream.take(client.calcRange({ first: 1, last: 2 }), 1)),
    "take of both ways": (client: Effect.Success<ReturnType<typeof dial>>) =>
      Stream.runDrain(Stream.take(client.calcStream(Stream.concat(Stream.make({ n: 1 }), Stream.never)), 1)),
  } as const
  for (const [way, once] of Object.entries(ways)) {
    test(`leave it, and the connection, as they were: ${way}`, () =>
      Effect.gen(function* () {
        const middle = yield* network(yield* start(waiting))
        const client = yield* dial(middle)
        const requests = yield* Queue.make<{ readonly n: number }>()
        const responses = yield* Queue.make<number>()
        const long = yield* Effect.forkChild(
          Stream.runForEach(client.calcStream(Stream.fromQueue(requests)), ({ n }) => Queue.offer(responses, n)),
        )
        const alive = (n: number) =>
          Effect.gen(function* () {
            yield* Queue.offer(requests, { n })
            assert.equal(yield* Effect.raceFirst(Queue.take(responses), Effect.as(Fiber.join(long), -1)), n)
          })
        yield* alive(1)
        const from = performance.now()
        for (let done = 0; done < seconds * perSecond; done += group) {
          yield* Effect.all(
            Array.from({ length: group }, () => once(client)),
            { concurrency: "unbounded", discard: true },
          )
          const ahead = (done / perSecond) * 1000 - (performance.now() - from)
          if (ahead > 0) yield* Effect.sleep(ahead)
          if (done % perSecond === 0) yield* alive(2 + done)
        }
        yield* alive(1_000_000)
        assert.equal(middle.made(), 1)
        yield* Fiber.interrupt(long)
      }))
  }
})

describe("calls that are reset as soon as they are begun", () => {
  test("end their connection, and little is done for them", () =>
    Effect.gen(function* () {
      let runs = 0
      const never = Effect.suspend(() => {
        runs += 1
        return Effect.never
      })
      const server = yield* start(Service.make(PiCalculator, { ...calculator, calc: () => never }))
      const attacker = yield* peer(server)
      const begin = callOf("Calc")
      const attack = Buffer.concat(
        Array.from({ length: 20_000 }, (_, i) => [
          headers(2 * i + 1, false, begin),
          data(2 * i + 1, envelope(Buffer.of(0x08, 1)), true),
          rstStream(2 * i + 1),
        ]).flat(),
      )
      attacker.socket.write(attack)
      const told = yield* attacker.frame(ofType(frameType.goaway))
      assert.equal(goaway(told)[1], errorCode.enhanceYourCalm)
      yield* attacker.closed
      // 1,000 at once, and 100 for each second that this took.
      assert.ok(runs < 5000, `${runs} calls were run`)
    }))
})
