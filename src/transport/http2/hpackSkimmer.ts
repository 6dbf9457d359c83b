/**
 * The skimmer: reads a header block that is too large to be held, part by part, so that the decoder's table stays in step
 * with the peer's. No list comes of such a block.
 *
 * Of a block it holds no more than a field that may enter the table. A longer string is passed over as its bytes come:
 * its field would only empty the table.
 *
 * Source: RFC 9113, section 10.5.1; RFC 7541, sections 4.4 and 6.
 */
import { entering, HpackError, indexed, maxIntegerBytes, passing, plain, secret, tableSize } from "./hpack.ts"

// The longest code of Huffman's has 30 bits: a string in it has more than a quarter of its bytes once it is decoded.
const longestCode = 4

const none = new Uint8Array(0)

/** What a skimmer tells the decoder. */
export interface SkimSink {
  /** How large the table may be now. */
  readonly maxSize: () => number
  /** These bytes are whole fields; at the beginning of a block there may be new sizes of the table before them. */
  readonly fields: (bytes: Uint8Array, start: number, end: number) => void
  /** A field enters that is larger than the table. */
  readonly empty: () => void
}

export class Skimmer {
  private readonly sink: SkimSink
  // The beginning of a field that isn't whole yet.
  private held: Uint8Array = none
  // What is left of a string that is passed over, and whether it is a name, behind which a value is passed over too.
  private left = 0
  private valueFollows = false
  // What the last look at a field came to: where its string begins, how long it is, and whether it is the name.
  private stringAt = 0
  private stringLength = 0
  private isName = false
  private value = 0

  constructor(sink: SkimSink) {
    this.sink = sink
  }

  /** Takes in the next part of a block. */
  read(part: Uint8Array, start: number, end: number): void {
    const { held } = this
    if (held.length === 0) return this.readAll(part, start, end)
    const bytes = new Uint8Array(held.length + end - start)
    bytes.set(held)
    bytes.set(part.subarray(start, end), held.length)
    this.held = none
    this.readAll(bytes, 0, bytes.length)
  }

  /** Ends the block. */
  end(): void {
    if (this.held.length > 0 || this.left > 0 || this.valueFollows) {
      throw new HpackError("a field ends behind its block")
    }
  }

  private readAll(bytes: Uint8Array, start: number, end: number): void {
    for (let at = start, next = at; at < end; at = next) {
      next = this.left > 0 || this.valueFollows ? this.passOver(bytes, at, end) : this.wholeFields(bytes, at, end)
      if (next > at) continue
      this.held = bytes.slice(at, end)
      return
    }
  }

  /** Passes over what is there of a string. Gives where it goes on: at the same place if more has to come first. */
  private passOver(bytes: Uint8Array, at: number, end: number): number {
    if (this.left === 0) {
      if (!this.string(bytes, at, end)) return at
      this.valueFollows = false
      this.left = this.stringLength
      return this.stringAt
    }
    const to = Math.min(end, at + this.left)
    this.left -= to - at
    return to
  }

  /** Hands on the fields that are whole, up to one that has to be passed over. Gives where it goes on. */
  private wholeFields(bytes: Uint8Array, start: number, end: number): number {
    const longest = this.sink.maxSize() * longestCode
    let at = start
    for (let next = at; at < end; at = next) {
      next = this.endOfField(bytes, at, end, longest)
      if (next < 0) break
    }
    if (at > start) this.sink.fields(bytes, start, at)
    if (at === end || this.stringLength <= longest) return at
    const first = bytes[at] as number
    if (first >= entering.bits && first < indexed.bits) this.sink.empty()
    this.valueFollows = this.isName
    this.left = this.stringLength
    return this.stringAt
  }

  /** Where a field ends; -1 if that is further on, or if one of its strings is too long. */
  private endOfField(bytes: Uint8Array, at: number, end: number, longest: number): number {
    this.stringLength = 0
    const first = bytes[at] as number
    if (first >= indexed.bits) return this.integer(bytes, at, end, indexed.mask)
    const enters = first >= entering.bits
    if (!enters && first >= tableSize.bits) return this.integer(bytes, at, end, tableSize.mask)
    const mask = enters ? entering.mask : first >= secret.bits ? secret.mask : passing.mask
    let next = this.integer(bytes, at, end, mask)
    this.isName = next >= 0 && this.value === 0
    if (this.isName) next = this.endOfString(bytes, next, end, longest)
    if (next < 0) return -1
    this.isName = false
    return this.endOfString(bytes, next, end, longest)
  }

  private endOfString(bytes: Uint8Array, at: number, end: number, longest: number): number {
    if (!this.string(bytes, at, end) || this.stringLength > longest) return -1
    const to = this.stringAt + this.stringLength
    return to > end ? -1 : to
  }

  /** Looks at how a string begins. False if that isn't there yet. */
  private string(bytes: Uint8Array, at: number, end: number): boolean {
    this.stringLength = 0
    const next = this.integer(bytes, at, end, plain.mask)
    if (next < 0) return false
    this.stringAt = next
    this.stringLength = this.value
    return true
  }

  /** Where an integer ends; -1 if that is further on. That it is too large is for the decoder to find. */
  private integer(bytes: Uint8Array, at: number, end: number, mask: number): number {
    if (at >= end) return -1
    this.value = (bytes[at] as number) & mask
    if (this.value < mask) return at + 1
    for (let i = 1, unit = 1; i < maxIntegerBytes; i++, unit *= 128) {
      if (at + i >= end) return -1
      const byte = bytes[at + i] as number
      this.value += (byte & 0x7f) * unit
      if (byte < 0x80) return at + i + 1
    }
    return at + maxIntegerBytes
  }
}
