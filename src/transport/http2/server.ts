/**
 * A server's connection whose streams have handlers: gives each request to `accept`, and each later event to whoever
 * took it.
 */
import { Connection } from "./connection.ts"
import type { Events, Head } from "./events.ts"
import type { ConnectionError } from "./frames.ts"
import { type Accept, answered, type ServerConnection, type ServerStream, type StreamHandler } from "./handler.ts"
import type { Field } from "./hpack.ts"
import { defaultLimits, type Limits } from "./limits.ts"
import type { MemoryBudget } from "./memory.ts"

export interface SocketSide {
  /** Bytes wait to be sent. */
  readonly output: () => void
  /** The peer has broken the rules: send what is there to send, then close. */
  readonly failed: (error: ConnectionError) => void
  /** The response to a request whose head is too large, given its essential fields. `undefined` for status 431. */
  readonly headTooLarge?: (
    essentials: ReadonlyArray<Field>,
    maxHeaderListSize: number,
  ) => ReadonlyArray<Field> | undefined
}

const status431 = Object.freeze([{ name: ":status", value: "431" }])

const goOn = Object.freeze([{ name: ":status", value: "100" }])

export const serverConnection = (
  accept: Accept,
  socket: SocketSide,
  limits: Limits = defaultLimits,
  memory?: MemoryBudget,
): ServerConnection => new HandlerEvents(accept, socket, limits, memory).connection

// A class, since closures for each event would make up much of an idle connection.
class HandlerEvents implements Events<StreamHandler> {
  readonly connection: ServerConnection
  private readonly accept: Accept
  private readonly socket: SocketSide
  private readonly limits: Limits

  constructor(accept: Accept, socket: SocketSide, limits: Limits, memory: MemoryBudget | undefined) {
    this.accept = accept
    this.socket = socket
    this.limits = limits
    this.connection = new Connection<StreamHandler>(this, { role: "server", limits, ...(memory && { memory }) })
  }

  head(stream: ServerStream, head: Head): void {
    // A server's connection parses requests only.
    if (!("method" in head)) return
    if (head.expectsContinue) this.connection.sendHeaders(stream, goOn, false)
    this.accept(this.connection, stream, head)
  }

  headTooLong(stream: ServerStream, essentials: ReadonlyArray<Field>): void {
    const response = this.socket.headTooLarge?.(essentials, this.limits.maxHeaderListSize) ?? status431
    stream.context = answered(this.connection, stream)
    this.connection.sendHeaders(stream, response, true)
  }

  // A server's connection resets the streams of such requests.
  trailersTooLong(): void {}

  data(stream: ServerStream, bytes: Uint8Array, start: number, end: number): void {
    stream.context?.data(bytes, start, end)
  }

  end(stream: ServerStream, trailers: ReadonlyArray<Field>): void {
    stream.context?.end(trailers)
  }

  reset(stream: ServerStream, code: number): void {
    stream.context?.reset(code)
  }

  drained(stream: ServerStream): void {
    stream.context?.drained()
  }

  exhausted(stream: ServerStream, budget: MemoryBudget): void {
    stream.context?.exhausted?.(budget)
  }

  goaway(): void {}

  pong(): void {}

  settings(): void {}

  output(): void {
    this.socket.output()
  }

  failed(error: ConnectionError): void {
    this.socket.failed(error)
  }
}
