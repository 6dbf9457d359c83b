/**
 * A balancer: a connector that spreads the calls of a channel over the endpoints of a service.
 *
 * Sources: grpc/doc/load-balancing.md, grpc/doc/connectivity-semantics-and-api.md, grpc/doc/wait-for-ready.md.
 */
import { Cause, Duration, Effect, type Exit, Option, type Scope, Stream } from "effect"
import type { Endpoint } from "../discovery/registry.ts"
import { failure } from "../rpc/attempt.ts"
import type { CallInfo } from "../rpc/call.ts"
import { type Channel, type ChannelLayer, type Connector, fromConnector, only } from "../rpc/channel.ts"
import { Moving, type State } from "../rpc/connectivity.ts"
import { exceeded } from "../rpc/deadline.ts"
import { RpcError } from "../rpc/error.ts"
import type { Expiring } from "../rpc/expiry.ts"
import type { Layered } from "../rpc/interceptor.ts"
import * as Monotonic from "../rpc/monotonic.ts"
import { statusOf } from "../rpc/outcome.ts"
import { isUntaken } from "../rpc/untaken.ts"
import { type OutlierConfig, Outliers } from "./outliers.ts"
import { pickFirst } from "./pickFirst.ts"
import type { Policy, PolicyOf } from "./policy.ts"
import * as Pools from "./pool.ts"
import { Subchannel } from "./subchannel.ts"
import * as Subset from "./subset.ts"

/** How a balancer spreads calls. */
export interface Balancing {
  readonly policy: PolicyOf
  readonly outliers: OutlierConfig | undefined
  readonly subset: Subset.Subset | undefined
}

export interface BalancedOptions<E extends { readonly message: string }> {
  /** The service's name, for messages. */
  readonly service: string
  /**
   * The service's endpoints, all of them again after each change, or why there are none yet. The last list counts when the
   * stream has ended.
   */
  readonly endpoints: Stream.Stream<ReadonlyArray<Endpoint> | RpcError>
  /** Opens what carries calls to one of them. Its calls must fail where their server can't be reached, not wait. */
  readonly open: (endpoint: Endpoint) => Effect.Effect<Connector, E, Scope.Scope>
  /** Whether calls wait while no endpoint can be reached, or fail with `unavailable`. Default: they fail. */
  readonly waitForReady?: boolean
  /** How long calls may go on at an endpoint that is no longer listed. Default: 30 seconds. */
  readonly grace?: Duration.Input
  /** Runs when a connection to an endpoint was lost, and when none can be had: there may be other endpoints by now. */
  readonly lost?: Effect.Effect<void>
}

/**
 * A channel to all endpoints of a service, for as long as its scope is open. Layers say how its calls are spread:
 * `roundRobin`, `leastRequest`, `ringHash`, `outlierEjection`, `subset`; without one of them it is `pickFirst`.
 *
 * - Only endpoints that are connected get calls. A call that comes while none is waits while one may still be; it fails with
 *   `unavailable` and the last reason when none could be connected to, unless it waits for the server.
 * - It waits for the first list of endpoints, and fails with `unavailable` when that, or a later one, is empty, or can't be
 *   had.
 * - A call that its endpoint hasn't taken goes to another one, whatever its method: unary calls, and those with one request
 *   and a stream of answers. Of others the requests may be gone; `retry` keeps them.
 * - An endpoint that is no longer listed gets no further calls, and is closed when those that run there have ended.
 */
export const balanced = Effect.fnUntraced(function* <E extends { readonly message: string }>({
  service,
  endpoints,
  open,
  waitForReady = false,
  grace = "30 seconds",
  lost = Effect.void,
}: BalancedOptions<E>): Effect.fn.Return<Channel, never, Scope.Scope> {
  const pool = yield* Pools.make({ service, open, waitForReady, grace: Duration.toMillis(grace), lost }, endpoints)
  return fromConnector(new Balancer(pool, { policy: pickFirst(true), outliers: undefined, subset: undefined }))
})

/** A layer that changes how a balanced channel spreads its calls, and leaves others alone. */
export const balancing =
  (change: Partial<Balancing>): ChannelLayer =>
  (channel) =>
    channel.connector instanceof Balancer ? { ...channel, connector: channel.connector.with(change) } : channel

