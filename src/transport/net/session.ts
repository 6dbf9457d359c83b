/**
 * A session: an HTTP/2 connection of a server on its socket. It moves bytes between the two, once a turn, and no faster
 * than either takes them.
 */
import type * as net from "node:net"
import type { Accept } from "../http2/handler.ts"
import type { Limits } from "../http2/limits.ts"
import { serverConnection } from "../http2/server.ts"

export interface Session {
  /** Tells the peer to begin no more calls, lets those that run end, and then closes the socket. */
  readonly drain: () => void
  /** Ends what runs with an answer that says so, and then closes the socket. */
  readonly stop: () => void
}

/** `prefaceMillis` is how long the peer may take for its preface; then the socket is closed. */
export const session = (
  socket: net.Socket,
  first: Uint8Array,
  accept: Accept,
  prefaceMillis: number,
  limits?: Partial<Limits>,
): Session => {
  let scheduled = false
  let writable = true
  let silence: NodeJS.Timeout | undefined = setTimeout(() => socket.destroy(), prefaceMillis)
  let draining = false

  const setWritable = (to: boolean) => {
    writable = to
    connection.setWritable(to)
  }

  const flush = () => {
    scheduled = false
    // What the socket doesn't take stays where it is counted; the last words are the socket's in any case.
    while (writable || connection.over) {
      const bytes = connection.take()
      if (bytes.length === 0) break
      if (!socket.write(bytes)) setWritable(false)
    }
    // A peer that doesn't read what it asked for gets no more of our attention until it does.
    if (connection.congested) socket.pause()
    if (connection.over || (draining && connection.openStreams === 0 && writable)) socket.destroySoon()
  }

  const connection = serverConnection(
    accept,
    {
      output: () => {
        if (scheduled) return
        scheduled = true
        // All that programs answer in this turn leaves in one write.
        queueMicrotask(flush)
      },
      failed: () => {},
    },
    limits,
  )

  const receive = (chunk: Uint8Array) => {
    connection.receive(chunk)
    if (silence !== undefined && connection.begun) {
      clearTimeout(silence)
      silence = undefined
    }
    flush()
  }
  socket.on("data", receive)
  socket.on("drain", () => {
    setWritable(true)
    socket.resume()
    flush()
  })
  socket.once("close", () => {
    clearTimeout(silence)
    connection.abandon()
  })
  receive(first)

  return {
    stop: () => {
      for (const stream of connection.all()) stream.context?.stop()
      flush()
    },
    drain: () => {
      draining = true
      connection.drain()
      flush()
    },
  }
}
