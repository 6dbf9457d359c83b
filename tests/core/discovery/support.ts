/**
 * What the tests of discovery share: watching a registry.
 */
import { Effect, Stream } from "effect"
import type { Registry } from "../../../src/core/discovery/registry.ts"
import { settle } from "../support.ts"

export const service = "pi"

/** Watches a service; gives the addresses of each answer so far. */
export const watching = Effect.fnUntraced(function* (registry: Registry, name = service) {
  const seen: Array<ReadonlyArray<string>> = []
  const fiber = yield* Effect.forkScoped(
    Stream.runForEach(registry.resolve(name), (endpoints) =>
      Effect.sync(() => void seen.push(endpoints.map(({ address }) => address))),
    ),
  )
  yield* settle
  return { seen, fiber }
})

/** The addresses that are in now. */
export const present = (registry: Registry, name = service) =>
  Effect.map(Stream.runHead(registry.resolve(name)), (head) =>
    head._tag === "None" ? [] : head.value.map(({ address }) => address),
  )
