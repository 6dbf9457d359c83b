/**
 * The endpoints of a service, as a client keeps them.
 */
import { Effect, Queue, Stream } from "effect"
import * as Backoff from "../rpc/backoff.ts"
import type { RpcError } from "../rpc/error.ts"
import { escaped } from "../rpc/printable.ts"
import type { Endpoint, Registry } from "./registry.ts"

// Calls may wait for a list, and clients may call who is gone: gRPC's two minutes would be long for that.
const asking: Backoff.Backoff = { ...Backoff.connection, max: "10 seconds" }

/**
 * The endpoints of a service: all of them now, and again all after each change. While the registry can't be asked the last
 * list stands, and it is asked again after a backoff that grows: 1 s × 1.6, 10 s at most, ±20 %. As long as there has been no
 * list, why there is none is told in place of one. The log says when the registry was lost, and when it is back. Who takes
 * lists slowly misses those in between, never the last.
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
): Stream.Stream<ReadonlyArray<Endpoint> | RpcError> =>
  Stream.callback<ReadonlyArray<Endpoint> | RpcError>(
    (queue) => {
      let known = false
      let lost = false
      const of = `the endpoints of ${JSON.stringify(service)}`
      return registry.resolve(service).pipe(
        Stream.tapError((error) => {
          const told = known ? Effect.void : Queue.offer(queue, error)
          if (lost) return told
          lost = true
          const kept = known ? ", the last that it told are kept" : ""
          return Effect.andThen(
            told,
            Effect.logWarning(`the registry can't be asked for ${of}${kept}: ${escaped(error.message)}`),
          )
        }),
        // Begins its backoff anew with each list.
        Stream.retry(Backoff.schedule(backoff)),
        Stream.runForEach((list) => {
          known = true
          const told = Queue.offer(queue, list)
          if (!lost) return told
          lost = false
          return Effect.andThen(told, Effect.logInfo(`the registry says again which are ${of}`))
        }),
        // The schedule never ends.
        Effect.orDie,
        Effect.andThen(Queue.end(queue)),
      )
    },
    { bufferSize: 1, strategy: "sliding" },
  )
