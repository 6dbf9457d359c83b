/**
 * The reader: cuts the bytes of a connection into frames, wherever the socket has cut them.
 *
 * Frames are parsed in place, out of the chunk they came in. Only one that straddles two chunks is put together first,
 * and a DATA frame not even then: its payload is passed on in pieces, so no body is ever copied here.
 *
 * Source: RFC 9113, sections 4.1, 4.2 and 6.1.
 */
import {
  ConnectionError,
  errorCode,
  flag,
  frameHeaderLength,
  frameType,
  preface,
  readUint24,
  readUint31,
} from "./frames.ts"

export interface FrameSink {
  /** A whole frame of any type but DATA; its payload is bytes[start, end), valid during the call only. */
  readonly frame: (type: number, flags: number, streamId: number, bytes: Uint8Array, start: number, end: number) => void
  /** A DATA frame begins. Its length counts for flow control, padding included. */
  readonly dataBegin: (streamId: number, length: number, padding: number) => void
  /** A piece of that frame's data, valid during the call only. */
  readonly dataPiece: (bytes: Uint8Array, start: number, end: number) => void
  /** That frame has ended. */
  readonly dataEnd: (endStream: boolean) => void
}

const none = new Uint8Array(0)
const smallLength = frameHeaderLength + 64

export class FrameReader {
  private readonly sink: FrameSink
  private readonly maxFrameSize: number
  // What of the client's preface has still to come.
  private prefaceLeft: number
  // Where a frame that straddles two chunks is put together. The small buffer is made when the first one comes, and stays;
  // a larger one is given up again: an idle connection holds none.
  private small: Uint8Array = none
  private store: Uint8Array = none
  private partialLength = 0
  // Within a DATA frame: what is left of its data, then of its padding.
  private dataLeft = 0
  private paddingLeft = 0
  private inData = false
  private endsStream = false
  private frames = 1

  /** `peer` is who sends the bytes: a client's begin with the preface. */
  constructor(sink: FrameSink, maxFrameSize: number, peer: "server" | "client") {
    this.sink = sink
    this.maxFrameSize = maxFrameSize
    this.prefaceLeft = peer === "client" ? preface.length : 0
  }

  /** The number of the frame that has begun and isn't whole; 0 if there is none. */
  get half(): number {
    return this.inData || this.partialLength > 0 ? this.frames : 0
  }

  /** Reads a chunk to its end. Throws a `ConnectionError` for what no peer may send. */
  read(chunk: Uint8Array): void {
    let at = this.prefaceLeft === 0 ? 0 : this.readPreface(chunk)
    while (at < chunk.length) {
      if (this.inData) at = this.readData(chunk, at)
      else if (this.partialLength > 0) at = this.completePartial(chunk, at)
      else {
        const wanted = this.wanted(chunk, at, chunk.length)
        if (wanted > chunk.length - at) {
          this.keep(chunk, at, chunk.length)
          return
        }
        at += this.dispatch(chunk, at)
      }
    }
  }

  /** Checks what of the preface is in a chunk, and gives where the frames begin. */
  private readPreface(chunk: Uint8Array): number {
    const from = preface.length - this.prefaceLeft
    const length = Math.min(chunk.length, this.prefaceLeft)
    for (let i = 0; i < length; i++) {
      if (chunk[i] !== preface[from + i]) {
        throw new ConnectionError(errorCode.protocolError, "the connection doesn't begin with HTTP/2's preface")
      }
    }
    this.prefaceLeft -= length
    return length
  }

  /** How many bytes from `at` make the next thing that can be dispatched, as far as can be told. */
  private wanted(bytes: Uint8Array, at: number, end: number): number {
    if (end - at < frameHeaderLength) return frameHeaderLength
    const length = readUint24(bytes, at)
    if (length > this.maxFrameSize) {
      throw new ConnectionError(errorCode.frameSizeError, `a frame of ${length} bytes is over SETTINGS_MAX_FRAME_SIZE`)
    }
    if (bytes[at + 3] !== frameType.data) return frameHeaderLength + length
    // A DATA frame begins with its header alone, and with the length of its padding.
    const padded = ((bytes[at + 4] ?? 0) & flag.padded) !== 0
    return frameHeaderLength + (padded && length > 0 ? 1 : 0)
  }

  private keep(bytes: Uint8Array, from: number, to: number): void {
    const needed = this.partialLength + to - from
    if (needed > this.store.length) {
      const larger = this.room(needed)
      larger.set(this.store.subarray(0, this.partialLength))
      this.store = larger
    }
    this.store.set(bytes.subarray(from, to), this.partialLength)
    this.partialLength = needed
  }

  private room(needed: number): Uint8Array {
    if (needed > smallLength) return new Uint8Array(frameHeaderLength + this.maxFrameSize)
    this.small = new Uint8Array(smallLength)
    return this.small
  }

  private completePartial(chunk: Uint8Array, at: number): number {
    const wanted = this.wanted(this.store, 0, this.partialLength)
    const to = Math.min(chunk.length, at + wanted - this.partialLength)
    this.keep(chunk, at, to)
    if (this.partialLength >= this.wanted(this.store, 0, this.partialLength)) {
      const whole = this.store
      this.partialLength = 0
      this.store = this.small
      this.dispatch(whole, 0)
    }
    return to
  }

  /** Passes on the frame that begins at `at`, of which all that is wanted is there. Gives how much of it that was. */
  private dispatch(bytes: Uint8Array, at: number): number {
    const length = readUint24(bytes, at)
    const type = bytes[at + 3] ?? 0
    const flags = bytes[at + 4] ?? 0
    const streamId = readUint31(bytes, at + 5)
    const start = at + frameHeaderLength
    if (type !== frameType.data) {
      this.frames++
      this.sink.frame(type, flags, streamId, bytes, start, start + length)
      return frameHeaderLength + length
    }
    if (streamId === 0) throw new ConnectionError(errorCode.protocolError, "DATA is not on a stream")
    const padded = (flags & flag.padded) !== 0
    const padding = padded ? (bytes[start] ?? 0) : 0
    if (padded && padding >= length) {
      throw new ConnectionError(errorCode.protocolError, "a frame's padding is longer than the frame")
    }
    const overhead = padded ? 1 : 0
    this.inData = true
    this.endsStream = (flags & flag.endStream) !== 0
    this.dataLeft = length - overhead - padding
    this.paddingLeft = padding
    this.sink.dataBegin(streamId, length, overhead + padding)
    if (this.dataLeft + this.paddingLeft === 0) this.finishData()
    return frameHeaderLength + overhead
  }

  private readData(chunk: Uint8Array, at: number): number {
    const dataTo = Math.min(chunk.length, at + this.dataLeft)
    if (dataTo > at) {
      this.dataLeft -= dataTo - at
      this.sink.dataPiece(chunk, at, dataTo)
    }
    const to = Math.min(chunk.length, dataTo + this.paddingLeft)
    this.paddingLeft -= to - dataTo
    if (this.dataLeft + this.paddingLeft === 0) this.finishData()
    return to
  }

  private finishData(): void {
    this.inData = false
    this.frames++
    this.sink.dataEnd(this.endsStream)
  }
}
