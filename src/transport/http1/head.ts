/**
 * The head of a request, line by line: what it asks for, and its fields.
 *
 * Source: RFC 9112, sections 2.1 and 9.3.
 */
import { connectionSpecific, type RequestHead } from "../http2/head.ts"
import { type Field, sizeOf } from "../http2/hpack.ts"
import { membersOf, parseField } from "./fields.ts"
import { type Framing, framingOf } from "./framing.ts"
import { authorityOf } from "./host.ts"
import type { LineReader } from "./lines.ts"
import { Refused } from "./refused.ts"
import { parseRequestLine, type RequestLine } from "./requestLine.ts"

/** The head of a request over HTTP/1.1. Its fields are without those that speak of the connection. */
export interface Http1Head extends RequestHead, Framing {
  readonly version: "1.0" | "1.1"
  /** True if the client wants to go on with this connection behind the response (section 9.3). */
  readonly persistent: boolean
  /** Its bytes, and 32 more for each field. */
  readonly size: number
}

const lineEnd = 2

const targetTooLong = () => new Refused(414, "the request line is longer than is taken")
export const fieldsTooLarge = () => new Refused(431, "the fields of the head are more than are taken")

/** Reads one head. It counts as in HTTP/2: its bytes, and 32 more for each field. */
export class HeadReader {
  private readonly scheme: string
  private readonly maxSize: number
  private left: number
  private line: RequestLine | undefined
  private readonly fields: Array<Field> = []

  constructor(scheme: string, maxSize: number) {
    this.scheme = scheme
    this.maxSize = maxSize
    this.left = maxSize
  }

  /** How large the head is so far. */
  get size(): number {
    return this.maxSize - this.left
  }

  /** Reads one line at most. Gives where the bytes behind it are, -1 if it isn't whole; and the head with its last line. */
  read(lines: LineReader, bytes: Uint8Array, from: number): { readonly next: number; readonly head?: Http1Head } {
    const first = this.line === undefined
    const next = lines.read(bytes, from, this.left, first ? targetTooLong : fieldsTooLarge)
    if (next < 0) return { next }
    const { line } = lines
    this.left -= line.length + lineEnd
    if (this.line === undefined) {
      // Section 2.2: some clients send an empty line behind a body.
      if (line !== "") this.line = parseRequestLine(line)
      return { next }
    }
    if (line === "") return { next, head: this.whole(this.line) }
    const field = parseField(line)
    this.left -= sizeOf(field) - field.name.length - field.value.length
    this.fields.push(field)
    return { next }
  }

  private whole({ method, path, authority, version }: RequestLine): Http1Head {
    const all = this.fields
    const framing = framingOf(all, version)
    const connection = membersOf(all, "connection")
    const expectations = membersOf(all, "expect")
    if (expectations.some((expectation) => expectation !== "100-continue")) {
      throw new Refused(417, "Expect has something else than 100-continue")
    }
    return {
      method,
      scheme: this.scheme,
      path,
      authority: authorityOf(all, authority),
      fields: all.filter(({ name }) => name !== "host" && !connectionSpecific.has(name)),
      ...framing,
      expectsContinue: version === "1.1" && expectations.length > 0,
      version,
      persistent: version === "1.1" && !connection.includes("close"),
      size: this.size,
    }
  }
}
