/**
 * The sender: a connection's half that writes. It frames what streams have to say as far as the windows and the socket
 * allow, and keeps the rest with its stream until they open again.
 *
 * Source: RFC 9113, sections 4.3, 5.2, 6.8 and 6.9.
 */
import {
  type ErrorCode,
  flag,
  frameHeaderLength,
  frameType,
  maxInt31,
  writeFrameHeader,
  writeUint32,
} from "./frames.ts"
import type { Field } from "./hpack.ts"
import { Encoder } from "./hpackEncoder.ts"
import { Output } from "./output.ts"
import { defaultSettings, type Settings } from "./settings.ts"
import type { Stream } from "./stream.ts"
import { SendWindow } from "./windows.ts"

const largestFrame = 65_536

export class Sender<T> {
  readonly out = new Output()
  readonly encoder = new Encoder()
  readonly window = new SendWindow(defaultSettings.initialWindowSize)
  /** False while the socket can't take more: data then waits with its stream. */
  writable = true
  private readonly maxOutput: number
  private maxFrameSize = defaultSettings.maxFrameSize
  private lastStreamId = maxInt31
  // Streams with something pending, in the order in which they get their turn.
  private readonly waiting = new Set<Stream<T>>()
  private readonly drained: (stream: Stream<T>) => void

  /** `drained` is called when nothing of a stream is pending any more. */
  constructor(maxOutput: number, drained: (stream: Stream<T>) => void) {
    this.maxOutput = maxOutput
    this.drained = drained
  }

  /** Obeys the peer's settings, and a smaller table that the peer has asked for on the way to them. */
  configure({ maxFrameSize, headerTableSize }: Settings, smallestHeaderTableSize: number): void {
    // Larger frames would let one stream fill the output, and others wait, for as long as it likes.
    this.maxFrameSize = Math.min(maxFrameSize, largestFrame)
    this.encoder.setMaxTableSize(Math.min(smallestHeaderTableSize, headerTableSize))
    this.encoder.setMaxTableSize(headerTableSize)
  }

  /** Writes a header block, in as many frames as it takes. */
  headers(streamId: number, fields: ReadonlyArray<Field>, endStream: boolean): void {
    const { out, maxFrameSize } = this
    out.reserve(frameHeaderLength + Encoder.bound(fields))
    const header = out.length
    const start = header + frameHeaderLength
    const end = this.encoder.encode(fields, out.bytes, start)
    const flags = endStream ? flag.endStream : 0
    if (end - start <= maxFrameSize) {
      writeFrameHeader(out.bytes, header, end - start, frameType.headers, flags | flag.endHeaders, streamId)
      out.length = end
      return
    }
    // Rare enough to be copied: the block is cut where frames must begin.
    const block = out.bytes.slice(start, end)
    for (let at = 0; at < block.length; at += maxFrameSize) {
      const piece = block.subarray(at, at + maxFrameSize)
      const last = at + maxFrameSize >= block.length ? flag.endHeaders : 0
      this.frame(at === 0 ? frameType.headers : frameType.continuation, (at === 0 ? flags : 0) | last, streamId, piece)
    }
  }

  /** Writes data, or lets it wait with its stream. The bytes are the sender's from now on. */
  data(stream: Stream<T>, bytes: Uint8Array): void {
    if (!this.fits(stream, bytes.length)) return this.wait(stream, bytes)
    this.frame(frameType.data, 0, stream.id, bytes)
  }

  /** The same for the last of a stream's data. `ended` says that the stream's end is written too. */
  last(stream: Stream<T>, bytes: Uint8Array, ended: (stream: Stream<T>) => void): void {
    if (this.fits(stream, bytes.length)) {
      this.frame(frameType.data, flag.endStream, stream.id, bytes)
      ended(stream)
    } else {
      stream.ending = () => this.writeEnd(stream, undefined, ended)
      this.wait(stream, bytes)
    }
  }

  /** Whether so much data can go out now, in one frame; the windows are taken up by it then. */
  private fits(stream: Stream<T>, length: number): boolean {
    if (
      stream.pending.length > 0 ||
      length > this.maxFrameSize ||
      length > stream.send.size ||
      length > this.window.size ||
      !this.open
    ) {
      return false
    }
    this.window.size -= length
    stream.send.size -= length
    return true
  }

  /** How many bytes of a stream would go out now. */
  room(stream: Stream<T>): number {
    return stream.pending.length > 0 || !this.open ? 0 : Math.max(0, Math.min(stream.send.size, this.window.size))
  }

  private wait(stream: Stream<T>, bytes: Uint8Array): void {
    stream.pending.push(bytes)
    stream.pendingBytes += bytes.length
    if (!this.waiting.has(stream)) {
      this.waiting.add(stream)
      stream.progressed = true
    }
    this.pump()
    // Also where nothing of it went: it may be a small piece of a large buffer.
    this.shrink(stream)
  }

