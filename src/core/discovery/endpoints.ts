/**
 * The endpoints of a service, as a client keeps them.
 */
import { type Duration, Effect, Latch, Queue, Stream } from "effect"
import * as Backoff from "../rpc/backoff.ts"
import type { RpcError } from "../rpc/error.ts"
import { escaped } from "../rpc/printable.ts"
import type { Endpoint, Registry } from "./registry.ts"

// Calls may wait for a list, and clients may call who is gone: gRPC's two minutes would be long for that.
const asking: Backoff.Backoff = { ...Backoff.connection, max: "10 seconds" }

// How soon a registry that couldn't be asked is asked again for a client that has lost an endpoint.
const soonest = "1 second"

/**
 * The endpoints of a service: all of them now, and again all after each change. While the registry can't be asked the last
 * list stands, and it is asked again after a backoff that grows: 1 s × 1.6, 10 s at most, ±20 %. As long as there has been no
 * list, why there is none is told in place of one. The log says when the registry was lost, and when it is back. Who takes
 * lists slowly misses those in between, never the last.
 *
 * Who can't reach an endpoint says so in `lost`. The registry is then asked again, and one that couldn't be asked is asked
 * once a second at most.
 *
 * A list without endpoints that the registry gives is given on, as gRPC's clients take it: a registry that comes back
 * without what it knew must be filled before clients reach anybody.
 *
 * @example
 * yield* Stream.runForEach(endpoints(registry, "pi"), (list) =>
 *   list instanceof RpcError ? Effect.log(list.message) : Effect.log(list.length))
 */
export const endpoints = (
  registry: Registry,
  service: string,
  backoff: Backoff.Backoff = asking,
  lost: Effect.Effect<unknown> = Effect.never,
): Stream.Stream<ReadonlyArray<Endpoint> | RpcError> =>
  Stream.callback<ReadonlyArray<Endpoint> | RpcError>(
    (queue) =>
      Effect.gen(function* () {
        const of = `the endpoints of ${JSON.stringify(service)}`
        const woken = Latch.makeUnsafe()
        const refresh = registry.refresh?.(service) ?? Effect.void
        yield* Effect.forkScoped(Effect.forever(Effect.andThen(lost, Effect.andThen(woken.open, refresh))))
        let known = false
        let failures = 0
        const told = (list: ReadonlyArray<Endpoint>) => {
          const wasLost = failures > 0
          known = true
          failures = 0
          const offered = Queue.offer(queue, list)
          return wasLost ? Effect.andThen(offered, Effect.logInfo(`the registry says again which are ${of}`)) : offered
        }
        for (;;) {
          const exit = yield* Effect.result(Stream.runForEach(registry.resolve(service), told))
          if (exit._tag === "Success") return yield* Queue.end(queue)
          const error = exit.failure
          if (!known) yield* Queue.offer(queue, error)
          if (failures === 0) {
            const kept = known ? ", the last that it told are kept" : ""
            yield* Effect.logWarning(`the registry can't be asked for ${of}${kept}: ${escaped(error.message)}`)
          }
          woken.closeUnsafe()
          yield* rest(yield* Backoff.delay(backoff, failures++), woken)
        }
      }),
    { bufferSize: 1, strategy: "sliding" },
  )

/** Waits, and less long once somebody wants to know. */
const rest = (delay: Duration.Duration, woken: Latch.Latch): Effect.Effect<void> =>
  Effect.raceFirst(Effect.sleep(delay), Effect.andThen(Effect.sleep(soonest), woken.await))