/** A call that waits for an endpoint. */
interface Waiter extends Expiring {
  readonly waitsForReady: boolean
  readonly wake: () => void
}

const none: ReadonlyArray<Subchannel> = []

class Balancer implements Connector, Pools.Member {
  readonly connectivity = new Moving(() => this.want())
  private readonly pool: Pools.Pool
  private readonly config: Balancing
  private readonly policy: Policy
  private readonly outliers: Outliers | undefined
  private joined = false
  /** Whether calls wait until an endpoint is ready. */
  private wanted = true
  private all: ReadonlyArray<Subchannel> = none
  /** Those that calls are sent to. */
  private ready: ReadonlyArray<Subchannel> = none
  /** What calls get while none is ready; `undefined` if they wait. */
  private unready: Subchannel | RpcError | undefined
  // Each is a call, so those who call bound them.
  private readonly waiters = new Set<Waiter>()
  private updating = false
  private stale = false

  constructor(pool: Pools.Pool, config: Balancing) {
    this.pool = pool
    this.config = config
    this.policy = config.policy(pool.random)
    this.outliers =
      config.outliers &&
      new Outliers(
        config.outliers,
        pool.clock,
        (effect) => pool.fork(effect),
        () => this.changed(),
      )
  }

  /** Spreads calls over the same endpoints in another way. */
  with(change: Partial<Balancing>): Balancer {
    return new Balancer(this.pool, { ...this.config, ...change })
  }

  // ---- Calls

  unary(call: CallInfo, request: unknown, layered: Layered): Effect.Effect<unknown, RpcError> {
    return Effect.suspend(() => this.unaryTo(call, request, layered, none))
  }

  private unaryTo(
    call: CallInfo,
    request: unknown,
    layered: Layered,
    tried: ReadonlyArray<Subchannel>,
  ): Effect.Effect<unknown, RpcError> {
    let one: Subchannel | undefined
    let movable = false
    const sent = Effect.onExitPrimitive(
      // Counted in here, so that no interrupt and no throw comes between that and the promise to count it out.
      Effect.suspend(() => {
        const picked = this.pick(call, tried)
        if (!(picked instanceof Subchannel)) {
          if (picked !== undefined) return Effect.fail(picked)
          return Effect.andThen(this.wait(call), () => this.unaryTo(call, request, layered, none))
        }
        one = picked
        movable = picked.state === "ready"
        picked.begin()
        return picked.connector.unary(inner(call), request, layered)
      }),
      (exit) => {
        if (one !== undefined) this.ended(one, call, exit)
        return undefined
      },
    )
    return Effect.catchCause(sent, (cause) => {
      const failed = Effect.failCause(cause)
      if (one === undefined || !movable || !notTaken(cause)) return failed
      return this.pickAgain(one, tried, failed, (others) => this.unaryTo(call, request, layered, others))
    })
  }

  stream(
    call: CallInfo,
    requests: Stream.Stream<unknown, RpcError>,
    layered: Layered,
  ): Stream.Stream<unknown, RpcError> {
    if (call.method.kind !== "server_streaming") return this.streamTo(call, requests, layered, none)
    return Stream.unwrap(
      Effect.map(only(requests, call.method), (request) => this.streamTo(call, Stream.succeed(request), layered, none)),
    )
  }

