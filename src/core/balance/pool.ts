/**
 * A pool: the endpoints that a service has now, and the subchannels to those of them that somebody wants.
 */
import { Clock, Effect, Exit, Random, Scope, Stream } from "effect"
import type { Endpoint } from "../discovery/registry.ts"
import { RpcError } from "../rpc/error.ts"
import { Expiry } from "../rpc/expiry.ts"
import { Subchannel, type Surroundings } from "./subchannel.ts"

/** Who spreads calls over subchannels of a pool. */
export interface Member {
  /** Which of the endpoints it wants. */
  readonly chosen: (endpoints: ReadonlyArray<Endpoint>) => ReadonlyArray<Endpoint>
  /** These are there for it; the same array if they are the same. */
  readonly listed: (subchannels: ReadonlyArray<Subchannel>) => void
  /** One of them stands otherwise than before. */
  readonly changed: () => void
  readonly closed: () => void
}

export type Run = Surroundings["run"]

export interface PoolOptions extends Pick<Surroundings, "service" | "open" | "grace" | "lost"> {
  readonly waitForReady: boolean
}

/** A pool that is told of the endpoints as a stream tells of them. All that it opened closes with its scope. */
export const make = Effect.fnUntraced(function* (
  options: PoolOptions,
  endpoints: Stream.Stream<ReadonlyArray<Endpoint> | RpcError>,
): Effect.fn.Return<Pool, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const random = yield* Random.Random
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const scope = yield* Scope.make()
  const pool = new Pool(options, clock, () => random.nextDoubleUnsafe(), run, scope)
  yield* Effect.addFinalizer(() => pool.close)
  yield* Effect.forkIn(
    Stream.runForEach(endpoints, (told) =>
      Effect.sync(() => (told instanceof RpcError ? pool.fail(told) : pool.list(told))),
    ),
    scope,
  )
  return pool
})

export class Pool {
  readonly service: string
  readonly clock: Clock.Clock
  /** Draws from 0 up to 1. */
  readonly random: () => number
  /** What tells this client from others. */
  readonly client: string
  readonly expiry: Expiry
  readonly waitForReady: boolean
  /** Whether there has been a list of endpoints. */
  known = false
  /** Why there has been none. */
  failure: RpcError | undefined
  isClosed = false
  private readonly scope: Scope.Closeable
  private readonly runFork: Run
  private readonly surroundings: Surroundings
  private endpoints: ReadonlyArray<Endpoint> = []
  private subchannels: ReadonlyMap<string, Subchannel> = new Map()
  // Each has had a call. A channel's layers are put on once, so there are as many as channels in use.
  private readonly members = new Map<Member, ReadonlyArray<Subchannel>>()

  constructor(options: PoolOptions, clock: Clock.Clock, random: () => number, run: Run, scope: Scope.Closeable) {
    this.service = options.service
    this.waitForReady = options.waitForReady
    this.clock = clock
    this.random = random
    this.client = `${random()}`
    this.runFork = run
    this.scope = scope
    this.expiry = new Expiry(clock, run)
    this.surroundings = { ...options, clock, run, changed: () => this.changed() }
  }

  /** There is no list, and this is why. */
  fail({ message, cause }: RpcError): void {
    if (this.known) return
    const what = `the endpoints of ${JSON.stringify(this.service)} can't be found`
    this.failure = new RpcError({ code: "unavailable", message: `${what}: ${message}`, cause })
    this.changed()
  }

  /** These are the endpoints from now on. */
  list(endpoints: ReadonlyArray<Endpoint>): void {
    this.known = true
    this.endpoints = [...new Map(endpoints.map((endpoint) => [endpoint.address, endpoint])).values()]
    this.refresh()
  }

  join(member: Member): void {
    this.members.set(member, [])
    this.refresh()
  }

  /** Runs an effect until it ends or the pool closes. */
  fork(effect: Effect.Effect<void>): void {
    this.runFork(Effect.asVoid(Effect.forkIn(effect, this.scope, { startImmediately: true })))
  }

  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.isClosed = true
      this.expiry.close()
      for (const member of this.members.keys()) member.closed()
      return Scope.close(this.scope, Exit.void)
    })
  }

  private changed(): void {
    for (const member of [...this.members.keys()]) member.changed()
  }

  /** Opens what is wanted and isn't there, and lets go of what isn't wanted any more. */
  private refresh(): void {
    if (this.isClosed) return
    const before = this.subchannels
    const now = new Map<string, Subchannel>()
    const opened: Array<Subchannel> = []
    const subchannel = (endpoint: Endpoint): Subchannel => {
      const { address } = endpoint
      let one = now.get(address) ?? before.get(address)
      if (one === undefined) {
        one = new Subchannel(endpoint, this.surroundings, this.scope)
        opened.push(one)
      }
      now.set(address, one)
      return one
    }
    for (const [member, had] of this.members) {
      const has = member.chosen(this.endpoints).map(subchannel)
      this.members.set(member, has.length === had.length && has.every((one, i) => one === had[i]) ? had : has)
    }
    this.subchannels = now
    for (const [member, has] of [...this.members]) member.listed(has)
    for (const [address, one] of before) if (!now.has(address)) one.leave()
    for (const one of opened) one.open()
  }
}
