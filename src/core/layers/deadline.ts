/**
 * `deadline`: limits how long calls may run.
 */
import { Clock, Context, Duration, Effect } from "effect"
import { explained } from "../rpc/attempt.ts"
import type { CallInfo } from "../rpc/call.ts"
import * as Deadline from "../rpc/deadline.ts"
import type { RpcError } from "../rpc/error.ts"
import { isPrompt, type Layered, promptly } from "../rpc/interceptor.ts"
import * as Monotonic from "../rpc/monotonic.ts"
import type { Service } from "../rpc/service.ts"
import { type CallLayer, intercept } from "./intercept.ts"

export interface DeadlineOptions {
  /** No call runs longer than this, whatever its client asks for. */
  readonly max?: Duration.Input
  /** For calls that come without a deadline. */
  readonly default?: Duration.Input
}

/**
 * A layer that gives calls a deadline, at which they are interrupted and fail with `deadline_exceeded`. A duration alone
 * means `max`. A deadline only ever comes nearer: what a caller inherited or asked for stands if it is sooner.
 *
 * On a service it holds for whole calls, with all layers, wherever it stands in the pipe: as if each client had asked for
 * it. On a channel, where it is also what the server is told, only what stands before it in the pipe is within the limit,
 * and it commutes with every layer that doesn't take time of its own: before `retry` it limits each attempt, behind it
 * all of them. A stream is limited as a whole, its last message included. Metadata is left alone.
 *
 * @example
 * const pi = Service.make(PiCalculator, calculator).pipe(deadline({ max: "30 seconds" }))
 * const channel = connect("http://127.0.0.1:8080").pipe(deadline("5 seconds"))
 */
export const deadline = (options: DeadlineOptions | Duration.Input): CallLayer => {
  const { max, default: fallback } = isOptions(options) ? options : { max: options, default: undefined }
  const limit: Deadline.Limit = { max: millis(max), usual: millis(fallback) }
  return (target) =>
    // A service's is known before its calls begin, so that who runs them ends them, without a fiber of its own for that.
    isService(target) ? { ...target, limit: both(target.limit, limit) } : around(limit)(target)
}

const isService = (target: Layered): target is Service<unknown, unknown> => "handlers" in target

const both = (inner: Deadline.Limit, outer: Deadline.Limit): Deadline.Limit => ({
  max: Math.min(inner.max, outer.max),
  // What the outer one gives is what the inner one finds.
  usual: Number.isFinite(outer.usual) ? outer.usual : inner.usual,
})

const around =
  (limit: Deadline.Limit): CallLayer =>
  (target) => {
    // Where the channel's other layers end at the deadline by themselves, all of the call does.
    const alone = isPrompt(target.around)
    return intercept(
      promptly(<A, R>(call: CallInfo, next: (call: CallInfo) => Effect.Effect<A, RpcError, R>) =>
        Effect.contextWith((context: Context.Context<R>) => {
          const now = Monotonic.nowUnsafe(Context.get(context, Clock.Clock))
          const nearest = Deadline.limited(call.deadline, limit, now)
          // A deadline that the call came with is enforced already, by who runs the call.
          if (nearest === undefined || nearest === call.deadline) return next(call)
          const within = next({ ...call, deadline: nearest })
          if (alone) return within
          return Effect.mapError(Deadline.enforceIn(context, within, nearest - now), (error) => explained(call, error))
        }),
      ),
    )(target)
  }

const millis = (duration: Duration.Input | undefined): number =>
  duration === undefined ? Number.POSITIVE_INFINITY : Duration.toMillis(duration)

// A duration given as an object has units for keys, or is a Duration. Options may have no key at all.
const isOptions = (options: DeadlineOptions | Duration.Input): options is DeadlineOptions =>
  typeof options === "object" &&
  !Duration.isDuration(options) &&
  Object.keys(options).every((key) => key === "max" || key === "default")
