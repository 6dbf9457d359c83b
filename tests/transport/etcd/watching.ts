/**
 * Watching a service in a registry.
 */
import { Effect, Fiber, Queue, Stream } from "effect"
import type { Endpoint, Registry } from "../../../src/core/discovery/registry.ts"

export const addresses = (endpoints: ReadonlyArray<Endpoint>): ReadonlyArray<string> =>
  endpoints.map(({ address }) => address).sort()

/** What is resolved from now on: `until` takes lists until one is of these addresses, and gives all that it took. Lists are sorted. */
export const watching = Effect.fnUntraced(function* (registry: Registry, service: string) {
  const lists = yield* Queue.unbounded<ReadonlyArray<string>>()
  const failed = yield* Effect.forkScoped(
    Effect.flip(Stream.runForEach(registry.resolve(service), (list) => Queue.offer(lists, addresses(list)))),
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
