/**
 * Limits: how much one peer may make us hold or do. Each has a name, a default, and an answer for who goes over it.
 */
import { defaultSettings } from "./settings.ts"

export interface Limits {
  /** Streams that a peer may have open at once; a further one is refused with REFUSED_STREAM. Default: 250. */
  readonly maxConcurrentStreams: number
  /**
   * The size of a header list in bytes: its names and values, and 32 for each field. Over it only its own call ends: a gRPC
   * call with `resource_exhausted`, other requests with status 431. Clients hold responses to the same. A proxy with the
   * defaults of Envoy (60 KiB) or of nghttp2 (64 KiB) sends nothing that is larger. Default: 65,536.
   *
   * Source: RFC 9113, sections 6.5.2 and 10.5.1.
   *
   * @example
   * serve(pi, { limits: { maxHeaderListSize: 16_384 } })
   */
  readonly maxHeaderListSize: number
  /**
   * The size of a header block in bytes as it is sent, CONTINUATION frames included: over it ENHANCE_YOUR_CALM. Of a block
   * over `maxHeaderListSize` nothing is kept, so this costs no memory. Default: 1 MiB.
   *
   * @example
   * serve(pi, { limits: { maxHeaderBlockSize: 131_072 } })
   */
  readonly maxHeaderBlockSize: number
  /** CONTINUATION frames of one block: over it ENHANCE_YOUR_CALM. Default: 64, which make 1 MiB with the usual frames. */
  readonly maxContinuations: number
  /**
   * Bytes of header blocks that are dropped, since their lists are over `maxHeaderListSize`: so many at once, then so many
   * a second, and over it ENHANCE_YOUR_CALM. Default: 4 MiB, then 1 MiB.
   *
   * @example
   * serve(pi, { limits: { maxDroppedHeaderBytes: 1_048_576, maxDroppedHeaderBytesPerSecond: 131_072 } })
   */
  readonly maxDroppedHeaderBytes: number
  readonly maxDroppedHeaderBytesPerSecond: number
  /**
   * Frames without use in a row (PING, SETTINGS, PRIORITY, empty DATA, …): so many at once, then so many a second, and
   * over it ENHANCE_YOUR_CALM. Default: 1000, then 10.
   */
  readonly maxIdleFrames: number
  readonly maxIdleFramesPerSecond: number
  /**
   * Streams whose work is wasted: so many at once, then so many a second, and over it ENHANCE_YOUR_CALM. Wasted are those
   * that the peer resets at once, before it can have had any of the response, those that are reset for its faults, and
   * those that are refused. One that has its response, or its beginning, before it is reset isn't; and each that has its
   * whole response makes up for one that is wasted. So a client may cancel as many calls as it likes. Default: 1000, then
   * 100.
   *
   * Source: CVE-2023-44487 and CVE-2025-8671.
   */
  readonly maxResets: number
  readonly maxResetsPerSecond: number
  /**
   * What a stream may send before its program takes it in, in bytes; 65,535 is the least there can be. It begins with 64 KiB,
   * and grows up to this while the program keeps up with what comes and half of the memory is free. Default: 1 MiB.
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
  maxHeaderListSize: 64 * kibibyte,
  maxHeaderBlockSize: 1024 * kibibyte,
  maxContinuations: 64,
  maxDroppedHeaderBytes: 4 * 1024 * kibibyte,
  maxDroppedHeaderBytesPerSecond: 1024 * kibibyte,
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
