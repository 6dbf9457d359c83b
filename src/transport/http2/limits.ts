/**
 * Limits: how much one peer may make us hold or do. Each has a name, a default, and an answer for who goes over it.
 */
import { defaultSettings } from "./settings.ts"

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
  /**
   * What a stream may send before its program takes it in, in bytes; 65,535 is the least there can be. It begins with 64 KiB,
   * and grows up to this while the program keeps up with what comes and there is memory. Default: 1 MiB.
   */
  readonly streamWindow: number
  /**
   * What all streams of a connection together may send before it has arrived, whether it is taken in or not; 65,535 is the
   * least there can be. Default: 4 MiB.
   */
  readonly connectionWindow: number
  /**
   * Bytes that may wait for the socket before data waits with its stream; behind twice as many no further stream is taken,
   * but refused with REFUSED_STREAM. Default: 256 KiB.
   */
  readonly maxOutput: number
}

const kibibyte = 1024

/** What a stream's window begins with, unless `streamWindow` is less. */
export const firstStreamWindow = 64 * kibibyte

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

/** All limits, given those that are not the defaults. Whoever has many connections asks once for all of them. */
export const limitsOf = (given: Partial<Limits> = {}): Limits => {
  const limits = { ...defaultLimits, ...given }
  return {
    ...limits,
    // A peer may count on these before it has heard of ours.
    streamWindow: Math.max(limits.streamWindow, defaultSettings.initialWindowSize),
    connectionWindow: Math.max(limits.connectionWindow, defaultSettings.initialWindowSize),
  }
}
