/**
 * A subchannel: what carries calls to one endpoint of a service.
 *
 * Sources: grpc/doc/load-balancing.md, grpc/doc/connectivity-semantics-and-api.md.
 */
import { type Clock, Duration, Effect, Exit, type Fiber, Scope, Stream } from "effect"
import type { Endpoint } from "../discovery/registry.ts"
import type { Connector } from "../rpc/channel.ts"
import { always, type State } from "../rpc/connectivity.ts"
import { RpcError } from "../rpc/error.ts"
import * as Monotonic from "../rpc/monotonic.ts"
import { escaped, quoted, withoutUser } from "../rpc/printable.ts"

/** What all subchannels of a service share. */
export interface Surroundings {
  /** The service's name, for messages. */
  readonly service: string
  readonly clock: Clock.Clock
  readonly run: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly open: (endpoint: Endpoint) => Effect.Effect<Connector, { readonly message: string }, Scope.Scope>
  /** How long calls may go on at an endpoint that is no longer listed, in milliseconds. */
  readonly grace: number
  /** A connection was lost, or can't be had. */
  readonly lost: Effect.Effect<void>
  /** A subchannel stands otherwise than before. */
  readonly changed: () => void
}

// A connection that was lost sooner than this after it was there is not tried again before this, in milliseconds: a server
// that takes connections and closes them again would be asked as fast as it can do that.
const shortest = 1_000

// After this many milliseconds another endpoint is tried beside one that doesn't answer (RFC 8305, section 5; gRPC's A61).
const attemptDelay = 250

export class Subchannel {
  readonly address: string
  /** Refuses until it is open. */
  connector: Connector
  state: State = "connecting"
  /** Whether a try to connect has failed and none has succeeded since. */
  failed = false
  /** Whether a try to connect has lasted so long that another endpoint is better tried beside it. */
  slow = false
  /** When the last try failed, in milliseconds. */
  failedAt = 0
  /** How many calls run. */
  active = 0
  private readonly endpoint: Endpoint
  private readonly surroundings: Surroundings
  private readonly scope: Scope.Closeable
  private left = false
  private readyAt = Number.NEGATIVE_INFINITY
  private resting = false
  private tries = 0

  constructor(endpoint: Endpoint, surroundings: Surroundings, parent: Scope.Scope) {
    this.address = endpoint.address
    this.endpoint = endpoint
    this.surroundings = surroundings
    this.scope = Scope.forkUnsafe(parent)
    this.connector = refusing(`${this.address} is being opened`)
  }

  /** Opens it, and follows where it stands until it is closed. */
  open(): void {
    this.fork(this.life)
  }

  /** Connects, if there is no connection and none is tried. */
  connect(): void {
    if (this.state !== "idle" || this.resting) return
    const now = Monotonic.nowUnsafe(this.surroundings.clock)
    const rest = this.readyAt + shortest - now
    if (rest <= 0) return this.fork(this.connector.connectivity.connect)
    this.resting = true
    this.fork(
      Effect.map(Effect.sleep(Duration.millis(rest)), () => {
        this.resting = false
        // Who wants it connected says so again.
        this.surroundings.changed()
      }),
    )
  }

  /** Forgets that it failed, if it may be tried again. */
  forgive(): void {
    if (this.state === "idle") this.failed = false
  }

  /** A call begins. */
  begin(): void {
    this.active += 1
  }

  /** A call has ended. */
  end(): void {
    this.active -= 1
    if (this.left && this.active === 0) this.close()
  }

  /** Looks where it stands, sooner than it tells. */
  get look(): Effect.Effect<void> {
    return Effect.map(this.connector.connectivity.state, (state) => this.set(state))
  }

  /** Closes when its calls have ended: its endpoint is no longer listed. */
  leave(): void {
    this.left = true
    if (this.active === 0) return this.close()
    this.fork(Effect.map(Effect.sleep(Duration.millis(this.surroundings.grace)), () => this.close()))
  }

  private close(): void {
    this.surroundings.run(Scope.close(this.scope, Exit.void))
  }

  private fork(effect: Effect.Effect<void>): void {
    this.surroundings.run(Effect.asVoid(Effect.forkIn(effect, this.scope, { startImmediately: true })))
  }

  private get life(): Effect.Effect<void> {
    const { open, service } = this.surroundings
    return Effect.matchEffect(Scope.provide(open(this.endpoint), this.scope), {
      onSuccess: (connector) => {
        this.connector = connector
        const watch = Stream.runForEach(connector.connectivity.changes, (state) => Effect.sync(() => this.set(state)))
        return Effect.andThen(this.look, watch)
      },
      onFailure: ({ message }) => {
        const what = `no call can be sent to the endpoint ${quoted(withoutUser(this.address))} of ${quoted(service)}`
        this.connector = refusing(`${what}: ${message}`)
        this.set("transient_failure")
        return Effect.logWarning(`${what}, which is left out: ${escaped(message)}`)
      },
    })
  }

  private watchTry(): void {
    const began = ++this.tries
    this.fork(
      Effect.map(Effect.sleep(Duration.millis(attemptDelay)), () => {
        if (began !== this.tries || this.state !== "connecting") return
        this.slow = true
        this.surroundings.changed()
      }),
    )
  }

  private set(state: State): void {
    if (state === this.state) return
    if (state === "transient_failure" || (this.state === "ready" && state !== "shutdown")) {
      this.surroundings.run(this.surroundings.lost)
    }
    this.state = state
    this.slow = false
    if (state === "connecting") this.watchTry()
    const now = Monotonic.nowUnsafe(this.surroundings.clock)
    if (state === "ready") {
      this.failed = false
      this.readyAt = now
    } else if (state === "transient_failure") {
      this.failed = true
      this.failedAt = now
    }
    this.surroundings.changed()
  }
}

const refusing = (message: string): Connector => {
  const refused = Effect.suspend(() => Effect.fail(new RpcError({ code: "unavailable", message })))
  return {
    unary: () => refused,
    stream: () => Stream.fromEffect(refused),
    connectivity: always("transient_failure"),
  }
}
