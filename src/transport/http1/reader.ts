/**
 * The reader: bytes of one connection of HTTP/1.1, in whatever pieces they come, become its requests, one after the other.
 * No I/O: it is given what was read, and says what it found.
 *
 * Source: RFC 9112.
 */
import type { Field } from "../http2/hpack.ts"
import { ChunkReader } from "./chunks.ts"
import { HeadReader, type Http1Head } from "./head.ts"
import { LineReader } from "./lines.ts"

/** What is found in a request, in this order. Bytes are valid during the call only. */
export interface RequestEvents {
  readonly head: (head: Http1Head) => void
  /** A piece of the body, bytes[start, end). */
  readonly data: (bytes: Uint8Array, start: number, end: number) => void
  readonly end: (trailers: ReadonlyArray<Field>) => void
}

const noTrailers: ReadonlyArray<Field> = []

/** Reads requests whose heads have at most so many bytes, 32 more counted for each field; and their trailers as many. */
export class RequestReader {
  private readonly events: RequestEvents
  private readonly scheme: string
  private readonly maxHeadSize: number
  private readonly lines = new LineReader()
  private readonly data: (bytes: Uint8Array, start: number, end: number) => void
  private head: HeadReader
  private chunks: ChunkReader | undefined
  // What is to come of a body that said its length.
  private left = 0
  // The head of the request whose body is being read.
  private headSize = 0

  constructor(events: RequestEvents, scheme: string, maxHeadSize: number) {
    this.events = events
    this.scheme = scheme
    this.maxHeadSize = maxHeadSize
    this.head = new HeadReader(scheme, maxHeadSize)
    this.data = (bytes, start, end) => events.data(bytes, start, end)
  }

  /** How many bytes are to come of the body that is being read; Infinity where nobody has said it. */
  get toCome(): number {
    return this.chunks === undefined ? this.left : Number.POSITIVE_INFINITY
  }

  /** How many bytes are held of the request that isn't whole, its body aside. */
  get holding(): number {
    return this.headSize + this.head.size + this.lines.length + (this.chunks?.trailersSize ?? 0)
  }

  /** Reads on, to the end of the request that it is in at most. Gives where it stopped. Throws `Refused`. */
  read(bytes: Uint8Array, from: number): number {
    let at = from
    while (at < bytes.length) {
      const { next, over } = this.step(bytes, at)
      if (next < 0) return bytes.length
      at = next
      if (over) break
    }
    return at
  }

  private step(bytes: Uint8Array, from: number): { readonly next: number; readonly over: boolean } {
    if (this.chunks !== undefined) return this.readChunks(this.chunks, bytes, from)
    if (this.left > 0) return this.readBody(bytes, from)
    const { next, head } = this.head.read(this.lines, bytes, from)
    if (head === undefined) return { next, over: false }
    this.head = new HeadReader(this.scheme, this.maxHeadSize)
    if (head.chunked) this.chunks = new ChunkReader(this.maxHeadSize)
    else this.left = Math.max(0, head.contentLength)
    this.events.head(head)
    const over = !head.chunked && this.left === 0
    this.headSize = over ? 0 : head.size
    if (over) this.events.end(noTrailers)
    return { next, over }
  }

  private readBody(bytes: Uint8Array, from: number): { readonly next: number; readonly over: boolean } {
    const next = Math.min(bytes.length, from + this.left)
    this.left -= next - from
    const over = this.left === 0
    this.events.data(bytes, from, next)
    if (!over) return { next, over }
    this.headSize = 0
    this.events.end(noTrailers)
    return { next, over }
  }

  private readChunks(
    chunks: ChunkReader,
    bytes: Uint8Array,
    from: number,
  ): { readonly next: number; readonly over: boolean } {
    const { next, over } = chunks.read(this.lines, bytes, from, this.data)
    if (over !== true) return { next, over: false }
    this.chunks = undefined
    this.headSize = 0
    this.events.end(chunks.trailers)
    return { next, over: true }
  }
}
