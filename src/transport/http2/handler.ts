/**
 * What happens on one stream that somebody handles: the part of a connection's events that speaks of it.
 */
import type { Connection } from "./connection.ts"
import type { RequestHead } from "./head.ts"
import type { Field } from "./hpack.ts"
import type { MemoryBudget } from "./memory.ts"
import type { Stream } from "./stream.ts"

export interface StreamHandler {
  /** A piece of the body, valid during the call only. Whoever has taken it in tells the connection. */
  readonly data: (bytes: Uint8Array, start: number, end: number) => void
  /** The peer has said all. */
  readonly end: (trailers: ReadonlyArray<Field>) => void
  /** The stream was cut short; nothing can be sent on it any more. */
  readonly reset: (code: number) => void
  /** What waited to be sent is on its way. */
  readonly drained: () => void
  /** There is no memory for what the stream holds. Without this, or if it doesn't end the stream, that is reset. */
  readonly exhausted?: (budget: MemoryBudget) => void
  /** The server ends, and this stream has to end now, with a response that says so. */
  readonly stop: () => void
}

export type ServerConnection = Connection<StreamHandler>
export type ServerStream = Stream<StreamHandler>

/** Takes a request, and puts who handles the rest of it into the stream's context. */
export type Accept = (connection: ServerConnection, stream: ServerStream, head: RequestHead) => void

/** Nothing is left to do on a stream that was answered already. */
export const answered = (connection: ServerConnection, stream: ServerStream): StreamHandler => ({
  data: (_, start, end) => connection.taken(stream, end - start),
  end: () => {},
  reset: () => {},
  drained: () => {},
  stop: () => {},
})
