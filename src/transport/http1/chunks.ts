/**
 * Chunks: a body whose pieces say how long they are, and the trailers behind it.
 *
 * Source: RFC 9112, section 7.1.
 */
import { connectionSpecific } from "../http2/head.ts"
import { type Field, sizeOf } from "../http2/hpack.ts"
import { parseField } from "./fields.ts"
import { fieldsTooLarge } from "./head.ts"
import type { LineReader } from "./lines.ts"
import { Refused } from "./refused.ts"

// A size of 13 digits is a number that is exact. An extension means nothing to us, but is no white space alone.
const pattern = /^([0-9A-Fa-f]{1,13})(?:[ \t]*;.*)?$/
const maxLine = 256
// What isn't data may be so much in all, beyond 16 bytes a chunk and twice the data: as in net/http of Go.
const maxOverhead = 16_384
const freeOverhead = 16

const lineTooLong = () => new Refused(400, "the line of a chunk is longer than is taken: leave out its extensions")

// What the body was framed and addressed by can't come behind it (RFC 9110, section 6.5.1).
const neverTrailers: ReadonlySet<string> = new Set([...connectionSpecific, "content-length", "host"])

type Place = "size" | "data" | "end" | "trailers"

/** Reads one body. */
export class ChunkReader {
  readonly trailers: Array<Field> = []
  private place: Place = "size"
  private left = 0
  private overhead = 0
  private readonly maxTrailersSize: number
  private trailersLeft: number

  constructor(maxTrailersSize: number) {
    this.maxTrailersSize = maxTrailersSize
    this.trailersLeft = maxTrailersSize
  }

  /** How large the trailers are so far. */
  get trailersSize(): number {
    return this.maxTrailersSize - this.trailersLeft
  }

  /**
   * Reads a line, or a piece of data, which it gives to `data`. Gives where the bytes behind it are, and -1 if a line isn't
   * whole; `over` with the last line.
   */
  read(
    lines: LineReader,
    bytes: Uint8Array,
    from: number,
    data: (bytes: Uint8Array, start: number, end: number) => void,
  ): { readonly next: number; readonly over?: true } {
    switch (this.place) {
      case "size":
        return { next: this.size(lines, bytes, from) }
      case "data": {
        const end = Math.min(bytes.length, from + this.left)
        this.left -= end - from
        if (this.left === 0) this.place = "end"
        data(bytes, from, end)
        return { next: end }
      }
      case "end": {
        const next = lines.read(bytes, from, maxLine, lineTooLong)
        if (next < 0) return { next }
        if (lines.line !== "") throw new Refused(400, "a chunk is longer than it says")
        this.place = "size"
        return { next }
      }
      case "trailers":
        return this.trailer(lines, bytes, from)
    }
  }

  private size(lines: LineReader, bytes: Uint8Array, from: number): number {
    const next = lines.read(bytes, from, maxLine, lineTooLong)
    if (next < 0) return next
    const [, digits] = pattern.exec(lines.line) ?? []
    if (digits === undefined) throw new Refused(400, "a chunk begins with something else than its size")
    this.left = Number.parseInt(digits, 16)
    this.overhead = Math.max(0, this.overhead + lines.line.length - freeOverhead - 2 * this.left)
    if (this.overhead > maxOverhead) throw new Refused(400, "the chunks have more extensions than are taken")
    this.place = this.left === 0 ? "trailers" : "data"
    return next
  }

  private trailer(lines: LineReader, bytes: Uint8Array, from: number): { readonly next: number; readonly over?: true } {
    const next = lines.read(bytes, from, this.trailersLeft, fieldsTooLarge)
    if (next < 0) return { next }
    if (lines.line === "") return { next, over: true }
    const field = parseField(lines.line)
    if (neverTrailers.has(field.name)) throw new Refused(400, `${field.name} is no field for a trailer`)
    this.trailersLeft -= sizeOf(field)
    this.trailers.push(field)
    return { next }
  }
}
