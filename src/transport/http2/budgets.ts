/**
 * Budgets: how often a peer may do what costs it nothing, and us a little.
 */
import { ConnectionError, errorCode } from "./frames.ts"
import type { Limits } from "./limits.ts"

// A frame of 16 KiB may have some dozens of others around it, and a small one some few.
const idleAround = 8
const bytesAround = 1024

/** A budget that fills up again with time: a burst of `size`, then `perSecond`. */
export class Budget {
  private readonly size: number
  private readonly perMilli: number
  private left: number
  private at: number

  constructor(size: number, perSecond: number, now: number) {
    this.size = size
    this.perMilli = perSecond / 1000
    this.left = size
    this.at = now
  }

  /** Gives some back, before their time. */
  give(count: number): void {
    this.left = Math.min(this.size, this.left + count)
  }

  /** Takes so many. False if there are fewer left. */
  take(now: number, count = 1): boolean {
    this.left = Math.min(this.size, this.left + (now - this.at) * this.perMilli)
    this.at = now
    if (this.left < count) return false
    this.left -= count
    return true
  }
}

/** The budgets of a connection. A peer that goes over one of them is told to calm down, and loses the connection. */
export class Budgets {
  private readonly now: () => number
  private readonly resets: Budget
  private readonly idle: Budget
  private readonly dropped: Budget

  constructor(role: "server" | "client", limits: Limits, now: () => number) {
    this.now = now
    // A server that refuses or cancels its client's calls only does its own work.
    const maxResets = role === "server" ? limits.maxResets : Number.POSITIVE_INFINITY
    this.resets = new Budget(maxResets, limits.maxResetsPerSecond, now())
    this.idle = new Budget(limits.maxIdleFrames, limits.maxIdleFramesPerSecond, now())
    this.dropped = new Budget(limits.maxDroppedHeaderBytes, limits.maxDroppedHeaderBytesPerSecond, now())
  }

  /** A stream opened only to be reset, by the peer (CVE-2023-44487) or by us for its faults (CVE-2025-8671). */
  reset(): void {
    if (!this.resets.take(this.now())) {
      throw new ConnectionError(errorCode.enhanceYourCalm, "too many streams are reset")
    }
  }

  /** A response that was sent whole: it makes up for a stream that was opened only to be reset. */
  responded(): void {
    this.resets.give(1)
  }

  /** Bytes of a header block that nothing comes of, since it is too large. */
  dropHeaders(bytes: number): void {
    if (!this.dropped.take(this.now(), bytes)) {
      throw new ConnectionError(errorCode.enhanceYourCalm, "too many header blocks are too large")
    }
  }

  /** A frame without use. */
  idleFrame(): void {
    if (!this.idle.take(this.now())) {
      throw new ConnectionError(errorCode.enhanceYourCalm, "too many frames without use")
    }
  }

  /**
   * Something of use, with so many bytes. It makes up for as many frames without use as may go with it: whoever is sent
   * data opens windows for it, and measures by PING how much there is on the way.
   */
  useful(bytes = 0): void {
    this.idle.give(idleAround + bytes / bytesAround)
  }
}
