/**
 * `deadline`: limits how long calls may run.
 */
import { Clock, Context, Duration, Effect } from "effect"
import type { CallInfo } from "../rpc/call.ts"
import * as Deadline from "../rpc/deadline.ts"
import type { RpcError } from "../rpc/error.ts"
import { isPrompt, promptly } from "../rpc/interceptor.ts"
import { type CallLayer, intercept } from "./intercept.ts"

export interface DeadlineOptions {
  /** No call runs longer than this, whatever its client asks for. */
  readonly max?: Duration.Input
  /** For calls that come without a deadline. */
  readonly default?: Duration.Input
}

/**
 * A layer that gives calls a deadline, and at the deadline interrupts them and fails with `deadline_exceeded`. A
 * duration alone means `max`. A deadline only ever comes nearer: what a caller inherited or asked for stands if it is
 * sooner.
 *
 * On a channel the deadline is also what the server is told. A stream is limited as a whole, its last message
 * included. Metadata is left alone. It commutes with every layer that doesn't take time of its own: only what stands
 * before it in the pipe is within the limit.
 *
 * @example
 * const pi = Service.make(PiCalculator, calculator).pipe(deadline({ max: "30 seconds" }))
 * const channel = connect("http://127.0.0.1:8080").pipe(deadline("5 seconds"))
 */
export const deadline = (options: DeadlineOptions | Duration.Input): CallLayer => {
  const { max, default: fallback } = isOptions(options) ? options : { max: options, default: undefined }
  const longest = millis(max)
  const usual = millis(fallback)
  return (target) => {
    // On a channel whose other layers end at the deadline by themselves, all of the call does.
    const alone = "connector" in target && isPrompt(target.around)
    const around = <A, R>(call: CallInfo, next: (call: CallInfo) => Effect.Effect<A, RpcError, R>) =>
      Effect.contextWith((context: Context.Context<R>) => {
        const now = Context.get(context, Clock.Clock).currentTimeMillisUnsafe()
        const nearest = Math.min(call.deadline ?? now + usual, now + longest)
        // A deadline that the call came with is enforced already, by who runs the call.
        if (nearest === (call.deadline ?? Number.POSITIVE_INFINITY)) return next(call)
        const limited = next({ ...call, deadline: nearest })
        return alone ? limited : Deadline.enforceIn(context, limited, nearest - now)
      })
    return intercept(promptly(around))(target)
  }
}

const millis = (duration: Duration.Input | undefined): number =>
  duration === undefined ? Number.POSITIVE_INFINITY : Duration.toMillis(duration)

// A duration given as an object has units for keys, or is a Duration. Options may have no key at all.
const isOptions = (options: DeadlineOptions | Duration.Input): options is DeadlineOptions =>
  typeof options === "object" &&
  !Duration.isDuration(options) &&
  Object.keys(options).every((key) => key === "max" || key === "default")
