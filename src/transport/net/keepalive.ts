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

/** How long a peer that is doubted has to say anything, unless the timeout is shorter. In milliseconds. */
const doubtTimeout = 5_000

/**
 * How long a peer that was doubted, and was there, isn't asked again for that. Each time it is twice as long, up to what
 * grpc-go's servers want between two PINGs. In milliseconds.
 */
const leastRest = 5_000
const mostRest = 300_000

// Who rings this late, in milliseconds, has stood still.
const stoodStill = 1_000

export class Keepalive {
  /** Whether the peer was ever asked. */
  asked = false
  private readonly times: KeepaliveTimes
  private pingedAt = Number.NEGATIVE_INFINITY
  // How long the peer has for the PING that was sent last.
  private timeout = 0
  private doubtedAt = Number.NEGATIVE_INFINITY
  private rest = leastRest
  private excused = false

  constructor(times: KeepaliveTimes) {
    this.times = times
  }

  /**
   * Says whether to ask a peer at once: there is a reason to doubt that it is there, and nothing was heard since. It has a
   * few seconds then. A peer that is there but slow isn't asked each time.
   */
  doubt(now: number, heardAt: number): "nothing" | "ping" {
    if (this.awaits(heardAt)) return "nothing"
    // It has said more than that it is there: servers count no PING against a client that they have sent data since.
    if (heardAt > this.doubtedAt + doubtTimeout) this.rest = leastRest
    if (now < this.doubtedAt + this.rest) return "nothing"
    if (this.doubtedAt > Number.NEGATIVE_INFINITY) this.rest = Math.min(2 * this.rest, mostRest)
    this.doubtedAt = now
    this.ping(now, Math.min(doubtTimeout, this.times.timeout))
    return "ping"
  }

  private ping(now: number, timeout: number): void {
    this.asked = true
    this.excused = false
    this.pingedAt = now
    this.timeout = timeout
  }

  /** What is due at a time, given when the peer last gave a sign of life. */
  due(now: number, heardAt: number): "nothing" | "ping" | "close" {
    const { time, timeout } = this.times
    if (this.awaits(heardAt)) return now < this.pingedAt + this.timeout ? "nothing" : this.giveUp(now)
    if (now < heardAt + time) return "nothing"
    this.ping(now, timeout)
    return "ping"
  }

  /** When something may be due next. Of a peer that is asked, that it has just answered is the earliest that may be. */
  next(now: number, heardAt: number): number {
    const { time } = this.times
    return this.awaits(heardAt) ? Math.min(this.pingedAt + this.timeout, now + time) : heardAt + time
  }

  // A process that stood still itself has yet to read what came meanwhile: it waits once more.
  private giveUp(now: number): "nothing" | "close" {
    const late = now - (this.pingedAt + this.timeout)
    if (this.excused || late < stoodStill) return "close"
    this.excused = true
    this.timeout = now + stoodStill - this.pingedAt
    return "nothing"
  }

  /** Whether the peer was asked and hasn't said anything since. Any byte is an answer. */
  awaits(heardAt: number): boolean {
    return this.pingedAt > heardAt
  }
}
