/**
 * What the tests of discovery share: watching a registry.
 */
import { Effect, Stream } from "effect"
import type { Registration, Registry } from "../../../src/core/discovery/registry.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
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

/**
 * How a registry is: well; it fails; it hangs; it does what it is asked, but the answer is lost; it fails as nobody should,
 * with a defect; it forgets its leases.
 */
export const faults = ["well", "fails", "hangs", "loses answers", "breaks", "forgets"] as const

export type Fault = (typeof faults)[number]

/** A registry that is whatever it is told to be, and counts what it is asked. */
export const faulty = (registry: Registry) => {
  let fault: Fault = "well"
  const asked = { register: 0, renew: 0, deregister: 0 }
  const down = new RpcError({ code: "unavailable", message: "the registry is away" })
  const suffering = <A>(name: keyof typeof asked, effect: Effect.Effect<A, RpcError>): Effect.Effect<A, RpcError> =>
    Effect.suspend(() => {
      asked[name]++
      switch (fault) {
        case "fails":
          return Effect.fail(down)
        case "hangs":
          return Effect.never
        case "loses answers":
          return Effect.andThen(effect, Effect.never)
        case "breaks":
          return Effect.die(new Error("the registry is broken"))
        default:
          return effect
      }
    })
  const made = new Set<Registration>()
  const suffered: Registry = {
    register: (name, endpoint, ttl) =>
      suffering(
        "register",
        Effect.map(registry.register(name, endpoint, ttl), (registration) => {
          made.add(registration)
          return {
            renew: suffering("renew", registration.renew),
            deregister: suffering("deregister", registration.deregister),
          }
        }),
      ),
    resolve: registry.resolve,
  }
  return {
    registry: suffered,
    asked,
    be: (next: Fault) =>
      Effect.suspend(() => {
        fault = next
        return next === "forgets"
          ? Effect.forEach(made, ({ deregister }) => deregister, { discard: true })
          : Effect.void
      }),
  }
}
