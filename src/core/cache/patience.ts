/**
 * Patience: how long a store is waited for by those who can do without it.
 */
import { Cause, Clock, Context, Duration, Effect, Exit, Option } from "effect"
import * as Deadline from "../rpc/deadline.ts"
import type { RpcError } from "../rpc/error.ts"
import * as Monotonic from "../rpc/monotonic.ts"
import { escaped, printableCause } from "../rpc/printable.ts"

export interface PatienceOptions {
  /** How long a call waits for the store at most. Default: 50 milliseconds. */
  readonly patience?: Duration.Input
  /** How long the store is left alone after it has failed. Default: 1 second. */
  readonly restFor?: Duration.Input
}

type Operation<A> = () => Effect.Effect<A | undefined, RpcError>

const nothing: Exit.Exit<undefined> = Exit.succeed(undefined)

/**
 * Waits for a store no longer than it has patience, and after a failure leaves it alone for a while: then one tries it again
 * while the others go without. The log says when that begins, and when it is over.
 */
export class Patience {
  private readonly millis: number
  private readonly restMillis: number
  private failing = false
  private restsUntil = Number.NEGATIVE_INFINITY

  constructor({ patience = "50 millis", restFor = "1 second" }: PatienceOptions) {
    this.millis = Duration.toMillis(patience)
    this.restMillis = Duration.toMillis(restFor)
  }

  /** Runs an operation now. What the store doesn't say in time is `undefined`. */
  ask<A>(context: Context.Context<never>, operation: Operation<A>): Effect.Effect<A | undefined> {
    const now = Monotonic.nowUnsafe(Context.get(context, Clock.Clock))
    if (now < this.restsUntil) return nothing
    const deadline = Context.get(context, Deadline.Current) ?? Number.POSITIVE_INFINITY
    const left = Math.min(this.millis, deadline - now)
    if (left <= 0) return nothing
    if (this.failing) this.restsUntil = now + this.restMillis
    const asked = Deadline.enforceIn(
      Context.add(context, Deadline.Current, now + left),
      Effect.suspend(operation),
      left,
    )
    // Whoever has no time left doesn't know what the store could have done.
    const fair = left === this.millis
    return Effect.flatMap(Effect.exit(asked), (exit) => this.heard(exit, fair))
  }

  private heard<A>(exit: Exit.Exit<A | undefined, RpcError>, fair: boolean): Effect.Effect<A | undefined> {
    if (Exit.isSuccess(exit)) return this.failing ? this.recovered(exit.value) : Exit.succeed(exit.value)
    return fair ? Effect.andThen(this.failed(exit.cause), nothing) : nothing
  }

  private recovered<A>(value: A): Effect.Effect<A> {
    this.failing = false
    this.restsUntil = Number.NEGATIVE_INFINITY
    return Effect.as(Effect.logInfo("the store of cached answers works again"), value)
  }

  private failed(cause: Cause.Cause<RpcError>): Effect.Effect<void> {
    return Effect.clockWith((clock) => {
      this.restsUntil = Monotonic.nowUnsafe(clock) + this.restMillis
      if (this.failing) return Effect.void
      this.failing = true
      const error = Cause.findErrorOption(cause)
      const why = Option.isSome(error)
        ? [`${error.value.code}: ${escaped(error.value.message)}`]
        : ["it died", printableCause(cause)]
      return Effect.logWarning("calls go without the store of cached answers:", ...why)
    })
  }
}
