/**
 * What a registry is asked to do: by endpoints that register and renew as the core's `registered` does, by restarts, and by
 * its own return after an outage.
 */
import { Duration, Effect, Exit, Logger, Scope } from "effect"
import { registered } from "../../../src/core/discovery/registered.ts"
import type { Registry } from "../../../src/core/discovery/registry.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { address } from "./population.ts"
import { VirtualTime } from "./virtualTime.ts"

export interface RegistryLoad {
  readonly endpoints: number
  /** Seconds of a lease. */
  readonly ttl: number
  /** All endpoints come within so many seconds. */
  readonly arrival: number
  /** From then to then, so many endpoints a second leave, and come back some seconds later. */
  readonly restarts: { readonly from: number; readonly to: number; readonly perSecond: number; readonly away: number }
  /** From then to then the registry refuses all that it is asked. */
  readonly outage: { readonly from: number; readonly to: number }
  readonly seconds: number
}

/** What the registry was asked in a tenth of a second. */
export interface Tenth {
  renewals: number
  /** A lease and a key for each. */
  registrations: number
  deregistrations: number
  /** Asked in vain, of whatever kind. */
  refused: number
}

const tenth = 100

/** Counts what it is asked. */
class Counting implements Registry {
  readonly tenths: Array<Tenth> = []
  private away = false
  private readonly time: VirtualTime

  constructor(time: VirtualTime, outage: RegistryLoad["outage"]) {
    this.time = time
    time.at(outage.from * 1000, () => {
      this.away = true
    })
    time.at(outage.to * 1000, () => {
      this.away = false
    })
  }

  register() {
    return Effect.as(this.asked("registrations"), {
      renew: this.asked("renewals"),
      deregister: this.asked("deregistrations"),
    })
  }

  resolve(): never {
    throw new Error("nobody watches here")
  }

  private asked(what: Exclude<keyof Tenth, "refused">): Effect.Effect<void, RpcError> {
    return Effect.suspend(() => {
      const at = Math.floor(this.time.now / tenth)
      while (this.tenths.length <= at)
        this.tenths.push({ renewals: 0, registrations: 0, deregistrations: 0, refused: 0 })
      const counts = this.tenths[at] as Tenth // Made above.
      counts[this.away ? "refused" : what] += 1
      return this.away
        ? Effect.fail(new RpcError({ code: "unavailable", message: "the registry is away" }))
        : Effect.void
    })
  }
}

/** What the registry is asked in each tenth of a second. */
export const registryLoad = (load: RegistryLoad, seed: string): ReadonlyArray<Tenth> => {
  const time = new VirtualTime()
  const registry = new Counting(time, load.outage)
  const scopes: Array<Scope.Closeable> = []
  const quiet = Logger.layer([])
  const start = (i: number) => {
    const scope = Scope.makeUnsafe()
    scopes[i] = scope
    const kept = registered(registry, "service", { address: address(i) }, { ttl: Duration.seconds(load.ttl) })
    time.fork(kept.pipe(Scope.provide(scope), Effect.provide(quiet)), `${seed} ${i} ${time.now}`)
  }
  for (let i = 0; i < load.endpoints; i++) time.at((i / load.endpoints) * load.arrival * 1000, () => start(i))
  const { from, to, perSecond, away } = load.restarts
  const restarts = Math.floor((to - from) * perSecond)
  for (let i = 0; i < restarts; i++) {
    const at = (from + i / perSecond) * 1000
    time.at(at, () => {
      const scope = scopes[i % load.endpoints]
      if (scope !== undefined) time.fork(Scope.close(scope, Exit.void), `${seed} end ${i}`)
    })
    time.at(at + away * 1000, () => start(i % load.endpoints))
  }
  time.until(load.seconds * 1000)
  return registry.tenths
}
