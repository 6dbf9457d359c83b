/**
 * Monotonic time: how durations are measured. The wall clock is no measure of them, since a machine sets it back or forth
 * while a call runs.
 *
 * Moments are milliseconds by the monotonic clock of Effect's `Clock`. They mean something in one process only, and only
 * beside each other.
 *
 * Source: Effect's `Clock`, `monotonicTimeNanos`.
 */
import { type Clock, Effect } from "effect"

const nanosPerMilli = 1_000_000

/** The moment that it is now by a clock. */
export const nowUnsafe = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / nanosPerMilli

/** The moment that it is now. */
export const now: Effect.Effect<number> = Effect.clockWith((clock) => Effect.succeed(nowUnsafe(clock)))
