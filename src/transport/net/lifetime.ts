/**
 * Lifetime: how long a client's connection to a server lasts. It has no clock and no timer: whoever has the connection
 * asks it what is due.
 *
 * Source: gRPC's proposal A9, and `keepalive.ServerParameters` of grpc-go.
 */
import { Duration } from "effect"

export interface LifetimeOptions {
  /** How long a connection may be without a running call before it is drained. Default: no limit. */
  readonly maxIdle?: Duration.Input
  /**
   * How long a connection lasts before it is drained, so that clients spread over new servers. Each has up to 10 % more
   * or less, so that they don't come back all at once. Default: no limit.
   */
  readonly maxAge?: Duration.Input
  /** How long calls may go on after `maxAge` before the connection is closed all the same. Default: no limit. */
  readonly maxAgeGrace?: Duration.Input
}

/** The options in milliseconds. */
export interface LifetimeTimes {
  readonly idle: number
  readonly age: number
  readonly ageGrace: number
}

export const lifetimeTimes = ({
  maxIdle = Duration.infinity,
  maxAge = Duration.infinity,
  maxAgeGrace = Duration.infinity,
}: LifetimeOptions): LifetimeTimes => ({
  idle: Duration.toMillis(maxIdle),
  age: Duration.toMillis(maxAge),
  ageGrace: Duration.toMillis(maxAgeGrace),
})

// grpc-go's part of the age that chance adds or takes away.
const jitter = 0.1

export class Lifetime {
  private readonly idle: number
  private readonly endsAt: number
  private readonly cutAt: number
  // No call runs since then; undefined while one does.
  private restingSince: number | undefined
  private draining = false

  /** `chance` is a number from 0 to 1. */
  constructor({ idle, age, ageGrace }: LifetimeTimes, now: number, chance: number) {
    this.idle = idle
    this.endsAt = now + age * (1 + jitter * (2 * chance - 1))
    this.cutAt = this.endsAt + ageGrace
    this.restingSince = now
  }

  /** A call begins. */
  begin(): void {
    this.restingSince = undefined
  }

  /** True while a call runs, as far as it was told. */
  get busy(): boolean {
    return this.restingSince === undefined
  }

  /** No call runs any more. */
  rest(now: number): void {
    this.restingSince = now
  }

  /** What is due at a time. */
  due(now: number): "nothing" | "drain" | "close" {
    if (now >= this.cutAt) return "close"
    if (this.draining) return "nothing"
    const idle = this.restingSince !== undefined && now >= this.restingSince + this.idle
    if (!idle && now < this.endsAt) return "nothing"
    this.draining = true
    return "drain"
  }

  /** When something may be due next. While a call runs, that it has just ended is the earliest that may be. */
  next(now: number): number {
    return this.draining ? this.cutAt : Math.min(this.endsAt, (this.restingSince ?? now) + this.idle)
  }
}
