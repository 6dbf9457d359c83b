/**
 * Retry throttling: a channel stops to send calls again while too many of them fail.
 *
 * Source: gRPC's proposal A6, "Throttling Retry Attempts and Hedged RPCs".
 */

export interface ThrottleOptions {
  /** How many tokens there are at first and at most. Each failure takes one; with half of them left or less, nothing is sent again. */
  readonly maxTokens: number
  /** What each success gives back. Decimal places beyond the third don't count. */
  readonly tokenRatio: number
}

/** The tokens of one channel. A failure is one that would be retried or hedged, or that the server wants no retry after. */
export interface Throttle {
  readonly succeeded: () => void
  readonly failed: () => void
  /** Whether a call may be sent again. */
  readonly allows: () => boolean
}

// In thousandths, which add up without rounding. What binary fractions lack in a thousandth is not a decimal place.
const thousandths = (tokens: number): number => Math.floor(tokens * 1_000 + 1e-6)

export const throttle = ({ maxTokens, tokenRatio }: ThrottleOptions): Throttle => {
  const most = thousandths(maxTokens)
  const gain = thousandths(tokenRatio)
  let tokens = most
  return {
    succeeded: () => {
      tokens = Math.min(most, tokens + gain)
    },
    failed: () => {
      tokens = Math.max(0, tokens - 1_000)
    },
    allows: () => tokens > most / 2,
  }
}

/** For a channel that isn't throttled. */
export const unthrottled: Throttle = { succeeded: () => {}, failed: () => {}, allows: () => true }
