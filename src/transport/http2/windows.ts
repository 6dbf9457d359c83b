/**
 * Windows: how much each end may send before the other has taken it in, for a stream and for the connection.
 *
 * Source: RFC 9113, sections 5.2 and 6.9.
 */
import { maxInt31 } from "./frames.ts"

/** What we may still send. It can be negative, after the peer has made its initial window smaller (section 6.9.2). */
export class SendWindow {
  size: number
  constructor(size: number) {
    this.size = size
  }

  /** Opens the window. False if that makes it larger than any may be: a flow-control error. */
  open(increment: number): boolean {
    this.size += increment
    return this.size <= maxInt31
  }
}

/**
 * What the peer may still send, and how much of what it has sent was taken in. The window is opened again when half of
 * it was: early enough that a sender at full speed never waits, and seldom enough that it costs nothing.
 */
export class ReceiveWindow {
  /** How many bytes the peer may have sent that weren't taken in. */
  full: number
  /** When it was last opened; it has never been before. */
  openedAt = Number.NEGATIVE_INFINITY
  private left: number
  private taken = 0

  constructor(size: number) {
    this.full = size
    this.left = size
  }

  /** Makes the window larger, which has to be announced. */
  grow(by: number): void {
    this.full += by
    this.left += by
  }

  /** Counts what arrived, padding included. False if it is more than the peer was allowed. */
  receive(length: number): boolean {
    this.left -= length
    return this.left >= 0
  }

  /** Counts what was taken in. What it gives is the increment to announce now; 0 for not yet. */
  take(length: number): number {
    this.taken += length
    if (this.taken * 2 < this.full) return 0
    const increment = this.taken
    this.taken = 0
    this.left += increment
    return increment
  }
}
