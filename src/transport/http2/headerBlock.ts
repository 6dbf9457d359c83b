/**
 * A header block: the payload of a HEADERS frame and of the CONTINUATION frames that follow it, put together.
 *
 * Nearly all are one frame long, and stay where they are: in the bytes of the socket. One that outgrows the list that is
 * taken is not held any longer, but read as it comes, since the tables must stay in step (section 10.5.1).
 *
 * Source: RFC 9113, sections 4.3, 6.2 and 6.10.
 */
import { ConnectionError, errorCode, flag, readUint31 } from "./frames.ts"
import type { Limits } from "./limits.ts"

const none = new Uint8Array(0)

/** What reads a block that is too large to be held. */
export interface Skim {
  readonly skim: (bytes: Uint8Array, start: number, end: number) => void
}

/** How long a priority is, in a frame of its own too. */
export const priorityLength = 5

/** The one block of a connection that is being read: no other frame may come before it is whole. */
export class HeaderBlock {
  streamId = 0
  endStream = false
  /** Priorities are ignored, but a stream that depends on itself was never allowed (RFC 7540, section 5.3.1). */
  dependsOnItself = false
  /** Where in its bytes the block is, once it is whole. */
  start = 0
  end = 0
  /** True while CONTINUATION frames have to follow. */
  open = false
  /** How many bytes the block has, as far as it has come. */
  size = 0
  /** True if it was too large to be held, and has been skimmed. */
  skimmed = false
  /** How many blocks have begun that have several frames. */
  count = 0
  private readonly limits: Limits
  private readonly decoder: Skim
  // What has come of a block that goes on: no more than that is held of what never ends.
  private pieces: Uint8Array | undefined
  private continuations = 0

  constructor(limits: Limits, decoder: Skim) {
    this.limits = limits
    this.decoder = decoder
  }

  /** Takes a HEADERS frame. Gives the bytes that the block is in if it is whole: these very ones. */
  begin(flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): Uint8Array | undefined {
    if (streamId === 0) throw new ConnectionError(errorCode.protocolError, "HEADERS is not on a stream")
    const padded = (flags & flag.padded) !== 0
    const prioritized = (flags & flag.priority) !== 0
    let from = start + (padded ? 1 : 0)
    this.dependsOnItself = prioritized && from + priorityLength <= end && readUint31(bytes, from) === streamId
    from += prioritized ? priorityLength : 0
    if (from > end) throw new ConnectionError(errorCode.frameSizeError, "HEADERS is too short for its flags")
    const to = end - (padded ? (bytes[start] ?? 0) : 0)
    if (from > to) throw new ConnectionError(errorCode.protocolError, "a frame's padding is longer than the frame")
    this.streamId = streamId
    this.endStream = (flags & flag.endStream) !== 0
    this.skimmed = false
    this.size = 0
    if ((flags & flag.endHeaders) === 0) {
      this.hold(bytes, from, to)
      return undefined
    }
    this.size = to - from
    this.start = from
    this.end = to
    return bytes
  }

  /** Takes a CONTINUATION frame. Gives the bytes that the block is in if it is whole: none if it was skimmed. */
  goOn(flags: number, bytes: Uint8Array, start: number, end: number): Uint8Array | undefined {
    const { pieces } = this
    if (pieces === undefined) throw new ConnectionError(errorCode.protocolError, "CONTINUATION continues nothing")
    this.continuations += 1
    if (this.continuations > this.limits.maxContinuations) throw tooLarge()
    this.append(pieces, bytes, start, end)
    if ((flags & flag.endHeaders) === 0) return undefined
    const whole = this.pieces
    this.open = false
    this.pieces = undefined
    return whole
  }

  private hold(bytes: Uint8Array, from: number, to: number): void {
    this.append(none, bytes, from, to)
    this.start = 0
    this.continuations = 0
    this.count += 1
    this.open = true
  }

  private append(pieces: Uint8Array, bytes: Uint8Array, from: number, to: number): void {
    this.size += to - from
    if (this.size > this.limits.maxHeaderBlockSize) throw tooLarge()
    // No encoder makes a field longer than a list counts it, so the list is too large.
    if (this.size > this.limits.maxHeaderListSize) return this.pass(pieces, bytes, from, to)
    this.end = this.size
    this.pieces = new Uint8Array(this.end)
    this.pieces.set(pieces)
    this.pieces.set(bytes.subarray(from, to), pieces.length)
  }

  private pass(pieces: Uint8Array, bytes: Uint8Array, from: number, to: number): void {
    if (!this.skimmed) this.decoder.skim(pieces, 0, pieces.length)
    this.decoder.skim(bytes, from, to)
    this.skimmed = true
    this.pieces = none
    this.end = 0
  }
}

const tooLarge = (): ConnectionError => new ConnectionError(errorCode.enhanceYourCalm, "a header block is too large")
