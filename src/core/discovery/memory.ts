/**
 * A registry in memory: for tests, and for servers and clients of one process.
 */
import { Clock, Deferred, Duration, Effect, Stream } from "effect"
import { RpcError } from "../rpc/error.ts"
import * as Monotonic from "../rpc/monotonic.ts"
import type { Endpoint, Registry } from "./registry.ts"

export interface MemoryRegistryOptions {
  /** How many endpoints there may be, those of all services together. Default: 10,000. */
  readonly maxEndpoints?: number
}

/**
 * An empty registry. Leases end by Effect's `Clock`, by the time that passes: setting the wall clock ends none and prolongs
 * none. Nothing runs for them while nobody watches; who watches a service sleeps until the next of its leases ends.
 *
 * `register` fails with `resource_exhausted` while there are as many endpoints as there may be.
 *
 * @example
 * const registry = yield* memoryRegistry()
 * yield* registry.register("pi", { address: "127.0.0.1:8080" }, Duration.seconds(5))
 */
export const memoryRegistry = ({ maxEndpoints = 10_000 }: MemoryRegistryOptions = {}): Effect.Effect<Registry> =>
  Clock.clockWith((clock) => Effect.sync(() => new Memory(clock, maxEndpoints)))

/** One for each registration: who puts an endpoint in anew has another one, and the one before it ends. */
interface Lease {
  readonly endpoint: Endpoint
  readonly millis: number
  endsAt: number
}

/** What there is of a service that has endpoints or is watched. */
interface Entry {
  readonly leases: Map<string, Lease>
  /** Counts the changes of which endpoints there are. */
  version: number
  watchers: number
  /** Is done when the version has changed, or a lease may end before all others. */
  disturbed: Deferred.Deferred<void>
}

class Memory implements Registry {
  private readonly clock: Clock.Clock
  private readonly maxEndpoints: number
  private readonly entries = new Map<string, Entry>()
  private endpoints = 0

  constructor(clock: Clock.Clock, maxEndpoints: number) {
    this.clock = clock
    this.maxEndpoints = maxEndpoints
  }

  // Properties, so that they can be taken out of their registry as those of any other.
  readonly register: Registry["register"] = (service, endpoint, ttl) =>
    Effect.suspend(() => {
      const { address } = endpoint
      // Who is in already needs no more room.
      if (this.entries.get(service)?.leases.has(address) !== true && !this.hasRoom()) return Effect.fail(this.full())
      const entry = this.entry(service)
      const millis = Duration.toMillis(ttl)
      const lease: Lease = { endpoint, millis, endsAt: this.now() + millis }
      if (!entry.leases.has(address)) {
        this.endpoints++
        entry.version++
      }
      entry.leases.set(address, lease)
      disturb(entry)
      return Effect.succeed({ renew: this.renew(service, lease), deregister: this.deregister(service, lease) })
    })

  readonly resolve: Registry["resolve"] = (service) => {
    const watching = Effect.acquireRelease(
      Effect.sync(() => {
        const entry = this.entry(service)
        entry.watchers++
        return entry
      }),
      (entry) =>
        Effect.sync(() => {
          entry.watchers--
          this.tidy(service, entry)
        }),
    )
    return Stream.unwrap(
      Effect.map(watching, (entry) => {
        let seen = -1
        const next: Effect.Effect<ReadonlyArray<Endpoint>> = Effect.suspend(() => {
          const nextEnd = this.expire(entry)
          if (entry.version === seen) return Effect.andThen(this.quiet(entry, nextEnd), next)
          seen = entry.version
          return Effect.succeed(Array.from(entry.leases.values(), ({ endpoint }) => endpoint))
        })
        return Stream.fromEffectRepeat(next)
      }),
    )
  }

  private renew(service: string, lease: Lease): Effect.Effect<void, RpcError> {
    return Effect.suspend(() => {
      const now = this.now()
      const { address } = lease.endpoint
      if (lease.endsAt <= now || this.entries.get(service)?.leases.get(address) !== lease)
        return Effect.fail(new RpcError({ code: "not_found", message: `the lease of ${address} has ended` }))
      // Whoever waits for its end learns then that it is later.
      lease.endsAt = now + lease.millis
      return Effect.void
    })
  }

  private deregister(service: string, lease: Lease): Effect.Effect<void> {
    return Effect.sync(() => {
      const entry = this.entries.get(service)
      if (entry?.leases.get(lease.endpoint.address) !== lease) return
      this.remove(entry, lease)
      this.tidy(service, entry)
    })
  }

  private now(): number {
    return Monotonic.nowUnsafe(this.clock)
  }

  private entry(service: string): Entry {
    const known = this.entries.get(service)
    if (known !== undefined) return known
    const entry: Entry = { leases: new Map(), version: 0, watchers: 0, disturbed: Deferred.makeUnsafe() }
    this.entries.set(service, entry)
    return entry
  }

  private tidy(service: string, entry: Entry): void {
    if (entry.watchers === 0 && entry.leases.size === 0) this.entries.delete(service)
  }

  private hasRoom(): boolean {
    if (this.endpoints < this.maxEndpoints) return true
    for (const [service, entry] of this.entries) {
      this.expire(entry)
      this.tidy(service, entry)
    }
    return this.endpoints < this.maxEndpoints
  }

  private full(): RpcError {
    return new RpcError({
      code: "resource_exhausted",
      message: `the registry has ${this.maxEndpoints} endpoints, and takes no more: make it with more maxEndpoints`,
    })
  }

  private remove(entry: Entry, { endpoint }: Lease): void {
    entry.leases.delete(endpoint.address)
    this.endpoints--
    entry.version++
    disturb(entry)
  }

  /** Takes out whose lease has ended; gives when the next one ends. */
  private expire(entry: Entry): number {
    const now = this.now()
    let next = Number.POSITIVE_INFINITY
    for (const lease of entry.leases.values()) {
      if (lease.endsAt <= now) this.remove(entry, lease)
      else next = Math.min(next, lease.endsAt)
    }
    return next
  }

  /** Waits until something may have changed. */
  private quiet(entry: Entry, until: number): Effect.Effect<void> {
    const disturbed = Deferred.await(entry.disturbed)
    if (until === Number.POSITIVE_INFINITY) return disturbed
    return Effect.raceFirst(disturbed, this.clock.sleep(Duration.millis(Math.ceil(until - this.now()))))
  }
}

const disturb = (entry: Entry): void => {
  const { disturbed } = entry
  entry.disturbed = Deferred.makeUnsafe()
  Deferred.doneUnsafe(disturbed, Effect.void)
}
