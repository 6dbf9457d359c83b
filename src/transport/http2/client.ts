/**
 * A client's connection whose streams have handlers.
 */
import { Connection } from "./connection.ts"
import { type ConnectionError, errorCode } from "./frames.ts"
import type { ResponseHead } from "./head.ts"
import type { Field } from "./hpack.ts"
import type { Stream } from "./stream.ts"

/** What happens on one stream that a client has opened. */
export interface ResponseHandler {
  /** The response has begun. */
  readonly head: (head: ResponseHead) => void
  /** A piece of its body, valid during the call only. Whoever has taken it in tells the connection. */
  readonly data: (bytes: Uint8Array, start: number, end: number) => void
  /** It has ended. */
  readonly end: (trailers: ReadonlyArray<Field>) => void
  /** The stream was cut short. */
  readonly reset: (code: number) => void
  /** What waited to be sent is on its way. */
  readonly drained: () => void
}

export type ClientConnection = Connection<ResponseHandler>
export type ClientStream = Stream<ResponseHandler>

export interface ClientSide {
  /** Bytes wait to be sent. */
  readonly output: () => void
  /** The server takes no more streams on this connection. */
  readonly goaway: () => void
  /** A stream has ended, or the server has new settings: one that had to wait may be opened now. */
  readonly room: () => void
  /** The server has broken the rules: send what is there to send, then close. */
  readonly failed: (error: ConnectionError) => void
}

export const clientConnection = (side: ClientSide): ClientConnection => {
  const connection: ClientConnection = new Connection<ResponseHandler>(
    {
      head: (stream, head) => {
        // A client's connection parses responses only, and informational ones say nothing that matters here.
        if ("status" in head && head.status >= 200) stream.context?.head(head)
      },
      headTooLong: (stream) => {
        connection.reset(stream, errorCode.enhanceYourCalm)
        stream.context?.reset(errorCode.enhanceYourCalm)
      },
      data: (stream, bytes, start, end) => stream.context?.data(bytes, start, end),
      end: (stream, trailers) => {
        stream.context?.end(trailers)
        side.room()
      },
      reset: (stream, code) => {
        stream.context?.reset(code)
        side.room()
      },
      drained: (stream) => stream.context?.drained(),
      goaway: side.goaway,
      pong: () => {},
      settings: side.room,
      output: side.output,
      failed: side.failed,
    },
    { role: "client" },
  )
  return connection
}
