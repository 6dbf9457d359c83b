/**
 * A line to a server: one HTTP/2 connection at a time, opened when it is first used, and again when it was lost. The only
 * file that dials.
 */
import * as net from "node:net"
import { type ClientConnection, type ClientStream, clientConnection, type ResponseHandler } from "../http2/client.ts"
import type { Field } from "../http2/hpack.ts"
import { Pump } from "./pump.ts"

/** A stream that was opened, and the connection it is on. */
export interface Opened {
  readonly connection: ClientConnection
  readonly stream: ClientStream
}

export interface Line {
  /** Opens a stream, as soon as the server takes one more. Fails if there is no connection to be had. */
  readonly open: (fields: ReadonlyArray<Field>, handler: ResponseHandler) => Promise<Opened>
  /** Cuts the line: running streams are reset, and no more can be opened. */
  readonly close: () => void
}

// gRPC's default for a peer that owes us a sign of life.
const lingerMillis = 20_000

/** The line was closed on this side. */
export class LineClosed extends Error {
  constructor() {
    super("the channel is closed")
    this.name = "LineClosed"
  }
}

/** Why there is no connection. */
export class LineError extends Error {
  constructor(message: string, cause?: unknown) {
    super(message, { cause })
    this.name = "LineError"
  }
}

interface Session {
  readonly connection: ClientConnection
  /** Resolves when there may be room for one more stream, or the connection takes no more. */
  readonly room: () => Promise<void>
  readonly close: () => void
}

/** Connects. `left` is called once the connection takes no more streams, whatever the reason. */
const connect = (host: string, port: number, left: () => void, ended: (session: Session) => void): Promise<Session> =>
  new Promise((resolve, reject) => {
    const socket = net.connect({ host, port })
    socket.setNoDelay(true)
    let waiting: Array<() => void> = []

    const wake = () => {
      const woken = waiting
      waiting = []
      for (const resume of woken) resume()
    }
    const leave = () => {
      left()
      wake()
    }
    // Before the pump ends the streams: what is tried again at once goes to another connection.
    socket.once("close", leave)
    const pump: Pump<ResponseHandler> = new Pump({
      socket,
      connection: (output) => clientConnection({ output, goaway: leave, room: wake, failed: leave }),
      role: "client",
      linger: lingerMillis,
    })
    // Behind the pump's: what is opened now isn't held up by what waited before.
    socket.on("drain", wake)
    const session: Session = {
      connection: pump.connection,
      room: () => new Promise<void>((resume) => waiting.push(resume)),
      close: () => socket.destroy(),
    }

    socket.once("connect", () => {
      pump.flush()
      resolve(session)
    })
    socket.on("error", (error) => {
      leave()
      reject(new LineError(error.message, error))
    })
    socket.once("close", () => {
      ended(session)
      reject(new LineError("the connection was lost"))
    })
  })

/** A line to a host and port. Nothing happens before the first stream. */
export const dial = (host: string, port: number): Line => {
  const sessions = new Set<Session>()
  let current: Promise<Session> | undefined
  let closed = false

  const session = (): Promise<Session> => {
    if (current !== undefined) return current
    const opening = connect(
      host,
      port,
      () => {
        if (current === opening) current = undefined
      },
      (ended) => sessions.delete(ended),
    )
    current = opening
    return opening
  }

  return {
    open: async (fields, handler) => {
      for (;;) {
        if (closed) throw new LineClosed()
        const one = await session()
        sessions.add(one)
        const { connection } = one
        const stream = connection.open(fields, handler)
        if (stream !== undefined) return { connection, stream }
        if (connection.over) throw new LineError("the connection was lost")
        await one.room()
      }
    },
    close: () => {
      closed = true
      for (const one of sessions) one.close()
      // One that is still being opened is closed when it is.
      current?.then((one) => one.close()).catch(() => {})
    },
  }
}
