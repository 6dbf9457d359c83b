/**
 * Limits: how much one peer may make us hold or do. Each has a name, a default, and an answer for who goes over it.
 */

export interface Limits {
  /** Streams that a peer may have open at once; a further one is refused with REFUSED_STREAM. Default: 250. */
  readonly maxConcurrentStreams: number
  /** The size of a header list, its names and values and 32 bytes a field: over it 431 or a reset. Default: 16 KiB. */
  readonly maxHeaderListSize: number
  /** The size of a header block as it is sent, CONTINUATION frames included: over it ENHANCE_YOUR_CALM. Default: 32 KiB. */
  readonly maxHeaderBlockSize: number
  /** CONTINUATION frames of one block: over it ENHANCE_YOUR_CALM. Default: 16. */
  readonly maxContinuations: number
  /**
   * Frames without use in a row (PING, SETTINGS, PRIORITY, empty DATA, …): so many at once, then so many a second, and
   * over it ENHANCE_YOUR_CALM. Default: 1000, then 10.
   */
  readonly maxIdleFrames: number
  readonly maxIdleFramesPerSecond: number
  /** Streams reset, by the peer or for its faults: so many at once, then so many a second. Default: 1000, then 100. */
  readonly maxResets: number
  readonly maxResetsPerSecond: number
  /** What a stream may send before it is taken in, in bytes; 65,535 is the least there can be. Default: 1 MiB. */
  readonly streamWindow: number
  /** The same for all streams of a connection together; 65,535 is the least there can be. Default: 4 MiB. */
  readonly connectionWindow: number
  /** Bytes that may wait for the socket before data waits with its stream. Default: 256 KiB. */
  readonly maxOutput: number
}

const kibibyte = 1024

export const defaultLimits: Limits = {
  maxConcurrentStreams: 250,
  maxHeaderListSize: 16 * kibibyte,
  maxHeaderBlockSize: 32 * kibibyte,
  maxContinuations: 16,
  maxIdleFrames: 1000,
  maxIdleFramesPerSecond: 10,
  maxResets: 1000,
  maxResetsPerSecond: 100,
  streamWindow: 1024 * kibibyte,
  connectionWindow: 4 * 1024 * kibibyte,
  maxOutput: 256 * kibibyte,
}

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

  /** Makes it whole again. */
  fill(): void {
    this.left = this.size
  }

  /** Takes one. False if there is none left. */
  take(now: number): boolean {
    this.left = Math.min(this.size, this.left + (now - this.at) * this.perMilli)
    this.at = now
    if (this.left < 1) return false
    this.left -= 1
    return true
  }
}
