/**
 * `outlierEjection`: sends no calls for a while to endpoints that fail them.
 */
import { Duration } from "effect"
import { balancing } from "../balance/balancer.ts"
import type { ChannelLayer } from "../rpc/channel.ts"
import { serversFault } from "../rpc/outcome.ts"
import type { Code } from "../rpc/status.ts"

export interface OutlierEjectionOptions {
  /** An endpoint is ejected when so many of its calls have failed one after another. Default: 5. */
  readonly consecutiveFailures?: number
  /** Or when this part of its calls has failed within an interval, from 0 to 1. Default: 0.85. */
  readonly failureRatio?: number
  /** Fewer calls than this within an interval say nothing of the ratio. Default: 50. */
  readonly minimumCalls?: number
  /** The time that calls are counted over. Default: 10 seconds. */
  readonly interval?: Duration.Input
  /** How long it is ejected the first time; twice as long the second time, and so on. Default: 30 seconds. */
  readonly baseEjection?: Duration.Input
  /** It is ejected no longer than this, or than `baseEjection` if that is more. Default: 5 minutes. */
  readonly maxEjection?: Duration.Input
  /** No further one is ejected while this part of the endpoints is, in percent; one may be in any case. Default: 10. */
  readonly maxEjectedPercent?: number
  /**
   * Which errors count as failures. Default: those that speak of the server or the way to it, `unavailable`,
   * `deadline_exceeded`, `resource_exhausted`, `internal`, `unknown` and `data_loss`.
   */
  readonly codes?: ReadonlyArray<Code>
}

/**
 * A layer that has a balanced channel, as `discover` gives one, leave out endpoints that are connected but fail their calls:
 * too many one after another, or too large a part of those of an interval. They come back after a while, which is longer
 * each time; each interval without an ejection makes it shorter again. Where all endpoints that are connected are ejected,
 * calls go to them all the same.
 *
 * A stream counts with its end. A call that was cancelled counts for nothing, and so does one that no server took. It works
 * with all policies but `pickFirst`, which has no other endpoint connected.
 *
 * On any other channel it does nothing. It has nothing to do with the order of the pipe, except that attempts of `retry` are
 * counted one by one.
 *
 * Sources: gRPC's proposal A50; Envoy, "Outlier detection".
 *
 * @example
 * const channel = (yield* discover(registry, "pi")).pipe(leastRequest(), outlierEjection(), retry())
 */
export const outlierEjection = (options: OutlierEjectionOptions = {}): ChannelLayer =>
  balancing({
    outliers: {
      consecutiveFailures: options.consecutiveFailures ?? 5,
      failureRatio: options.failureRatio ?? 0.85,
      minimumCalls: options.minimumCalls ?? 50,
      interval: Duration.toMillis(options.interval ?? "10 seconds"),
      baseEjection: Duration.toMillis(options.baseEjection ?? "30 seconds"),
      maxEjection: Duration.toMillis(options.maxEjection ?? "5 minutes"),
      maxEjectedPercent: options.maxEjectedPercent ?? 10,
      codes: new Set(options.codes ?? serversFault),
    },
  })
