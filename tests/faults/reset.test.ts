import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Random, Result, Stream } from "effect"
import { intercept } from "../../src/core/layers/intercept.ts"
import { retry } from "../../src/core/layers/retry.ts"
import { piClosedForm } from "../../src/core/pi/series.ts"
import type { RpcError } from "../../src/core/rpc/error.ts"
import * as Metadata from "../../src/core/rpc/metadata.ts"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { network } from "./network.ts"
import { counting, eager, identified, testWithSeed } from "./support.ts"

/** Sees each attempt that is made: how many a call had, and how many of them the server had begun to answer. */
const attempts = () => {
  const made = new Map<string, { attempts: number; failed: number; committed: number }>()
  const layer = intercept((call, next) =>
    Effect.suspend(() => {
      const id = `${Metadata.get(call.metadata, "x-id")}`
      const seen = made.get(id) ?? { attempts: 0, failed: 0, committed: 0 }
      made.set(id, seen)
      assert.equal(seen.committed, 0, `${id} is sent again after its answer had begun`)
      seen.attempts++
      return next(call).pipe(
        Effect.tapError(() => Effect.sync(() => seen.failed++)),
        Effect.ensuring(
          Effect.sync(() => {
            if (call.response.committed) seen.committed++
          }),
        ),
      )
    }),
  )
  return { layer, made }
}

describe("a network that resets connections, so that a call in ten is interrupted", () => {
  testWithSeed("costs no call that is retried more than time, and none is run again once its answer has begun", () =>
    Effect.gen(function* () {
      const server = yield* counting()
      const random = yield* Random.Random
      // Each time it is cut, it is under 64 calls, of more than 100 bytes each.
      const middle = yield* network(server, { cutAfter: () => Math.ceil(random.nextDoubleUnsafe() * 2 * 64_000) })
      const { layer: identify } = identified()
      const { layer: watch, made } = attempts()
      // Enough attempts that none of 10,000 calls has bad luck with all of them.
      const again = retry({
        maxAttempts: 12,
        backoff: { initial: "5 millis", max: "200 millis" },
        methods: ({ name }) => name !== "Report",
      })
      const strict = intercept((call, next) =>
        Effect.tapError(next(call), ({ code }) =>
          Effect.sync(() => {
            assert.equal(code, "unavailable")
            // Else the network has cut the answer itself in two.
            if (call.method.name !== "Report") assert.ok(call.response.committed, `${call.method.name} isn't retried`)
          }),
        ),
      )
      const channel = (yield* connect(middle.url, { backoff: eager })).pipe(watch, again, strict, identify)
      const client = Client.make(PiCalculator, channel)
      const points = Array.from({ length: 20 }, (_, index) => index + 1)
      const requests = Stream.map(Stream.fromIterable(points), (n) => ({ n }))
      const numbered = (answers: Stream.Stream<{ readonly n: number }, RpcError>) =>
        Effect.gen(function* () {
          const got: Array<number> = []
          const reading = Stream.runForEach(answers, ({ n }) => Effect.sync(() => void got.push(n)))
          const ended = yield* Effect.result(reading)
          assert.deepEqual(got, Result.isSuccess(ended) ? points : points.slice(0, got.length))
        })
      const call = (n: number): Effect.Effect<unknown> => {
        if (n % 20 === 0) return numbered(client.calcRange({ first: 1, last: 20 }))
        if (n % 20 === 5) return numbered(client.calcStream(requests))
        if (n % 20 === 10) return Effect.result(client.report({}))
        if (n % 20 === 15) {
          const summarized = Effect.map(client.summarize(requests), ({ count }) => assert.equal(count, 20))
          return Effect.result(summarized)
        }
        return Effect.result(Effect.map(client.calc({ n }), ({ value }) => assert.equal(value, piClosedForm(n))))
      }
      yield* Effect.forEach(
        Array.from({ length: 10_000 }, (_, index) => index + 1),
        call,
        { concurrency: 64, discard: true },
      )
      yield* server.drain
      const ran = yield* server.ran
      let failed = 0
      for (const [id, times] of ran) {
        const { attempts, failed: interrupted } = made.get(id) ?? { attempts: 0, failed: 0 }
        failed += interrupted
        assert.ok(times <= attempts, `${id} ran ${times} times, and was sent ${attempts} times`)
        if (id.startsWith("Report ")) assert.equal(times, 1, id)
      }
      assert.equal(made.size, 10_000)
      // Else the network was too good to show anything.
      assert.ok(failed >= 100, `${failed} calls were interrupted on ${middle.made()} connections`)
    }),
  )
})
