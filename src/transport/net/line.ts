/**
 * A line: what a channel's calls go through to a server. It connects when there is a call, again after a connection was
 * lost, and once more past the server's limit of streams.
 *
 * Sources: grpc/doc/connectivity-semantics-and-api.md, grpc/doc/connection-backoff.md, grpc/doc/wait-for-ready.md.
 */
import { Duration, Effect, Fiber, Result, type Scope } from "effect"
import * as Backoff from "../../core/rpc/backoff.ts"
import * as Connectivity from "../../core/rpc/connectivity.ts"
import { RpcError } from "../../core/rpc/error.ts"
import * as Monotonic from "../../core/rpc/monotonic.ts"
import type { Caller, Carrier, Opener } from "../http2/client.ts"
import { sizeOfAll } from "../http2/hpack.ts"

/** A connection of a line. */
export interface LineSession extends Carrier {
  /** A stream begins. */
  readonly use: () => void
  /** Ends what runs, for a reason, and closes the connection. */
  readonly end: (reason: RpcError) => void
}

/** What a connection tells its line. */
export interface LineSide<S> {
  /** There may be room for one more stream. */
  readonly room: () => void
  /** It takes no more streams, or is about to end. */
  readonly left: (session: S) => void
  /** It is closed. */
  readonly closed: (session: S) => void
}

export interface LineOptions<T, S> {
  /** Where the server is, or several of the same: the first that can be reached is taken. */
  readonly targets: ReadonlyArray<T>
  /** Connects to one of them. */
  readonly dial: (target: T, side: LineSide<S>) => Effect.Effect<S, RpcError>
  /** How long to wait between tries, from the beginning of one to that of the next. */
  readonly backoff: Backoff.Backoff
  /** How many connections may take streams at once. Calls past all their streams wait for one to end. */
  readonly maxConnections: number
}

type Run = (effect: Effect.Effect<void>) => Fiber.Fiber<void>

/** A line whose connections end with its scope. Nothing happens before the first call. */
export const make = Effect.fnUntraced(function* <T, S extends LineSession>(
  options: LineOptions<T, S>,
): Effect.fn.Return<Line<T, S>, never, Scope.Scope> {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  return yield* Effect.acquireRelease(
    Effect.sync(() => new Line(options, run)),
    (line) => line.close,
  )
})

export class Line<T, S extends LineSession> implements Opener {
  readonly connectivity = new Connectivity.Moving(() => this.connectUnasked())
  private readonly options: LineOptions<T, S>
  private readonly run: Run
  private readonly side: LineSide<S>
  // Those that take streams, in the order in which they are asked; and those too whose last streams still run.
  private readonly taking: Array<S> = []
  private readonly sessions = new Set<S>()
  // In the order in which they came. Each is a call that waits, so those who call bound them.
  private readonly waiting = new Set<Caller>()
  // Whether there should be a connection although nobody waits for one.
  private wanted = false
  private connecting: Fiber.Fiber<void> | undefined
  // What waits for the next try while other connections serve.
  private resting: Fiber.Fiber<void> | undefined
  // Tries that have failed in a row, and why the last one did while the next one has to wait.
  private failures = 0
  private failure: RpcError | undefined

  constructor(options: LineOptions<T, S>, run: Run) {
    this.options = options
    this.run = run
    this.side = {
      room: () => this.serve(),
      left: (session) => this.left(session),
      closed: (session) => this.sessions.delete(session),
    }
  }

  open(caller: Caller): void {
    if (this.connectivity.current === "shutdown") return caller.unopened(closed())
    // Who waits already comes first.
    if (this.waiting.size === 0 && this.place(caller)) return
    if (this.failure !== undefined && !caller.waitForReady) return caller.unopened(this.failure)
    this.waiting.add(caller)
    this.connect()
  }

  forget(caller: Caller): void {
    this.waiting.delete(caller)
  }

  /** Ends all that runs and waits. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.connectivity.set("shutdown")
      for (const caller of this.waiting) caller.unopened(closed())
      this.waiting.clear()
      for (const session of [...this.sessions]) session.end(closed())
      const { connecting } = this
      return connecting === undefined ? Effect.void : Effect.asVoid(Fiber.interrupt(connecting))
    })
  }

  get trouble(): string {
    if (this.taking.length === 0) return this.connectivity.trouble ?? "no connection to the server is there yet"
    return "the server takes no more streams now, on any connection that there may be"
  }

  private connectUnasked(): void {
    if (this.connectivity.current !== "idle") return
    this.wanted = true
    this.connect()
  }

  /** Gives a caller a stream, if there is one to be had now. */
  private place(caller: Caller): boolean {
    for (const session of this.taking) {
      const { connection } = session
      const fields = caller.fields(session.origin)
      if (sizeOfAll(fields) > connection.maxHeaderListSize) {
        caller.unopened(tooLarge(connection.maxHeaderListSize))
        return true
      }
      const stream = connection.open(fields, caller)
      if (stream === undefined) continue
      session.use()
      caller.opened(session, stream)
      return true
    }
    return false
  }

