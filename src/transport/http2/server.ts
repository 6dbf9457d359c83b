/**
 * A server's connection whose streams have handlers: gives each request to `accept`, and each later event to whoever
 * took it.
 */
import { Connection } from "./connection.ts"
import type { Events, Head } from "./events.ts"
import type { ConnectionError } from "./frames.ts"
import { type Accept, answered, type ServerConnection, type ServerStream, type StreamHandler } from "./handler.ts"
import type { Field } from "./hpack.ts"
import type { Limits } from "./limits.ts"
import type { MemoryBudget } from "./memory.ts"

export interface SocketSide {
  /** Bytes wait to be sent. */
  readonly output: () => void
  /** The peer has broken the rules: send what is there to send, then close. */
  readonly failed: (error: ConnectionError) => void
}

const goOn = Object.freeze([{ name: ":status", value: "100" }])

export const serverConnection = (
  accept: Accept,
  socket: SocketSide,
  limits?: Limits,
  memory?: MemoryBudget,
): ServerConnection => new HandlerEvents(accept, socket, limits, memory).connection

// A class, since closures for each event would make up much of an idle connection.
class HandlerEvents implements Events<StreamHandler> {
  readonly connection: ServerConnection
  private readonly accept: Accept
  private readonly socket: SocketSide

  constructor(accept: Accept, socket: SocketSide, limits: Limits | undefined, memory: MemoryBudget | undefined) {
    this.accept = accept
    this.socket = socket
    this.connection = new Connection<StreamHandler>(this, {
      role: "server",
      ...(limits && { limits }),
      ...(memory && { memory }),
    })
  }

  head(stream: ServerStream, head: Head): void {
    // A server's connection parses requests only.
    if (!("method" in head)) return
    if (head.expectsContinue) this.connection.sendHeaders(stream, goOn, false)
    this.accept(this.connection, stream, head)
  }

  headTooLong(stream: ServerStream): void {
    stream.context = answered(this.connection, stream)
    this.connection.sendHeaders(stream, [{ name: ":status", value: "431" }], true)
  }

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
