/**
 * `circuitBreaker`: fails calls at once for a while where too many have failed.
 */
import { Clock, Context, Duration, Effect } from "effect"
import type { CallInfo } from "../rpc/call.ts"
import type { ChannelLayer } from "../rpc/channel.ts"
import { retryInfo } from "../rpc/details.ts"
import { RpcError } from "../rpc/error.ts"
import * as Monotonic from "../rpc/monotonic.ts"
import { serversFault, statusOf } from "../rpc/outcome.ts"
import type { Code, Status } from "../rpc/status.ts"
import { intercept } from "./intercept.ts"

export interface CircuitBreakerOptions {
  /** What part of the calls has to fail for the circuit to open, from 0 to 1. Default: 0.5. */
  readonly failureRatio?: number
  /** Fewer calls than this in the window don't open it, however many fail. Default: 20. */
  readonly minimumCalls?: number
  /** The time that calls are counted over. Default: 10 seconds. */
  readonly window?: Duration.Input
  /** How long an open circuit lets no call pass. Default: 5 seconds. */
  readonly openFor?: Duration.Input
  /** How many calls it lets pass then to see how they fare, all of which have to succeed. Default: 3. */
  readonly probes?: number
  /**
   * Which errors count as failures. Default: those that speak of the server or the way to it, `unavailable`,
   * `deadline_exceeded`, `resource_exhausted`, `internal`, `unknown` and `data_loss`. All others speak of the call: a
   * server that answers `not_found` is well.
   */
  readonly codes?: ReadonlyArray<Code>
}

/**
 * A layer that spares a server that is in trouble, and its callers the wait. While the circuit is closed all calls pass. It
 * opens when enough of them have failed: then each call fails at once with `unavailable`, which says when the circuit will
 * be tried again, also as a `google.rpc.RetryInfo`. After that time it is half-open: a few calls pass as probes. When all
 * of them have succeeded it closes, when one fails it opens again.
 *
 * A stream counts with its end. A call that was cancelled counts for nothing, one that its deadline ended is
 * `deadline_exceeded`. Metadata is left alone. The state is that of the channel that the layer is put on: behind `retry`
 * in the pipe it counts calls, before it attempts.
 *
 * Source: Michael Nygard's "Release It!", "Circuit Breaker".
 *
 * @example
 * const channel = (yield* connect("http://127.0.0.1:8080")).pipe(circuitBreaker({ openFor: "10 seconds" }))
 */
export const circuitBreaker =
  (options: CircuitBreakerOptions = {}): ChannelLayer =>
  (channel) => {
    const circuit = new Circuit(options)
    return intercept(<A, R>(call: CallInfo, next: (call: CallInfo) => Effect.Effect<A, RpcError, R>) =>
      Effect.contextWith((context: Context.Context<R>) => {
        const clock = Context.get(context, Clock.Clock)
        let round: number | undefined
        return Effect.onExitPrimitive(
          // Let in here, so that no interrupt and no throw comes between that and the promise to count it.
          Effect.suspend(() => {
            const now = Monotonic.nowUnsafe(clock)
            round = circuit.enter(now)
            return round === undefined ? Effect.fail(circuit.refusal(now)) : next(call)
          }),
          (exit) => {
            if (round === undefined) return undefined
            const now = Monotonic.nowUnsafe(clock)
            circuit.leave(round, statusOf(exit, call, now), now)
            return undefined
          },
        )
      }),
    )(channel)
  }

// The window moves on by a tenth of itself.
const parts = 10

interface Part {
  tick: number
  calls: number
  failures: number
}

class Circuit {
  private state: "closed" | "open" | "half_open" = "closed"
  /** Counts the changes of state. What began in an earlier round has no say in this one. */
  private round = 0
  /** Until when it is open; half-open, when probes that haven't ended are given up. */
  private until = 0
  private probing = 0
  private succeeded = 0
  private readonly counts: ReadonlyArray<Part>
  private readonly failureRatio: number
  private readonly minimumCalls: number
  private readonly partMillis: number
  private readonly openMillis: number
  private readonly probes: number
  private readonly codes: ReadonlySet<Status>

  constructor(options: CircuitBreakerOptions) {
    this.failureRatio = options.failureRatio ?? 0.5
    this.minimumCalls = options.minimumCalls ?? 20
    this.partMillis = Duration.toMillis(options.window ?? "10 seconds") / parts
    this.openMillis = Duration.toMillis(options.openFor ?? "5 seconds")
    this.probes = options.probes ?? 3
    this.codes = new Set(options.codes ?? serversFault)
    this.counts = Array.from({ length: parts }, () => ({ tick: Number.NEGATIVE_INFINITY, calls: 0, failures: 0 }))
  }

  /** The round that a call begins in; `undefined` if it may not pass. */
  enter(now: number): number | undefined {
    if (this.state === "closed") return this.round
    if (now >= this.until) this.turn("half_open", now)
    if (this.state === "open" || this.probing + this.succeeded >= this.probes) return undefined
    this.probing += 1
    return this.round
  }

  leave(round: number, status: Status, now: number): void {
    if (round !== this.round) return
    const failed = this.codes.has(status)
    if (this.state === "closed") {
      // Nothing is known of what was cancelled.
      if (status !== "cancelled") this.count(failed, now)
      return
    }
    this.probing -= 1
    if (failed) this.turn("open", now)
    else if (status !== "cancelled" && ++this.succeeded >= this.probes) this.turn("closed", now)
  }

  refusal(now: number): RpcError {
    const left = Math.max(0, Math.ceil(this.until - now))
    return new RpcError({
      code: "unavailable",
      message:
        this.state === "open"
          ? `the circuit is open, since too many calls failed: it will be tried again in ${left} ms`
          : `the circuit is half-open, and as many calls as may try it do: it will be tried again in ${left} ms at most`,
      details: [retryInfo(Duration.millis(left))],
    })
  }

  private turn(state: typeof this.state, now: number): void {
    this.state = state
    this.round += 1
    this.until = now + this.openMillis
    this.probing = 0
    this.succeeded = 0
    if (state === "closed") for (const part of this.counts) part.tick = Number.NEGATIVE_INFINITY
  }

  private count(failed: boolean, now: number): void {
    const tick = Math.floor(now / this.partMillis)
    // `parts` of them, and a remainder is less.
    const part = this.counts[tick % parts] as Part
    if (part.tick !== tick) {
      part.tick = tick
      part.calls = 0
      part.failures = 0
    }
    part.calls += 1
    if (!failed) return
    part.failures += 1
    let calls = 0
    let failures = 0
    for (const one of this.counts) {
      if (one.tick <= tick - parts) continue
      calls += one.calls
      failures += one.failures
    }
    if (calls >= this.minimumCalls && failures >= calls * this.failureRatio) this.turn("open", now)
  }
}
