/**
 * A server's connection whose streams have handlers: gives each request to `accept`, and each later event to whoever
 * took it.
 */
import { Connection } from "./connection.ts"
import type { ConnectionError } from "./frames.ts"
import { type Accept, answered, type ServerConnection, type StreamHandler } from "./handler.ts"
import type { Limits } from "./limits.ts"

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
  limits: Partial<Limits> | undefined,
): ServerConnection => {
  const connection: ServerConnection = new Connection<StreamHandler>(
    {
      head: (stream, head) => {
        // A server's connection parses requests only.
        if (!("method" in head)) return
        if (head.expectsContinue) connection.sendHeaders(stream, goOn, false)
        accept(connection, stream, head)
      },
      headTooLong: (stream) => {
        stream.context = answered(connection, stream)
        connection.sendHeaders(stream, [{ name: ":status", value: "431" }], true)
      },
      data: (stream, bytes, start, end) => stream.context?.data(bytes, start, end),
      end: (stream, trailers) => stream.context?.end(trailers),
      reset: (stream, code) => stream.context?.reset(code),
      drained: (stream) => stream.context?.drained(),
      goaway: () => {},
      pong: () => {},
      settings: () => {},
      output: socket.output,
      failed: socket.failed,
    },
    { role: "server", ...(limits === undefined ? {} : { limits }) },
  )
  return connection
}
