/**
 * A stream of HTTP/2 as an exchange.
 */
import type { Peer } from "../core/rpc/call.ts"
import type { Exchange } from "./exchange.ts"
import type { ErrorCode } from "./http2/frames.ts"
import type { ServerConnection, ServerStream } from "./http2/handler.ts"
import type { Field } from "./http2/hpack.ts"

export class StreamExchange implements Exchange {
  readonly peer: Peer
  readonly hasTrailers = true
  private readonly connection: ServerConnection
  private readonly stream: ServerStream

  constructor(connection: ServerConnection, stream: ServerStream, peer: Peer) {
    this.connection = connection
    this.stream = stream
    this.peer = peer
  }

  get closed(): boolean {
    return this.stream.closed
  }

  get maxHeaderListSize(): number {
    return this.connection.maxHeaderListSize
  }

  sendHeaders(fields: ReadonlyArray<Field>, endStream: boolean): void {
    this.connection.sendHeaders(this.stream, fields, endStream)
  }

  sendData(bytes: Uint8Array): boolean {
    return this.connection.sendData(this.stream, bytes)
  }

  sendEnd(trailers?: ReadonlyArray<Field>): void {
    this.connection.sendEnd(this.stream, trailers)
  }

  reset(code: ErrorCode): void {
    this.connection.reset(this.stream, code)
  }

  consumed(length: number, released = length): void {
    this.connection.taken(this.stream, length, released)
  }

  sendBy(at: number): void {
    this.connection.sendBy(this.stream, at)
  }
}