  // A little that waits must not keep a large buffer from being collected.
  private shrink(stream: Stream<T>): void {
    const first = stream.pending[0]
    if (first === undefined || (first.length - stream.pendingFrom) * 4 > first.buffer.byteLength) return
    stream.pending[0] = first.slice(stream.pendingFrom)
    stream.pendingFrom = 0
  }

  /** Ends a stream once nothing of it is pending: with trailers, or with an empty DATA frame. `ended` says that it did. */
  end(stream: Stream<T>, trailers: ReadonlyArray<Field> | undefined, ended: (stream: Stream<T>) => void): void {
    if (stream.pending.length > 0) stream.ending = () => this.writeEnd(stream, trailers, ended)
    else this.writeEnd(stream, trailers, ended)
  }

  private writeEnd(
    stream: Stream<T>,
    trailers: ReadonlyArray<Field> | undefined,
    ended: (stream: Stream<T>) => void,
  ): void {
    if (trailers === undefined) this.frame(frameType.data, flag.endStream, stream.id, empty)
    else this.headers(stream.id, trailers, true)
    ended(stream)
  }

  /** True if nothing waits. */
  get idle(): boolean {
    return this.waiting.size === 0
  }

  /** The streams with something that waits. */
  get stalled(): Iterable<Stream<T>> {
    return this.waiting
  }

  private get open(): boolean {
    return this.writable && this.out.length < this.maxOutput
  }

  /** Writes what waits, a frame of each stream in turn, as far as it goes now. */
  pump(): void {
    // Who wrote and has more goes to the end of the line, and this loop comes to it again.
    for (const stream of this.waiting) {
      if (!this.open || this.window.size <= 0) return
      if (!this.pumpOne(stream) || !this.waiting.delete(stream)) continue
      this.waiting.add(stream)
    }
  }

  private pumpOne(stream: Stream<T>): boolean {
    const first = stream.pending[0]
    if (first === undefined) {
      this.waiting.delete(stream)
      return true
    }
    const left = first.length - stream.pendingFrom
    // Windows can be negative; an empty part needs none.
    const length = left === 0 ? 0 : Math.min(left, this.maxFrameSize, stream.send.size, this.window.size)
    if (length <= 0 && left > 0) return false
    this.window.size -= length
    stream.send.size -= length
    this.frame(frameType.data, 0, stream.id, first.subarray(stream.pendingFrom, stream.pendingFrom + length))
    stream.pendingFrom += length
    stream.pendingBytes -= length
    stream.progressed = true
    if (length < left) {
      this.shrink(stream)
      return true
    }
    stream.pending.shift()
    stream.pendingFrom = 0
    if (stream.pending.length === 0) {
      this.waiting.delete(stream)
      const { ending } = stream
      stream.ending = undefined
      if (ending === undefined) this.drained(stream)
      else ending()
    }
    return true
  }

  /** Forgets what a stream had to say. */
  forget(stream: Stream<T>): void {
    if (stream.pending.length === 0) return
    this.waiting.delete(stream)
    stream.pending.length = 0
    stream.pendingFrom = 0
    stream.pendingBytes = 0
    stream.ending = undefined
  }

  frame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    const { out } = this
    out.reserve(frameHeaderLength + payload.length)
    const at = writeFrameHeader(out.bytes, out.length, payload.length, type, flags, streamId)
    out.bytes.set(payload, at)
    out.length = at + payload.length
  }

  windowUpdate(streamId: number, increment: number): void {
    this.words(frameType.windowUpdate, streamId, increment)
  }

  rstStream(streamId: number, code: ErrorCode): void {
    this.words(frameType.rstStream, streamId, code)
  }

  /** The last stream may be another each time, but never a later one (section 6.8). */
  goaway(lastStreamId: number, code: ErrorCode): void {
    this.lastStreamId = Math.min(this.lastStreamId, lastStreamId)
    this.words(frameType.goaway, 0, this.lastStreamId, code)
  }

  /** A PING with a payload of eight bytes, or the answer to one. */
  ping(payload: Uint8Array, ack: boolean): void {
    this.frame(frameType.ping, ack ? flag.ack : 0, 0, payload)
  }

  // A frame whose payload is 32-bit words.
  private words(type: number, streamId: number, ...words: ReadonlyArray<number>): void {
    const { out } = this
    out.reserve(frameHeaderLength + words.length * 4)
    let at = writeFrameHeader(out.bytes, out.length, words.length * 4, type, 0, streamId)
    for (const word of words) at = writeUint32(out.bytes, at, word)
    out.length = at
  }
}

const empty = new Uint8Array(0)
