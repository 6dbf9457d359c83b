/**
 * Watching a service in a registry.
 */
import { Effect, Fiber, Queue, Schedule, Stream } from "effect"
import type { Endpoint, Registry } from "../../../src/core/discovery/registry.ts"
import type { RpcError } from "../../../src/core/rpc/error.ts"

export const addresses = (endpoints: ReadonlyArray<Endpoint>): ReadonlyArray<string> =>
  endpoints.map(({ address }) => address).sort()

/** What is resolved from now on: `until` takes lists until one is of these addresses, and gives all that it took. Lists are sorted. */
export const watching = Effect.fnUntraced(function* (registry: Registry, service: string) {
  const lists = yield* Queue.unbounded<ReadonlyArray<string>, RpcError>()
  const failed = yield* Effect.forkScoped(
    Stream.runForEach(registry.resolve(service), (list) => Queue.offer(lists, addresses(list))).pipe(
      Effect.flip,
      Effect.tap((error) => Queue.fail(lists, error)),
    ),
  )
  const until = Effect.fnUntraced(function* (...wanted: ReadonlyArray<string>) {
    const taken: Array<ReadonlyArray<string>> = []
    for (;;) {
      const list = yield* Queue.take(lists)
      taken.push(list)
      if (list.join() === [...wanted].sort().join()) return taken
    }
  })
  return { until, failed: Fiber.join(failed) }
})

/** A registry whose watches are begun again when they fail, as the port allows. */
export const lasting = (registry: Registry): Registry => ({
  register: (...args) => registry.register(...args),
  resolve: (service) => Stream.retry(registry.resolve(service), Schedule.spaced("50 millis")),
})
