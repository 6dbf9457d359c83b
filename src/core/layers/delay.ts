/**
 * `delay`: makes calls slow, as I/O would.
 */
import { type Duration, Effect } from "effect"
import { type CallLayer, intercept } from "./intercept.ts"

/**
 * A layer that waits before each call starts: once a call, not once a message. The wait counts against the call's deadline,
 * and on a channel against those whose layer stands behind it in the pipe; an interrupt ends it. Metadata is left alone.
 *
 * @example
 * const slow = Service.make(PiCalculator, calculator).pipe(delay("10 millis"))
 */
export const delay = (duration: Duration.Input): CallLayer =>
  intercept((call, next) => Effect.delay(next(call), duration))
