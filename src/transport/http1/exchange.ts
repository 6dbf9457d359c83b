/**
 * An exchange over HTTP/1.1: one request of a connection, and its response.
 */
import { Buffer } from "node:buffer"
import type { Peer } from "../../core/rpc/call.ts"
import type { Exchange, RequestHandler } from "../exchange.ts"
import { type ErrorCode, errorCode } from "../http2/frames.ts"
import type { Field } from "../http2/hpack.ts"
import type { Http1Head } from "./head.ts"
import type { Output } from "./output.ts"
import { type BodyEnd, chunkEnd, chunkStart, headBytes, lastChunk } from "./response.ts"

/** What an exchange needs of its connection. */
export interface Carrying {
  /** Holds so many more bytes of a response. False if no memory is left for them: then the exchange is over. */
  readonly hold: (length: number) => boolean
  /** Bytes wait to be sent. True if more of them are welcome now. */
  readonly wrote: () => boolean
  /** The handler has taken in bytes of the body, and holds so many less. */
  readonly consumed: (length: number, released: number) => void
  /** What waits to be sent at this time, by `performance.now`, is dropped, and the connection with it. */
  readonly sendBy: (at: number) => void
  /** The exchange is to be cut short. */
  readonly cut: (code: ErrorCode) => void
}

/** Whether the responses to requests of a method have a body, and those with a status (RFC 9110, section 6.4.1). */
const hasBody = (method: string, status: number): boolean => method !== "HEAD" && status !== 204 && status !== 304

const closes = ({ name, value }: Field): boolean => name === "connection" && value === "close"

export class Http1Exchange implements Exchange {
  readonly peer: Peer
  readonly hasTrailers = false
  // The client says nothing of it.
  readonly maxHeaderListSize = Number.POSITIVE_INFINITY
  closed = false
  /** Who handles the request, once somebody does. */
  handler: RequestHandler | undefined
  /** True if another request may follow on the connection. */
  persistent: boolean
  /** True once all of the response was said. */
  ended = false
  /** True once the head has gone to the output. */
  headSent = false
  private readonly carrying: Carrying
  private readonly method: string
  private readonly version: "1.0" | "1.1"
  private status = 0
  private fields: ReadonlyArray<Field> | undefined
  // What was said of the body in this turn: with the head and the end it may be all, and has a length then.
  private said: Array<Uint8Array> = []
  private bodyEnd: BodyEnd = "none"

  constructor(carrying: Carrying, { method, version, persistent }: Http1Head, peer: Peer) {
    this.carrying = carrying
    this.method = method
    this.version = version
    this.persistent = persistent
    this.peer = peer
  }

  /** True once the response has begun. */
  get begun(): boolean {
    return this.fields !== undefined
  }

  sendHeaders(fields: ReadonlyArray<Field>, endStream: boolean): void {
    if (this.closed || this.ended || this.begun) return
    this.status = Number(fields[0]?.value)
    this.fields = fields
    if (fields.some(closes)) this.persistent = false
    this.ended = endStream
    this.carrying.wrote()
  }

  sendData(bytes: Uint8Array): boolean {
    if (this.closed || this.ended || !this.begun || bytes.length === 0) return true
    if (!this.carrying.hold(bytes.length)) return true
    this.said.push(bytes)
    return this.carrying.wrote()
  }

  sendEnd(): void {
    if (this.closed || this.ended || !this.begun) return
    this.ended = true
    this.carrying.wrote()
  }

  reset(code: ErrorCode = errorCode.cancel): void {
    if (!this.closed) this.carrying.cut(code)
  }

  consumed(length: number, released = length): void {
    if (!this.closed) this.carrying.consumed(length, released)
  }

  sendBy(at: number): void {
    if (!this.closed) this.carrying.sendBy(at)
  }

  /** Moves what was said in this turn to the output. */
  flush(output: Output): void {
    const { fields, said } = this
    if (fields === undefined) return
    if (!this.headSent) {
      this.bodyEnd = this.endOf(said)
      if (this.bodyEnd === "close") this.persistent = false
      output.push(headBytes(this.status, fields, this.bodyEnd, this.persistent))
      this.headSent = true
    }
    this.said = []
    if (this.bodyEnd !== "none") for (const piece of said) this.push(output, piece)
    if (!this.ended || this.bodyEnd !== "chunked") return
    output.push(lastChunk)
    this.bodyEnd = "none"
  }

  private endOf(said: ReadonlyArray<Uint8Array>): BodyEnd {
    if (!hasBody(this.method, this.status)) return "none"
    if (this.ended) return said.reduce((sum, { length }) => sum + length, 0)
    return this.version === "1.1" ? "chunked" : "close"
  }

  private push(output: Output, piece: Uint8Array): void {
    if (this.bodyEnd !== "chunked") return output.push(piece)
    // In one piece where it is short.
    if (piece.length < 1024) return output.push(Buffer.concat([chunkStart(piece.length), piece, chunkEnd]))
    output.push(chunkStart(piece.length))
    output.push(piece)
    output.push(chunkEnd)
  }
}
