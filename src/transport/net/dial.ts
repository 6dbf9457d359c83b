/**
 * One connection to a server, over HTTP/2 without TLS. The only file that dials.
 */
import * as http2 from "node:http2"
import { Code, ConnectError } from "@connectrpc/connect"

/** What Connect-ES takes for a session, and a way to close it. */
export interface Dialed {
  readonly authority: string
  readonly request: (
    method: string,
    path: string,
    headers: http2.OutgoingHttpHeaders,
    options: http2.ClientSessionRequestOptions,
  ) => Promise<http2.ClientHttp2Stream>
  readonly notifyResponseByteRead: () => void
  readonly close: () => void
}

/**
 * What arrives on a stream, chunk by chunk. Deno destroys a stream when its end arrives, read or not, and its own iterator
 * gives up then; what is left can still be read.
 */
const chunks = async function* (stream: http2.ClientHttp2Stream): AsyncGenerator<Uint8Array, undefined> {
  for (;;) {
    const chunk: Uint8Array | null = stream.read()
    if (chunk !== null) yield chunk
    else if (stream.destroyed || stream.readableEnded) return
    else {
      await new Promise<void>((resolve) => {
        const wake = () => {
          for (const event of events) stream.off(event, wake)
          resolve()
        }
        for (const event of events) stream.on(event, wake)
      })
    }
  }
}

const events = ["readable", "end", "error", "close"]

/**
 * A connection that opens when it is first used, and again when it was lost or the server said that it goes away: then
 * the calls that run on the old one may end there.
 *
 * Connect-ES has a session manager of its own. It loops forever where a connection is lost as soon as it is made, and
 * leaves its errors without a listener then, which ends the process.
 */
export const dial = (origin: string): Dialed => {
  // Said in each request, since Deno leaves out the brackets of an IPv6 address.
  const { host } = new URL(origin)
  const sessions = new Set<http2.ClientHttp2Session>()
  let current: Promise<http2.ClientHttp2Session> | undefined
  let closed = false

  const open = (): Promise<http2.ClientHttp2Session> => {
    const session = http2.connect(origin)
    sessions.add(session)
    const opened = new Promise<http2.ClientHttp2Session>((resolve, reject) => {
      const leave = () => {
        if (current === opened) current = undefined
      }
      session.once("connect", () => resolve(session))
      session.on("error", (error) => {
        leave()
        reject(error)
      })
      session.once("goaway", leave)
      session.once("close", () => {
        leave()
        sessions.delete(session)
        reject(new ConnectError("the connection was lost", Code.Unavailable))
      })
    })
    return opened
  }

  return {
    authority: origin,
    request: async (method, path, headers, options) => {
      if (closed) throw new ConnectError("the channel is closed", Code.Canceled)
      current ??= open()
      const session = await current
      if (session.closed || session.destroyed) throw new ConnectError("the connection was lost", Code.Unavailable)
      const stream = session.request({ ...headers, ":authority": host, ":method": method, ":path": path }, options)
      return Object.assign(stream, { [Symbol.asyncIterator]: () => chunks(stream) })
    },
    notifyResponseByteRead: () => {},
    close: () => {
      closed = true
      for (const session of sessions) session.destroy()
    },
  }
}
