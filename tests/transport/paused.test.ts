/**
 * Streams that nobody reads, beside calls on the same connection: real servers and real sockets, in both roles.
 */
import assert from "node:assert/strict"
import { describe } from "node:test"
import { create } from "@bufbuild/protobuf"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { PiCalculator, PiPointSchema, PiRequestSchema } from "../../src/transport/gen/pi_pb.ts"
import { serve } from "../../src/transport/server.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { calculator, dial, padded } from "./support.ts"

/** A request of some KiB. */
const large = padded(create(PiRequestSchema, { n: 1 }))

const point = padded(create(PiPointSchema, { n: 1, value: 3 }))

describe("streams that nobody reads", () => {
  test("leave calls room beside them: uploads whose handler doesn't read", () =>
    Effect.gen(function* () {
      const uploads = 8
      const go = yield* Deferred.make<void>()
      let sent = 0
      const service = Service.make(PiCalculator, {
        ...calculator,
        summarize: (requests) => Effect.andThen(Deferred.await(go), calculator.summarize(requests)),
      })
      const server = yield* serve(service, { port: 0 })
      const client = yield* dial(server)
      const requests = Stream.rechunk(Stream.range(1, 400), 1).pipe(
        Stream.map(() => {
          sent += 1
          return large
        }),
      )
      const running = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: uploads }, () => client.summarize(requests)),
          { concurrency: uploads },
        ),
      )
      // Until nothing goes any more.
      for (let before = -1; sent !== before; ) {
        before = sent
        yield* Effect.sleep("300 millis")
      }
      assert.ok(sent < 400 * uploads)
      for (let n = 1; n < 20; n++) yield* client.calc({ n })
      yield* Deferred.succeed(go, undefined)
      yield* Fiber.join(running)
      assert.equal(sent, 400 * uploads)
    }))

  for (const count of [6, 1000]) {
    test(`leave calls room beside them: ${count} streams of a server that their client has paused`, () =>
      Effect.gen(function* () {
        let made = 0
        const service = Service.make(PiCalculator, {
          ...calculator,
          calcRange: () =>
            Stream.forever(
              Stream.sync(() => {
                made += 1
                return point
              }),
            ),
        })
        const server = yield* serve(service, { port: 0, limits: { maxConcurrentStreams: count + 10 } })
        const client = yield* dial(server)
        let begun = 0
        for (let i = 0; i < count; i++) {
          yield* Effect.forkScoped(
            Stream.runForEach(client.calcRange({ first: 1, last: 2 }), () => {
              begun += 1
              return Effect.never
            }),
          )
        }
        while (begun < count) yield* Effect.sleep("50 millis")
        for (let before = -1; made !== before; ) {
          before = made
          yield* Effect.sleep("300 millis")
        }
        for (let n = 1; n < 50; n++) yield* client.calc({ n })
        // A window of 64 KiB, and what is made before it shows that it is full.
        assert.ok(made / count < 40, `${made / count} messages of 4 KiB on each`)
        assert.equal(server.memory.refused, 0)
      }))
  }
})
