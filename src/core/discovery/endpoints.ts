/**
 * The endpoints of a service, as a client keeps them.
 */
import { Effect, Stream } from "effect"
import * as Backoff from "../rpc/backoff.ts"
import type { Endpoint, Registry } from "./registry.ts"

/**
 * The endpoints of a service: all of them now, and again all after each change. While the registry can't be asked the last
 * list stands, and it is asked again after a backoff that grows: 1 s × 1.6, 120 s at most, ±20 %. The log says when it was
 * lost, and when it is back.
 *
 * A list without endpoints that the registry gives is given on, as gRPC's clients take it: a registry that comes back
 * without what it knew must be filled before clients reach anybody.
 *
 * @example
 * yield* Stream.runForEach(endpoints(registry, "pi"), (list) => Effect.log(list.length))
 */
export const endpoints = (
  registry: Registry,
  service: string,
  backoff: Backoff.Backoff = Backoff.connection,
): Stream.Stream<ReadonlyArray<Endpoint>> =>
  Stream.suspend(() => {
    let lost = false
    const of = `the endpoints of ${JSON.stringify(service)}`
    return registry.resolve(service).pipe(
      Stream.tap(() => {
        if (!lost) return Effect.void
        lost = false
        return Effect.logInfo(`the registry says again which are ${of}`)
      }),
      Stream.tapError(({ message }) => {
        if (lost) return Effect.void
        lost = true
        return Effect.logWarning(`the registry can't be asked for ${of}, the last that it told are kept: ${message}`)
      }),
      Stream.retry(Backoff.schedule(backoff)),
      // The schedule never ends.
      Stream.orDie,
    )
  })
