/**
 * Services that are served together have names of their own, by which their calls are told apart.
 */
import type { DescService } from "@bufbuild/protobuf"
import { Effect } from "effect"
import type { Service } from "../core/rpc/service.ts"

/** Dies where two services have the same name: a mistake in the code, of which one of them would never hear. */
export const distinct = (services: ReadonlyArray<Service<DescService, unknown>>): Effect.Effect<void> => {
  const seen = new Set<string>()
  for (const { descriptor } of services) {
    const name = descriptor.typeName
    if (seen.has(name)) {
      return Effect.die(
        new Error(`two services are called ${name}: make one of them, or serve each on a port of its own`),
      )
    }
    seen.add(name)
  }
  return Effect.void
}
