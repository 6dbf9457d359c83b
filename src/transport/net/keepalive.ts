/**
 * Keepalive: finds out whether a peer that says nothing is still there. It has no clock and no timer: whoever has the
 * connection asks it what is due.
 *
 * Source: gRPC's doc/keepalive.md, and `keepalive.ServerParameters` of grpc-go.
 */
import { Duration } from "effect"

export interface KeepaliveOptions {
  /** How long the peer may say nothing before it is asked, with a PING, whether it is there. Default: 2 hours. */
  readonly time?: Duration.Input
  /** How long it then has to say anything, before the connection is closed. Default: 20 seconds. */
  readonly timeout?: Duration.Input
}

/** The options in milliseconds. */
export interface KeepaliveTimes {
  readonly time: number
  readonly timeout: number
}

export const keepaliveTimes = ({ time = "2 hours", timeout = "20 seconds" }: KeepaliveOptions): KeepaliveTimes => ({
  time: Duration.toMillis(time),
  timeout: Duration.toMillis(timeout),
})

export class Keepalive {
  private readonly times: KeepaliveTimes
  private pingedAt = Number.NEGATIVE_INFINITY

  constructor(times: KeepaliveTimes) {
    this.times = times
  }

  /** What is due at a time, given when the peer last gave a sign of life. */
  due(now: number, heardAt: number): "nothing" | "ping" | "close" {
    const { time, timeout } = this.times
    if (this.awaits(heardAt)) return now < this.pingedAt + timeout ? "nothing" : "close"
    if (now < heardAt + time) return "nothing"
    this.pingedAt = now
    return "ping"
  }

  /** When something may be due next. Of a peer that is asked, that it has just answered is the earliest that may be. */
  next(now: number, heardAt: number): number {
    const { time, timeout } = this.times
    return this.awaits(heardAt) ? Math.min(this.pingedAt + timeout, now + time) : heardAt + time
  }

  // Any byte is an answer.
  private awaits(heardAt: number): boolean {
    return this.pingedAt > heardAt
  }
}