  private streamTo(
    call: CallInfo,
    requests: Stream.Stream<unknown, RpcError>,
    layered: Layered,
    tried: ReadonlyArray<Subchannel>,
  ): Stream.Stream<unknown, RpcError> {
    return Stream.suspend(() => {
      let one: Subchannel | undefined
      let movable = call.method.kind === "server_streaming"
      const begin = (having: ReadonlyArray<Subchannel>): Effect.Effect<Subchannel, RpcError> =>
        Effect.suspend(() => {
          const picked = this.pick(call, having)
          if (picked === undefined) return Effect.andThen(this.wait(call), begin(none))
          if (!(picked instanceof Subchannel)) return Effect.fail(picked)
          one = picked
          movable &&= picked.state === "ready"
          picked.begin()
          return Effect.succeed(picked)
        })
      const sent = Stream.unwrap(
        Effect.map(begin(tried), ({ connector }) => connector.stream(inner(call), requests, layered)),
      ).pipe(
        Stream.onExit((exit) =>
          Effect.sync(() => {
            if (one !== undefined) this.ended(one, call, exit)
          }),
        ),
      )
      if (call.method.kind !== "server_streaming") return sent
      return Stream.catchCause(sent, (cause) => {
        const failed = Effect.failCause(cause)
        if (one === undefined || !movable || !notTaken(cause)) return Stream.fromEffect(failed)
        const again = (others: ReadonlyArray<Subchannel>) =>
          Effect.succeed(this.streamTo(call, requests, layered, others))
        return Stream.unwrap(this.pickAgain(one, tried, failed, again))
      })
    })
  }

  /** Goes on with a call that the endpoint it was sent to hasn't taken, though it was ready. */
  private pickAgain<A>(
    one: Subchannel,
    tried: ReadonlyArray<Subchannel>,
    failed: Effect.Effect<never, RpcError>,
    again: (tried: ReadonlyArray<Subchannel>) => Effect.Effect<A, RpcError>,
  ): Effect.Effect<A, RpcError> {
    return Effect.flatMap(one.look, () => {
      const others = [...tried, one]
      if (this.ready.some((other) => !others.includes(other))) return again(others)
      // Unless all that are ready have had the call, it is as if it came now.
      return this.ready.length === 0 ? again(none) : failed
    })
  }

  /** Where a call goes; the error that it fails with; `undefined` if it has to wait. */
  private pick(call: CallInfo, tried: ReadonlyArray<Subchannel>): Subchannel | RpcError | undefined {
    if (!this.joined) this.join()
    const { ready } = this
    if (ready.length > 0) {
      const fresh = tried.length === 0 ? ready : ready.filter((one) => !tried.includes(one))
      return this.policy.pick(call, fresh.length > 0 ? fresh : ready)
    }
    if (this.pool.isClosed) return closed()
    this.want()
    return this.ready.length > 0 ? this.pick(call, tried) : this.waitsForReady(call) ? undefined : this.unready
  }

  private ended(one: Subchannel, call: CallInfo, exit: Exit.Exit<unknown, RpcError>): void {
    one.end()
    if (this.outliers === undefined) return
    const error = failure(exit)
    // That nobody could take it is no failure of who would have run it.
    if (error !== undefined && isUntaken(error)) return
    this.outliers.ended(one, statusOf(exit, call, Monotonic.nowUnsafe(this.pool.clock)))
  }

  // ---- Calls that wait

  private waitsForReady(call: CallInfo): boolean {
    return call.waitForReady ?? this.pool.waitForReady
  }

  private wait(call: CallInfo): Effect.Effect<void, RpcError> {
    return Effect.callback((resume) => {
      // Its fiber may have had to let others run since it was told to wait.
      if (!this.hasToWait(this.waitsForReady(call))) return resume(Effect.void)
      const { expiry, clock } = this.pool
      const { deadline } = call
      if (deadline !== undefined && deadline <= Monotonic.nowUnsafe(clock)) return resume(Effect.fail(this.late()))
      const forget = () => {
        this.waiters.delete(waiter)
        expiry.forget(waiter)
      }
      const waiter: Waiter = {
        waitsForReady: this.waitsForReady(call),
        deadline: deadline ?? Number.POSITIVE_INFINITY,
        wake: () => {
          forget()
          resume(Effect.void)
        },
        expire: () => {
          forget()
          resume(Effect.fail(this.late()))
        },
      }
      this.waiters.add(waiter)
      if (deadline !== undefined) expiry.add(waiter)
      return Effect.sync(forget)
    })
  }

  /** The error of a call that waited until its deadline. */
  private late(): RpcError {
    return exceeded("the call could be sent", this.trouble)
  }

