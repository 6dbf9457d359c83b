/**
 * `hedge`: sends a unary call again before the first answer has come, and takes the answer that comes first.
 */
import { type Context, Duration, Effect, Exit, Fiber, Latch } from "effect"
import { type Attempt, attempt, explained, failure, pushback, type Repeatable, repeats } from "../rpc/attempt.ts"
import type { CallInfo } from "../rpc/call.ts"
import type { ChannelLayer } from "../rpc/channel.ts"
import type { RpcError } from "../rpc/error.ts"
import type { Interceptor } from "../rpc/interceptor.ts"
import * as Monotonic from "../rpc/monotonic.ts"
import type { Code } from "../rpc/status.ts"
import { type Throttle, type ThrottleOptions, throttle, unthrottled } from "../rpc/throttle.ts"
import { intercept } from "./intercept.ts"
import { counting } from "./retry.ts"

export interface HedgeOptions {
  /** How long to wait for an answer before the next attempt is sent; 0 sends all of them at once. */
  readonly delay: Duration.Input
  /** How many attempts there are at most, the first one included. Default: 2. */
  readonly maxAttempts?: number
  /** Which errors don't end the call while another attempt may succeed. Default: `unavailable`. */
  readonly nonFatal?: ReadonlyArray<Code>
  /** Which methods' calls. Default: those that the service's definition calls idempotent or without side effects. */
  readonly methods?: Repeatable
  /** Sends no further attempts while too many calls fail. Default: nothing keeps them. */
  readonly throttle?: ThrottleOptions
}

/** What `hedge` does with one method. */
export interface HedgePolicy {
  readonly delay: Duration.Duration
  readonly maxAttempts: number
  readonly nonFatal: ReadonlySet<Code>
}

/**
 * A layer that sends a unary call again when no answer has come for a while, and again, up to so many attempts. The first
 * answer ends the call and the other attempts are interrupted; so does an error that isn't one of `nonFatal`. One that is
 * sends the next attempt at once, or when the server wants it (`grpc-retry-pushback-ms`), and is the call's if it was the
 * last. The server learns with each further attempt how many came before (`grpc-previous-rpc-attempts`), and the response's
 * metadata is that of the attempt that ended the call.
 *
 * Calls of the three other kinds pass unchanged: whole streams sent twice would cost more than they save. Layers before it
 * in the pipe see each attempt, those behind it one call. Tokens of `throttle` are counted for each channel.
 *
 * Source: gRPC's proposal A6, "Hedging Policy".
 *
 * @example
 * const channel = (yield* connect("http://127.0.0.1:8080")).pipe(hedge({ delay: "50 millis" }))
 */
export const hedge = (options: HedgeOptions): ChannelLayer => {
  const policy: HedgePolicy = {
    delay: Duration.fromInputUnsafe(options.delay),
    maxAttempts: options.maxAttempts ?? 2,
    nonFatal: new Set(options.nonFatal ?? ["unavailable"]),
  }
  const repeated = repeats(options.methods ?? "idempotent")
  return (channel) => {
    const tokens = options.throttle === undefined ? unthrottled : throttle(options.throttle)
    const hedged = hedging(policy, tokens)
    const others = counting(tokens)
    return intercept((call, next) => (repeated(call.method) ? hedged : others)(call, next))(channel)
  }
}

/** What `hedge` puts around a call. */
export const hedging =
  (policy: HedgePolicy, tokens: Throttle): Interceptor =>
  <A, R>(call: CallInfo, next: (call: CallInfo) => Effect.Effect<A, RpcError, R>) => {
    if (call.method.kind !== "unary") return counting(tokens)(call, next)
    return Effect.contextWith((context: Context.Context<R>) => {
      const running = new Set<Fiber.Fiber<A, RpcError>>()
      // On fibers of their own, since all but one are interrupted in the end.
      const run = Effect.runForkWith(context)
      const race = hedgeRace(policy, tokens, call, running, (sent) => run(next(sent)))
      return Effect.onExitPrimitive(race, () => (running.size === 0 ? undefined : Fiber.interruptAll(running)))
    })
  }

const hedgeRace = Effect.fnUntraced(function* <A>(
  { delay, maxAttempts, nonFatal }: HedgePolicy,
  tokens: Throttle,
  call: CallInfo,
  running: Set<Fiber.Fiber<A, RpcError>>,
  fork: (call: CallInfo) => Fiber.Fiber<A, RpcError>,
): Effect.fn.Return<A, RpcError> {
  const ended: Array<readonly [Attempt, Exit.Exit<A, RpcError>]> = []
  let last: (typeof ended)[number] | undefined
  const wake = Latch.makeUnsafe()
  let sent = 0
  let most = maxAttempts
  let due = Number.NEGATIVE_INFINITY
  for (;;) {
    // Closed before it is looked at what has ended, so that what ends from here on opens it.
    wake.closeUnsafe()
    const now = yield* Monotonic.now
    const [one] = ended.splice(0, 1)
    if (one !== undefined) {
      last = one
      const [{ response }, exit] = one
      const error = failure(exit)
      const wanted = error && pushback(error)
      const isFatal = error === undefined || !nonFatal.has(error.code)
      if (Exit.isSuccess(exit)) tokens.succeeded()
      else if (!isFatal || wanted === "never") tokens.failed()
      if (isFatal || response.committed) break
      call.response.met = { attempts: sent - running.size - ended.length, last: error }
      if (wanted === "never") most = sent
      due = typeof wanted === "number" ? now + wanted : now
    } else if (last !== undefined && sent >= most && running.size === 0) {
      break
    } else if (sent < most && now >= due) {
      if (sent > 0 && !tokens.allows()) {
        most = sent
        continue
      }
      const sending = attempt(call, sent++)
      const fiber = fork(sending)
      running.add(fiber)
      fiber.addObserver((exit) => {
        running.delete(fiber)
        ended.push([sending, exit])
        wake.openUnsafe()
      })
      due = now + Duration.toMillis(delay)
    } else {
      yield* sent < most ? Effect.raceFirst(wake.await, Effect.sleep(due - now)) : wake.await
    }
  }
  last[0].response.show()
  return yield* Effect.mapError(last[1], (error) => explained(call, error))
})
