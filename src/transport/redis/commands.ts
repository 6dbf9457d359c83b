/**
 * Commands: sends them, waits while they can't be sent, and knows of each whether it may have been done.
 */
import { ClientOfflineError, ErrorReply } from "@redis/client"
import { type Clock, Duration, Effect, type Fiber } from "effect"
import * as Deadline from "../../core/rpc/deadline.ts"
import { RpcError } from "../../core/rpc/error.ts"
import { type Expiring, Expiry } from "../../core/rpc/expiry.ts"
import * as Monotonic from "../../core/rpc/monotonic.ts"
import { escaped } from "../../core/rpc/printable.ts"
import { answered, faultOf, isDemoted, isScriptMissing, laterBecause, reasonOf, unknownFate } from "./error.ts"
import type { Arguments, Events, Host, Link, Node } from "./link.ts"
import type { Script } from "./scripts.ts"

export interface Command {
  /** Where it goes: to where this key is. */
  readonly key: string
  readonly args: Arguments
  /** Whether it changes anything: then it isn't sent twice. */
  readonly write: boolean
}

type Run = (effect: Effect.Effect<void>) => Fiber.Fiber<void>

// Who has no deadline waits as long as this.
const patience = 5000
// How long those who wait for Redis wait before they ask again, if nothing wakes them earlier.
const pause = 100

/** How much earlier than a deadline an answer must be there to reach who waits for it: a tenth of what is left, or so. */
const margin = (left: number): number => Math.min(100, Math.max(5, left / 10), left / 2)

export class Commands {
  readonly where: string
  readonly link: Link
  private readonly clock: Clock.Clock
  private readonly run: Run
  private readonly expiry: Expiry
  private readonly maxPending: number
  private readonly waiting = new Set<Waiting>()
  // One a watch, and who opens the store.
  private readonly listeners = new Set<(host: Host | undefined) => void>()
  private tried: { readonly failure: unknown } | undefined
  private onTried: ((failure: unknown) => void) | undefined
  private pending = 0
  private pausing = false
  private up = true
  private renewedAt = Number.NEGATIVE_INFINITY
  private closed = false
  /** Whether a connection is being given up in this very turn, and what was in its queue with it. */
  losing = false
  /** Why there is no connection, as far as it is known. */
  why = "there is no connection yet"

  constructor(where: string, link: (events: Events) => Link, clock: Clock.Clock, run: Run, maxPending: number) {
    this.where = where
    this.clock = clock
    this.run = run
    this.expiry = new Expiry(clock, run)
    this.maxPending = maxPending
    this.link = link({ ready: (host) => this.ready(host), failed: (error) => this.failed(error) })
  }

  /** Ends when there is a connection, or with what kept the first try from making one. */
  readonly firstTry: Effect.Effect<unknown> = Effect.callback((resume) => {
    if (this.tried !== undefined) return resume(Effect.succeed(this.tried.failure))
    this.onTried = (failure) => resume(Effect.succeed(failure))
    return Effect.sync(() => {
      this.onTried = undefined
    })
  })

  /** The masters. */
  nodes(): Effect.Effect<ReadonlyArray<Node>, RpcError> {
    return this.start(false, () => this.link.nodes())
  }

  /** Tells of each server that there is a connection to, and with `undefined` that one isn't a master any more, until told not to. */
  onServer(listener: (host: Host | undefined) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }

  /** Sends a command and gives what Redis answers. */
  send(command: Command): Effect.Effect<unknown, RpcError> {
    return this.start(command.write, (signal) => this.link.send(command.key, command.args, signal))
  }

  /** Sends a command that reads to one server, of which it must be this connection. */
  sendTo(node: Node, args: Arguments): Effect.Effect<unknown, RpcError> {
    return this.start(false, (signal) => node.send(args, signal))
  }

  /** Runs a script on one key, by its digest if the server knows it. */
  runScript(script: Script, key: string, args: Arguments): Effect.Effect<unknown, RpcError> {
    let known = true
    return this.start(true, (signal) =>
      this.link
        .send(
          key,
          known ? ["EVALSHA", script.digest, "1", key, ...args] : ["EVAL", script.source, "1", key, ...args],
          signal,
        )
        .catch((error: unknown) => {
          if (!known || !(error instanceof Error) || !isScriptMissing(error)) throw error
          known = false
          return this.link.send(key, ["EVAL", script.source, "1", key, ...args], signal)
        }),
    )
  }

  private start<A>(write: boolean, attempt: (signal: AbortSignal) => Promise<A>): Effect.Effect<A, RpcError> {
    return Effect.withFiber((fiber) => {
      const now = Monotonic.nowUnsafe(this.clock)
      const deadline = fiber.getRef(Deadline.Current)
      const until = deadline === undefined ? now + patience : deadline - margin(deadline - now)
      if (until <= now) return Effect.fail(this.unreachable("there is no time left"))
      if (this.pending >= this.maxPending) return Effect.fail(this.full())
      return Effect.callback<A, RpcError>((resume) => {
        const pending = new Pending(this, write, attempt, until, resume)
        this.pending += 1
        this.expiry.add(pending)
        pending.try()
        return Effect.sync(() => pending.giveUp())
      })
    })
  }

  ended(one: Waiting): void {
    this.pending -= 1
    this.waiting.delete(one)
    this.expiry.forget(one)
  }

  /** Tries one again once there is a connection, or in a while. */
  wait(one: Waiting): void {
    if (this.closed) return one.fail(this.unreachable("the store was closed"))
    this.waiting.add(one)
    if (this.pausing) return
    this.pausing = true
    const awake = () => {
      this.pausing = false
      this.wake()
    }
    this.run(Effect.map(this.clock.sleep(Duration.millis(pause)), awake))
  }

