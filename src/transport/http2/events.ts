/**
 * Events: what a connection tells its user.
 */
import type { ConnectionError } from "./frames.ts"
import type { RequestHead, ResponseHead } from "./head.ts"
import type { Field } from "./hpack.ts"
import type { MemoryBudget } from "./memory.ts"
import type { Settings } from "./settings.ts"
import type { Stream } from "./stream.ts"

export type Head = RequestHead | ResponseHead

/** What happens on a connection. Bytes are valid during the call only. `T` is what the user keeps with a stream. */
export interface Events<T> {
  /** A request has begun (at a server), or a response (at a client, where 1xx ones may come before it). */
  readonly head: (stream: Stream<T>, head: Head) => void
  /**
   * The head was larger than `maxHeaderListSize`, and has been dropped but for its essential fields. At a server a response
   * is due that says so.
   */
  readonly headTooLong: (stream: Stream<T>, essentials: ReadonlyArray<Field>) => void
  /** At a client: the trailers were, and with them the response has ended. */
  readonly trailersTooLong: (stream: Stream<T>, essentials: ReadonlyArray<Field>) => void
  /** A piece of the body. Whoever has taken it in says so with `taken`; until then it counts against the windows. */
  readonly data: (stream: Stream<T>, bytes: Uint8Array, start: number, end: number) => void
  /** The peer has said all on this stream; the trailers are empty if it sent none. */
  readonly end: (stream: Stream<T>, trailers: ReadonlyArray<Field>) => void
  /** The stream was cut short: by the peer, for its fault, or with the connection. */
  readonly reset: (stream: Stream<T>, code: number) => void
  /**
   * There is no memory for what the stream holds; what waited to be sent is dropped. Whoever can ends the stream now and
   * says so; else it is reset.
   */
  readonly exhausted: (stream: Stream<T>, budget: MemoryBudget) => void
  /** All that was written to the stream has gone to the output. */
  readonly drained: (stream: Stream<T>) => void
  /** The peer takes no stream above `lastStreamId` any more. */
  readonly goaway: (lastStreamId: number, code: number) => void
  /** A PING of ours was answered. */
  readonly pong: () => void
  /** The peer's settings have come, the first ones or new ones. */
  readonly settings: (settings: Settings) => void
  /** Bytes wait in the output, and nobody is about to take them. Called once until they are taken. */
  readonly output: () => void
  /** The connection is over for the peer's fault: send the output, then close. */
  readonly failed: (error: ConnectionError) => void
}
