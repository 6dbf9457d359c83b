/**
 * Envelopes: the five bytes before each message, a flag and the message's length.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message".
 */
import { RpcError } from "../../core/rpc/error.ts"

export const envelopeLength = 5
const compressedFlag = 1

/** Gets the messages out of the bytes of a body, wherever DATA frames and chunks have cut them. */
export interface MessageSink {
  /** bytes[start, end) are so many whole messages in their envelopes, none compressed; valid during the call only. */
  readonly messages: (bytes: Uint8Array, start: number, end: number, count: number) => void
  /** bytes[start, end) is a compressed message without its envelope, valid during the call only. */
  readonly compressed: (bytes: Uint8Array, start: number, end: number) => void
}

export class EnvelopeReader {
  private readonly maxBytes: number
  private readonly sink: MessageSink
  // The beginning of an envelope and message whose rest is to come.
  private partial: Uint8Array | undefined
  private partialLength = 0

  constructor(maxBytes: number, sink: MessageSink) {
    this.maxBytes = maxBytes
    this.sink = sink
  }

  /** True if the body may end here. */
  get complete(): boolean {
    return this.partialLength === 0
  }

  /** How many bytes it holds of a message that isn't whole. */
  get gathered(): number {
    return this.partialLength
  }

  /** Reads a piece of a body. Throws an `RpcError` for an envelope that can't be taken. */
  read(bytes: Uint8Array, start: number, end: number): void {
    let at = this.partialLength > 0 ? this.completePartial(bytes, start, end) : start
    while (at < end) {
      at = this.plain(bytes, at, end)
      const length = end - at < envelopeLength ? undefined : this.lengthAt(bytes, at)
      if (length === undefined || end - at - envelopeLength < length) {
        if (at < end) this.keep(bytes, at, end, length ?? 0)
        return
      }
      const from = at + envelopeLength
      at = from + length
      this.sink.compressed(bytes, from, at)
    }
  }

  /** Passes on all whole messages up to one that is compressed, or has to be looked at for another reason. */
  private plain(bytes: Uint8Array, start: number, end: number): number {
    let count = 0
    let at = start
    while (end - at >= envelopeLength && bytes[at] === 0) {
      const length = readLength(bytes, at)
      if (length > this.maxBytes || end - at - envelopeLength < length) break
      at += envelopeLength + length
      count++
    }
    if (count > 0) this.sink.messages(bytes, start, at, count)
    return at
  }

  private lengthAt(bytes: Uint8Array, at: number): number {
    const flags = bytes[at] ?? 0
    if (flags > compressedFlag) {
      throw new RpcError({ code: "internal", message: "protocol error: a message has flags that gRPC doesn't know" })
    }
    const length = readLength(bytes, at)
    if (length > this.maxBytes) {
      throw new RpcError({
        code: "resource_exhausted",
        message: `a message of ${length} bytes is over the limit of ${this.maxBytes}`,
      })
    }
    return length
  }

  private keep(bytes: Uint8Array, from: number, to: number, length: number): void {
    const needed = this.partialLength + to - from
    const wanted = Math.max(envelopeLength + length, needed)
    if (this.partial === undefined || this.partial.length < needed) {
      // What the message says it will be is reserved only as it comes: the saying alone costs us nothing. Five times what
      // has come makes one buffer of most that come in frames of 16 KiB, and each larger one is a copy.
      const capacity = Math.min(wanted, Math.max(needed * 5, 1024))
      const larger = new Uint8Array(Math.max(capacity, needed))
      if (this.partial !== undefined) larger.set(this.partial.subarray(0, this.partialLength))
      this.partial = larger
    }
    this.partial.set(bytes.subarray(from, to), this.partialLength)
    this.partialLength = needed
  }

  private completePartial(bytes: Uint8Array, start: number, end: number): number {
    let at = start
    if (this.partialLength < envelopeLength) {
      const to = Math.min(end, at + envelopeLength - this.partialLength)
      this.keep(bytes, at, to, 0)
      at = to
      if (this.partialLength < envelopeLength) return at
    }
    const { partial } = this
    if (partial === undefined) return at
    const length = this.lengthAt(partial, 0)
    const to = Math.min(end, at + envelopeLength + length - this.partialLength)
    this.keep(bytes, at, to, length)
    const whole = this.partial
    if (whole !== undefined && this.partialLength === envelopeLength + length) {
      this.partial = undefined
      this.partialLength = 0
      if (whole[0] === compressedFlag) this.sink.compressed(whole, envelopeLength, envelopeLength + length)
      else this.sink.messages(whole, 0, envelopeLength + length, 1)
    }
    return to
  }
}

/** How long the message is whose envelope begins at `at`. */
export const readLength = (bytes: Uint8Array, at: number): number =>
  (bytes[at + 1] ?? 0) * 0x100_0000 + ((bytes[at + 2] ?? 0) << 16) + ((bytes[at + 3] ?? 0) << 8) + (bytes[at + 4] ?? 0)

export const writeEnvelope = (bytes: Uint8Array, at: number, length: number, compressed: boolean): number => {
  bytes[at] = compressed ? compressedFlag : 0
  bytes[at + 1] = length >>> 24
  bytes[at + 2] = length >>> 16
  bytes[at + 3] = length >>> 8
  bytes[at + 4] = length
  return at + envelopeLength
}