  wake(): void {
    const all = [...this.waiting]
    this.waiting.clear()
    for (const one of all) one.try()
  }

  private ready(host: Host | undefined): void {
    if (this.closed) return
    this.tell(undefined)
    if (host !== undefined) for (const listener of this.listeners) listener(host)
    this.wake()
  }

  private failed(error: unknown): void {
    if (this.closed) return
    // Callers needn't know how we log in.
    this.why = faultOf(error) === undefined ? reasonOf(error) : "it refuses the connection"
    this.tell(error)
    this.losing = true
    queueMicrotask(() => {
      this.losing = false
    })
  }

  /** Tells who opens the store how that went, and the log when it goes otherwise. */
  private tell(failure: unknown): void {
    const up = failure === undefined
    if (this.tried === undefined) {
      this.tried = { failure }
      this.onTried?.(failure)
    }
    // That is told as an error of the store, which ends with it.
    if (this.up === up || faultOf(this.tried.failure) !== undefined) return
    this.up = up
    const said = failure instanceof Error ? failure.message : ""
    const lost = Effect.logWarning(`${this.where} can't be reached: ${reasonOf(failure)}`, escaped(said))
    this.run(up ? Effect.logInfo(`${this.where} is there again`) : lost)
  }

  /** The server isn't a master any more: another may be found where it was. */
  demoted(): void {
    const now = Monotonic.nowUnsafe(this.clock)
    if (now - this.renewedAt < 1000) return
    this.renewedAt = now
    for (const listener of this.listeners) listener(undefined)
    this.link.renew()
  }

  /** The error of what hasn't been done. */
  unreachable(why = this.why, cause?: unknown): RpcError {
    return new RpcError({ code: "unavailable", message: `${this.where} can't be reached: ${why}`, cause })
  }

  full(cause?: unknown): RpcError {
    const message = `${this.where}: ${this.maxPending} commands wait for it already`
    return new RpcError({ code: "resource_exhausted", message, cause })
  }

  close(): void {
    this.closed = true
    this.link.close()
    for (const one of this.waiting) one.fail(this.unreachable("the store was closed"))
    this.expiry.close()
  }
}

/** Who waits for Redis, and is tried again. */
interface Waiting extends Expiring {
  readonly try: () => void
  readonly fail: (error: RpcError) => void
}

/**
 * One command, until it ends. It is also the signal that takes it out of the client's queue, since that tells it when it
 * leaves this queue; one of the runtime's own would not, and costs more than the rest.
 */
class Pending<A> implements Waiting, AbortSignal {
  readonly deadline: number
  private readonly commands: Commands
  private readonly write: boolean
  private readonly attempt: (signal: AbortSignal) => Promise<A>
  private resume: ((exit: Effect.Effect<A, RpcError>) => void) | undefined
  private sent = false
  private onAbort: EventListenerOrEventListenerObject | null = null
  private last: unknown
  private why: string | undefined
  aborted = false
  readonly onabort = null
  readonly reason = undefined

  constructor(
    commands: Commands,
    write: boolean,
    attempt: (signal: AbortSignal) => Promise<A>,
    deadline: number,
    resume: (exit: Effect.Effect<A, RpcError>) => void,
  ) {
    this.commands = commands
    this.write = write
    this.attempt = attempt
    this.deadline = deadline
    this.resume = resume
  }

  try(): void {
    this.sent = false
    this.attempt(this).then(
      (reply) => this.end(Effect.succeed(reply)),
      (error: unknown) => this.failed(error),
    )
  }

  expire(): void {
    if (!this.sent) this.fail(this.commands.unreachable(this.why, this.last))
    else if (this.write) this.fail(unknownFate(this.commands.where, "ran out of time", this.last))
    else this.fail(this.commands.unreachable("it doesn't answer in time", this.last))
  }

  fail(error: RpcError): void {
    this.end(Effect.fail(error))
    this.giveUp()
  }

  /** Nobody waits for it any more: if it hasn't been sent, it won't be. */
  giveUp(): void {
    this.aborted = true
    if (this.resume !== undefined) {
      this.resume = undefined
      this.commands.ended(this)
    }
    const listener = this.onAbort
    if (typeof listener === "function") listener(new Event("abort"))
  }

  private end(exit: Effect.Effect<A, RpcError>): void {
    const resume = this.resume
    if (resume === undefined) return
    this.resume = undefined
    this.commands.ended(this)
    resume(exit)
  }

  private failed(error: unknown): void {
    if (this.resume === undefined) return
    const { commands } = this
    if (error instanceof ErrorReply) {
      const why = laterBecause(error)
      if (why === undefined) return this.end(Effect.fail(answered(commands.where, error)))
      if (isDemoted(error)) commands.demoted()
      return this.waitFor(why, error)
    }
    if (error instanceof Error && error.message === "The queue is full") return this.fail(commands.full(error))
    if (this.sent && this.write) return this.fail(unknownFate(commands.where, "went away", error))
    this.waitFor(undefined, error instanceof ClientOfflineError ? this.last : error)
  }

  private waitFor(why: string | undefined, error: unknown): void {
    this.sent = false
    this.why = why
    this.last = error
    this.commands.wait(this)
  }

  // The client listens while the command is in its queue.

  addEventListener(_type: string, listener: EventListenerOrEventListenerObject | null): void {
    this.onAbort = listener
    this.sent = false
  }

  removeEventListener(): void {
    this.onAbort = null
    // It leaves the queue to be sent, unless the queue is being thrown away.
    if (!this.commands.losing) this.sent = true
  }

  dispatchEvent(): boolean {
    return false
  }

  throwIfAborted(): void {}
}
