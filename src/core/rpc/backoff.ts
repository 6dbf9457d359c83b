/**
 * Exponential backoff: how long to wait before something that failed is tried again.
 *
 * Sources: grpc/doc/connection-backoff.md; gRPC's proposal A6, "Exponential Backoff".
 */
import { Duration, Effect, Random, Schedule } from "effect"

export interface Backoff {
  /** The first delay. */
  readonly initial: Duration.Input
  /** How many times the delay before it each further one is. */
  readonly multiplier: number
  /** No delay is longer than this, jitter aside. */
  readonly max: Duration.Input
  /** What part of itself a delay is longer or shorter by at most, so that those who failed together don't come together. */
  readonly jitter: number
}

/** What gRPC waits before it connects again: 1 s × 1.6, 120 s at most, ±20 %. */
export const connection: Backoff = { initial: "1 second", multiplier: 1.6, max: "120 seconds", jitter: 0.2 }

/**
 * The delay that follows `earlier` others: `min(initial × multiplier^earlier, max)`, with jitter out of Effect's `Random`.
 *
 * @example yield* Effect.flatMap(delay(connection, 0), Effect.sleep) // 0.8 s to 1.2 s
 */
export const delay = (backoff: Backoff, earlier: number): Effect.Effect<Duration.Duration> => {
  const { initial, multiplier, max, jitter } = backoff
  const first = Duration.toMillis(initial)
  // What has grown beyond all numbers times nothing is no number.
  const millis = first === 0 ? 0 : Math.min(first * multiplier ** earlier, Duration.toMillis(max))
  return Effect.map(Random.next, (drawn) => Duration.millis(millis * (1 + jitter * (2 * drawn - 1))))
}

/** The same as one of Effect's schedules: it never ends, and gives how many delays it has made. */
export const schedule = (backoff: Backoff): Schedule.Schedule<number> =>
  Schedule.fromStep(
    Effect.sync(() => {
      let earlier = 0
      return () => Effect.map(delay(backoff, earlier++), (made): [number, Duration.Duration] => [earlier, made])
    }),
  )
