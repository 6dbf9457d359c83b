/**
 * `retry`: sends calls that failed again, as gRPC's clients do.
 */
import { Duration, Effect, Exit, Pull, Schedule } from "effect"
import { type Attempt, attempt, explained, failure, pushback, type Repeatable, repeats } from "../rpc/attempt.ts"
import * as Backoff from "../rpc/backoff.ts"
import type { CallInfo } from "../rpc/call.ts"
import type { Channel, ChannelLayer } from "../rpc/channel.ts"
import * as Deadline from "../rpc/deadline.ts"
import type { RpcError } from "../rpc/error.ts"
import { type Interceptor, none, promptly } from "../rpc/interceptor.ts"
import * as Monotonic from "../rpc/monotonic.ts"
import type { Code } from "../rpc/status.ts"
import { type Throttle, type ThrottleOptions, throttle, unthrottled } from "../rpc/throttle.ts"
import { intercept } from "./intercept.ts"

export interface RetryOptions {
  /** How many attempts there are at most, the first one included. Default: 5, what gRPC allows at most. */
  readonly maxAttempts?: number
  /** How long to wait before each. Default: 100 ms, twice as long each time, 5 s at most, ±20 %. */
  readonly backoff?: Partial<Backoff.Backoff>
  /** One of Effect's schedules in place of `backoff`. It gets the errors, and no attempt comes after it has ended. */
  readonly schedule?: Schedule.Schedule<unknown, RpcError>
  /** Which errors another attempt follows. Default: `unavailable`, with which the server's program has seldom run. */
  readonly codes?: ReadonlyArray<Code>
  /** Which methods' calls. Default: those that the service's definition calls idempotent or without side effects. */
  readonly methods?: Repeatable
  /** Stops all retries while too many calls fail. Default: nothing does. */
  readonly throttle?: ThrottleOptions
  /** How many bytes of a stream's requests are kept to be sent again. Default: 256 KiB. */
  readonly maxBufferBytes?: number
}

/** What `retry` does with one method. */
export interface RetryPolicy {
  readonly maxAttempts: number
  readonly codes: ReadonlySet<Code>
  readonly schedule: Schedule.Schedule<unknown, RpcError>
}

/** What is kept of a stream's requests unless told otherwise; gRPC's own clients keep as much. */
export const defaultBufferBytes = 256 * 1024

/** How long to wait before each further attempt unless told otherwise. */
export const defaultBackoff: Backoff.Backoff = { initial: "100 millis", multiplier: 2, max: "5 seconds", jitter: 0.2 }

/**
 * A layer that makes another attempt of a call that failed with one of some codes, after a backoff that grows, until one
 * succeeds, one fails otherwise, or there were enough of them.
 *
 * - No attempt follows one that is committed: to which the server has begun to answer, or for which more requests were
 *   sent than are kept. Requests of a stream are read once, and given again to each attempt.
 * - A server may say in the trailing metadata of its error when to come again, or that it shouldn't be tried again
 *   (`grpc-retry-pushback-ms`). It learns with each further attempt how many came before (`grpc-previous-rpc-attempts`).
 * - The call's deadline holds for all attempts together: where it passes during a backoff, the call fails then, with
 *   `deadline_exceeded`.
 * - The response's metadata is that of the last attempt.
 *
 * Layers before it in the pipe see each attempt, those behind it one call: a `deadline` before it limits each attempt.
 * Tokens of `throttle` are counted for each channel that the layer is put on.
 *
 * Source: gRPC's proposal A6, client retries.
 *
 * @example
 * const channel = (yield* connect("http://127.0.0.1:8080")).pipe(retry({ maxAttempts: 3 }), deadline("5 seconds"))
 */
export const retry = (options: RetryOptions = {}): ChannelLayer => {
  const policy: RetryPolicy = {
    maxAttempts: options.maxAttempts ?? 5,
    codes: new Set(options.codes ?? ["unavailable"]),
    schedule: options.schedule ?? Backoff.schedule({ ...defaultBackoff, ...options.backoff }),
  }
  const { maxBufferBytes = defaultBufferBytes } = options
  const repeated = repeats(options.methods ?? "idempotent")
  return (channel) => {
    const tokens = options.throttle === undefined ? unthrottled : throttle(options.throttle)
    const retried = retrying(policy, tokens)
    const others = counting(tokens)
    return replaying(
      intercept(promptly((call, next) => (repeated(call.method) ? retried : others)(call, next)))(channel),
      (method) => (repeated(method) ? maxBufferBytes : 0),
    )
  }
}

/** A channel that keeps at least so many bytes of a stream's requests. */
export const replaying = (channel: Channel, bytes: Channel["replayBytes"]): Channel => ({
  ...channel,
  replayBytes: (method) => Math.max(channel.replayBytes(method), bytes(method)),
})

const once: RetryPolicy = { maxAttempts: 1, codes: new Set(), schedule: Schedule.recurs(0) }

/** Around calls that are sent once: they count for the throttle all the same. */
export const counting = (tokens: Throttle): Interceptor => (tokens === unthrottled ? none : retrying(once, tokens))

/** What `retry` puts around a call. */
export const retrying =
  (policy: RetryPolicy, tokens: Throttle): Interceptor =>
  (call, next) =>
    Effect.suspend(() => {
      const first = attempt(call, 0)
      // `exit` and `flatMap` make no function of their own, and a call that succeeds at once needs no more.
      return Effect.flatMap(Effect.exit(next(first)), (exit) => {
        if (Exit.isFailure(exit)) return goOn(policy, tokens, call, next, first, exit)
        tokens.succeeded()
        first.response.show()
        return exit
      })
    })

const goOn = Effect.fnUntraced(function* <A, R>(
  { maxAttempts, codes, schedule }: RetryPolicy,
  tokens: Throttle,
  call: CallInfo,
  next: (call: CallInfo) => Effect.Effect<A, RpcError, R>,
  first: Attempt,
  failed: Exit.Exit<A, RpcError>,
): Effect.fn.Return<A, RpcError, R> {
  let last = first
  let exit = failed
  // Begun anew after each pushback.
  let step: Effect.Success<ReturnType<typeof Schedule.toStep<unknown, RpcError, never, never>>> | undefined
  for (let attempts = 1; ; attempts++) {
    const error = failure(exit)
    if (error === undefined) break
    const wanted = pushback(error)
    const retryable = codes.has(error.code)
    if (retryable || wanted === "never") tokens.failed()
    if (!retryable || wanted === "never") break
    if (last.response.committed || attempts >= maxAttempts || !tokens.allows()) break
    call.response.met = { attempts, last: error }
    if (wanted === undefined) {
      step ??= yield* Schedule.toStep(schedule)
      const wait = yield* Pull.catchDone(step(yield* Monotonic.now, error), () => Effect.undefined)
      if (wait === undefined) break
      yield* rest(call, wait[1])
    } else {
      step = undefined
      yield* rest(call, Duration.millis(wanted))
    }
    last = attempt(call, attempts)
    exit = yield* Effect.exit(next(last))
  }
  if (Exit.isSuccess(exit)) tokens.succeeded()
  last.response.show()
  return yield* Effect.mapError(exit, (error) => explained(call, error))
})

/** Waits before the next attempt, until the call's deadline at most. */
const rest = (call: CallInfo, duration: Duration.Duration): Effect.Effect<void, RpcError> =>
  Effect.mapError(Deadline.enforce(Effect.sleep(duration), call.deadline), (error) => explained(call, error))
