/**
 * A pump: moves bytes between a connection and its socket, in either role, once a turn and no faster than either takes
 * them.
 */
import type * as net from "node:net"
import type { Connection } from "../http2/connection.ts"

export interface PumpOptions<T> {
  readonly socket: net.Socket
  /** Makes the connection, given what it tells that bytes wait to be sent. */
  readonly connection: (output: () => void) => Connection<T>
  /**
   * Whether to stop reading from a peer that leaves too much of our output lying: a server's pump does, a client's
   * doesn't.
   *
   * What a server answers is its clients' doing: one that goes on calling and reads no answer would have it hold ever
   * more. Data is no part of that, since it waits with its stream long before; so a client that keeps to our limits, and
   * reads in the end, may well never be paused. And what a paused server waits for is the socket, not a frame: no
   * WINDOW_UPDATE that it leaves unread could make its output shorter, only the peer's reading can.
   *
   * If both ends did so, each could wait for the other to read: hence a client always reads. What it sends it has
   * begun itself, and it begins no more while too much of it waits (`Connection.open`); what a server may make it answer
   * has a budget.
   */
  readonly pauses: boolean
  /** How long the peer may take none of the last bytes before it is cut off, in milliseconds. */
  readonly linger: number
  /** What was to be done in this turn is done, and what there was to send is sent as far as it goes. */
  readonly flushed?: () => void
}

export class Pump<T> {
  readonly connection: Connection<T>
  /** When the peer last gave a sign of life, by `performance.now`: it sent something, or took what it had left lying. */
  heardAt = performance.now()
  private readonly socket: net.Socket
  private readonly pauses: boolean
  private readonly linger: number
  private readonly flushed: (() => void) | undefined
  private scheduled = false
  private writable = true
  private ending = false

  constructor({ socket, connection, pauses, linger, flushed }: PumpOptions<T>) {
    this.socket = socket
    this.pauses = pauses
    this.linger = linger
    this.flushed = flushed
    this.connection = connection(() => this.schedule())
    socket.on("data", (chunk: Buffer) => this.receive(chunk))
    socket.on("drain", () => this.resume())
    socket.once("close", () => this.connection.abandon())
  }

  /** True once the socket has been told to close when it has sent the last. */
  get closing(): boolean {
    return this.ending
  }

  /** Takes in what was read from the socket. */
  receive(chunk: Uint8Array): void {
    if (this.ending) return
    this.heardAt = performance.now()
    this.connection.receive(chunk)
    this.flush()
  }

  /** Sends what there is to send as far as the socket takes it, and closes the socket once the connection is done. */
  flush(): void {
    const { connection, socket } = this
    this.scheduled = false
    if (this.ending) return
    // What the socket doesn't take stays where it is counted; the last words are the socket's in any case.
    while (this.writable || connection.over) {
      const bytes = connection.take()
      if (bytes.length === 0) break
      if (!socket.write(bytes)) this.setWritable(false)
    }
    if (this.pauses && connection.congested) socket.pause()
    if (connection.over || (connection.done && this.writable)) this.end()
    this.flushed?.()
  }

  // All that is written in this turn leaves in one write.
  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    queueMicrotask(() => this.flush())
  }

  private resume(): void {
    this.heardAt = performance.now()
    this.setWritable(true)
    this.socket.resume()
    this.flush()
  }

  private setWritable(to: boolean): void {
    this.writable = to
    this.connection.setWritable(to)
  }

  private end(): void {
    this.ending = true
    this.socket.setTimeout(this.linger, () => this.socket.destroy())
    this.socket.destroySoon()
  }
}