  /** Gives streams to those who wait, as far as there are any. */
  private serve(): void {
    for (const caller of this.waiting) {
      if (!this.place(caller)) break
      this.waiting.delete(caller)
    }
    if (this.waiting.size > 0) this.connect()
  }

  private left(session: S): void {
    const at = this.taking.indexOf(session)
    if (at < 0) return
    this.taking.splice(at, 1)
    if (this.taking.length === 0) {
      // What waits before it tries for one more connection must not wait now that there is none.
      this.resting?.interruptUnsafe()
      this.connectivity.set(this.connecting === undefined ? "idle" : "connecting")
    }
    // There may be those who wait for a connection more than there might be before.
    this.connect()
  }

  /**
   * True if those who wait need one more connection: there is none, or none of them takes a further stream. A server that
   * takes none at all would take none on another connection either.
   */
  private get lacking(): boolean {
    if (this.wanted && this.taking.length === 0) return true
    return (
      this.waiting.size > 0 &&
      this.taking.length < this.options.maxConnections &&
      this.taking.every(({ connection }) => connection.full && connection.openStreams > 0)
    )
  }

  private connect(): void {
    if (this.connecting !== undefined || !this.lacking) return
    // Behind what this turn has still to do, since a fiber begins at once.
    this.connecting = this.run(Effect.andThen(Effect.yieldNow, this.connections))
  }

  /** Connects until nobody needs it any more. */
  private get connections(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      while (this.lacking) {
        const began = yield* Monotonic.now
        if (this.taking.length === 0) this.connectivity.set("connecting")
        const dialled = yield* Effect.result(this.dialAny)
        if (Result.isSuccess(dialled)) {
          this.ready(dialled.success)
          continue
        }
        // Once is enough where nobody waits: who wants more asks again when the channel is idle.
        this.wanted = false
        // One that is there serves those who wait, sooner or later.
        const served = this.taking.length > 0
        if (!served) this.fail(dialled.failure)
        const delay = yield* Backoff.delay(this.options.backoff, this.failures++)
        const now = yield* Monotonic.now
        const rest = Effect.sleep(Math.max(0, began + Duration.toMillis(delay) - now))
        if (served) {
          this.resting = yield* Effect.forkChild(rest)
          yield* Fiber.await(this.resting)
          this.resting = undefined
        } else yield* rest
        this.failure = undefined
        if (this.taking.length === 0) this.connectivity.set("idle")
      }
      this.connecting = undefined
    })
  }

  /** Connects to the first target that can be reached. */
  private get dialAny(): Effect.Effect<S, RpcError> {
    const { targets, dial } = this.options
    const connected = (session: S) =>
      // A server that goes away as soon as it is there is as good as none: it must not be tried again without a rest.
      session.leaving ? Effect.fail(session.lost ?? gone()) : Effect.succeed(session)
    return Effect.firstSuccessOf(targets.map((target) => Effect.flatMap(dial(target, this.side), connected)))
  }

  private ready(session: S): void {
    this.failures = 0
    this.connectivity.trouble = undefined
    this.wanted = false
    this.sessions.add(session)
    this.taking.push(session)
    this.connectivity.set("ready")
    this.serve()
  }

  /** Fails those who don't wait for a server that can't be reached. */
  private fail(error: RpcError): void {
    this.failure = error
    this.connectivity.trouble = error.message
    this.connectivity.set("transient_failure")
    for (const caller of this.waiting) {
      if (caller.waitForReady) continue
      this.waiting.delete(caller)
      caller.unopened(error)
    }
  }
}

/** The error of a call that the server wouldn't take. */
const tooLarge = (max: number): RpcError =>
  new RpcError({
    code: "resource_exhausted",
    message: `the call's metadata is too large: with the other headers it is over the ${max} bytes that the server takes`,
  })

/** The error of a connection that takes no streams from the beginning. */
const gone = (): RpcError =>
  new RpcError({ code: "unavailable", message: "the server goes away: it takes no calls on a new connection" })

/** The error of calls whose channel was closed. */
const closed = (): RpcError => new RpcError({ code: "cancelled", message: "the channel is closed" })