  /** Why no endpoint is ready. */
  private get trouble(): string {
    const without = this.without()
    if (without instanceof RpcError) return without.message
    const service = JSON.stringify(this.pool.service)
    if (!this.pool.known) return `the endpoints of ${service} aren't known yet`
    const last = this.lastFailed ?? this.all[0]
    const why = last?.connector.connectivity.trouble
    return why ?? `none of the ${this.all.length} endpoints of ${service} could be connected to yet`
  }

  /** Wakes those that need wait no longer. */
  private wake(): void {
    if (this.waiters.size === 0) return
    for (const waiter of [...this.waiters]) if (!this.hasToWait(waiter.waitsForReady)) waiter.wake()
  }

  private hasToWait(forReady: boolean): boolean {
    return this.ready.length === 0 && !this.pool.isClosed && (forReady || this.unready === undefined)
  }

  // ---- Endpoints

  chosen(endpoints: ReadonlyArray<Endpoint>): ReadonlyArray<Endpoint> {
    const { subset } = this.config
    return subset === undefined ? endpoints : Subset.choose(subset.size, subset.client ?? this.pool.client, endpoints)
  }

  listed(all: ReadonlyArray<Subchannel>): void {
    this.all = all
    this.outliers?.listed(all)
    this.changed()
  }

  closed(): void {
    this.ready = none
    this.connectivity.set("shutdown")
    this.wake()
  }

  /** Looks anew at where the endpoints stand. */
  changed(): void {
    // What it does may change more, which is looked at next.
    this.stale = true
    if (this.updating) return
    this.updating = true
    while (this.stale && !this.pool.isClosed) {
      this.stale = false
      this.update()
    }
    this.updating = false
    this.wake()
  }

  private join(): void {
    this.joined = true
    this.pool.join(this)
  }

  private want(): void {
    if (!this.joined) this.join()
    else if (!this.wanted) {
      this.wanted = true
      this.changed()
    }
  }

  private update(): void {
    const { all, outliers } = this
    const ready = all.filter(({ state }) => state === "ready")
    const sound = outliers === undefined ? ready : ready.filter((one) => !outliers.isEjected(one))
    // Where all that are left are outliers, they are better than nothing.
    const usable = sound.length > 0 ? sound : ready
    if (usable.length > 0) this.wanted = false
    this.ready = this.policy.update(all, usable, this.wanted)
    this.unready = this.ready.length > 0 ? undefined : this.without()
    this.connectivity.set(this.state())
  }

  /** What calls get where no endpoint is ready. */
  private without(): Subchannel | RpcError | undefined {
    if (!this.pool.known) return this.pool.failure
    if (this.all.length === 0) {
      const message = `no endpoint of ${JSON.stringify(this.pool.service)} is known: is a server of it registered?`
      return new RpcError({ code: "unavailable", message })
    }
    if (this.all.some(({ failed }) => !failed)) return undefined
    // It says why by itself. While all try again, calls wait for the first to fail.
    return this.lastFailed
  }

  /** Of those that may not be tried again yet, the one that failed last. */
  private get lastFailed(): Subchannel | undefined {
    let last: Subchannel | undefined
    for (const one of this.all) {
      if (one.state === "transient_failure" && (last === undefined || one.failedAt > last.failedAt)) last = one
    }
    return last
  }

  /** Where the whole stands. One that has failed counts as failed until it is ready, since it tries again and again. */
  private state(): State {
    const { all } = this
    if (this.ready.length > 0) return "ready"
    if (!this.pool.known) return this.pool.failure === undefined ? "connecting" : "transient_failure"
    if (all.some(({ failed, state }) => !failed && state === "connecting")) return "connecting"
    return all.some(({ failed, state }) => !failed && state !== "shutdown") ? "idle" : "transient_failure"
  }
}

/** The call as an endpoint gets it: where that can't be reached there may be others. */
const inner = (call: CallInfo): CallInfo => (call.waitForReady === true ? { ...call, waitForReady: false } : call)

const notTaken = (cause: Cause.Cause<RpcError>): boolean =>
  Option.exists(Cause.findErrorOption(cause), isUntaken) && !Cause.hasInterrupts(cause)

/** The error of calls whose channel was closed. */
const closed = (): RpcError => new RpcError({ code: "cancelled", message: "the channel is closed" })
