/**
 * A pump: moves bytes between a connection and its socket, in either role, once a turn and no faster than either takes
 * them.
 */
import type * as net from "node:net"
import type { Connection } from "../http2/connection.ts"
import { ConnectionError, errorCode } from "../http2/frames.ts"
import { MemoryBudget } from "../http2/memory.ts"
import { Output } from "../http2/output.ts"

export interface PumpOptions<T> {
  readonly socket: net.Socket
  /** Makes the connection, given what it tells that bytes wait to be sent. */
  readonly connection: (output: () => void) => Connection<T>
  /**
   * A server stops reading from a peer that leaves too much of its output lying; a client doesn't.
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
  readonly role: "server" | "client"
  /** What those bytes are taken from that the socket holds while the peer reads too little. Default: no bound. */
  readonly memory?: MemoryBudget
  /**
   * How long the peer may take for the last bytes, and to close its side, before it is cut off: in milliseconds. Where the
   * connection has failed, or was given up, it is a second at most.
   */
  readonly linger: number
  /** Something was thrown here that speaks of no fault of the peer's: a defect. This connection has to end, and no other. */
  readonly died: (defect: unknown) => void
  /** What was to be done in this turn is done, and what there was to send is sent as far as it goes. */
  readonly flushed?: () => void
  /** A frame or a header block has begun to arrive and isn't whole: see `halfSince`. */
  readonly half?: () => void
}

// What a peer that says nothing has to close its side once all is sent: grpc-go's servers wait as long.
const partingMillis = 1000

// What a peer may have under way that knows nothing of the end yet, as a window has it: so much is read and dropped. Behind
// that nothing is read any more, so that it costs neither time nor memory.
const mostDropped = 8 * 1024 * 1024

// A callback costs more than it saves for what is short.
const callbackFrom = 32_768

/** What is done once the socket has sent bytes: it has copied them, or given up. */
const sent = (bytes: Uint8Array): (() => void) | undefined =>
  bytes.length < callbackFrom ? undefined : () => Output.giveBack(bytes)

/** What ends a connection whose peer doesn't send the rest of what it has begun. */
export const unfinished = (millis: number): ConnectionError =>
  new ConnectionError(errorCode.enhanceYourCalm, `a frame or a header block wasn't whole after ${millis} ms`)

export class Pump<T> {
  readonly connection: Connection<T>
  /** When the peer last gave a sign of life, by `performance.now`: it sent something, or took what it had left lying. */
  heardAt = performance.now()
  /** Since when what arrives is half a frame, or half a header block, by `performance.now`; Infinity if it isn't, or isn't read. */
  halfSince = Number.POSITIVE_INFINITY
  private readonly socket: net.Socket
  private readonly role: "server" | "client"
  private readonly linger: number
  private readonly memory: MemoryBudget
  // How many bytes are taken from it.
  private unsent = 0
  private readonly died: (defect: unknown) => void
  private readonly flushed: (() => void) | undefined
  private readonly halved: (() => void) | undefined
  // Which frame or header block that is.
  private half = 0
  private scheduled = false
  private writable = true
  private fullSince = Number.POSITIVE_INFINITY
  private ending = false
  // How many bytes have come since.
  private dropped = 0
  private cut: NodeJS.Timeout | undefined
  private quiet: NodeJS.Timeout | undefined

  constructor({ socket, connection, role, memory, linger, died, flushed, half }: PumpOptions<T>) {
    this.socket = socket
    this.role = role
    this.memory = memory ?? new MemoryBudget("connection", Number.POSITIVE_INFINITY)
    this.linger = linger
    this.died = died
    this.flushed = flushed
    this.halved = half
    this.connection = connection(() => this.schedule())
    socket.on("data", (chunk: Buffer) => this.receive(chunk))
    socket.on("drain", () => this.resume())
    socket.once("close", () => {
      clearTimeout(this.cut)
      clearTimeout(this.quiet)
      try {
        this.connection.abandon()
      } catch (defect) {
        this.died(defect)
      }
    })
  }

  /** Since when the socket takes nothing, by `performance.now`; Infinity while it does. */
  get stalledSince(): number {
    return this.fullSince
  }

  /** True once the socket has been told to close when it has sent the last. */
  get closing(): boolean {
    return this.ending
  }

  /** Takes in what was read from the socket. */
  receive(chunk: Uint8Array): void {
    if (this.ending) return this.drop(chunk)
    this.heardAt = performance.now()
    try {
      this.connection.receive(chunk)
    } catch (defect) {
      return this.died(defect)
    }
    this.watch()
    this.flush()
  }

  private drop(chunk: Uint8Array): void {
    this.dropped += chunk.length
    if (this.dropped > mostDropped) this.socket.pause()
    else this.quiet?.refresh()
  }

  /** Sees whether another frame or header block is half there. */
  private watch(): void {
    const { half } = this.connection
    if (half === this.half) return
    this.half = half
    this.waitForRest()
  }

  private waitForRest(): void {
    this.halfSince = this.half === 0 ? Number.POSITIVE_INFINITY : this.heardAt
    if (this.half !== 0) this.halved?.()
  }

  /** Sends what there is to send as far as the socket takes it, and closes the socket once the connection is done. */
  flush(): void {
    this.scheduled = false
    if (this.ending) return
    try {
      this.send()
    } catch (defect) {
      this.died(defect)
    }
  }

  private send(): void {
    const { connection, socket } = this
    // What the socket doesn't take stays where it is counted; the last words are the socket's in any case.
    while (this.writable || connection.over) {
      const bytes = connection.take()
      if (bytes.length === 0) break
      if (socket.write(bytes, sent(bytes))) continue
      this.setWritable(false)
      this.hold(bytes.length)
    }
    if (this.role === "server" && connection.congested) {
      socket.pause()
      // The rest of what is half there waits for us now.
      this.halfSince = Number.POSITIVE_INFINITY
    }
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
    if (this.ending) return
    this.heardAt = performance.now()
    this.setWritable(true)
    this.hold(0)
    this.socket.resume()
    this.waitForRest()
    this.flush()
  }

  /** Takes from the memory what waits in the socket. Who doesn't read, and has no memory left for it, is cut off. */
  private hold(bytes: number): void {
    const more = bytes - this.unsent
    if (more < 0) this.memory.give(-more)
    else if (this.memory.take(more) !== undefined) {
      this.socket.destroy()
      return
    }
    this.unsent = bytes
  }

  private setWritable(to: boolean): void {
    this.writable = to
    this.fullSince = to ? Number.POSITIVE_INFINITY : performance.now()
    this.connection.setWritable(to)
  }

  private end(): void {
    const { socket, connection } = this
    this.ending = true
    // What has failed, or was given up, has no responses that the peer may still be reading: last words are short.
    const linger = connection.over ? Math.min(partingMillis, this.linger) : this.linger
    // The other side closes first, or is given up. A socket that is closed here while the peer still sends, as it does to
    // open windows, is reset, and what the peer hasn't read of the last answers is lost (RFC 9112, section 9.6).
    socket.end(() => {
      if (socket.destroyed) return
      this.quiet = setTimeout(() => socket.destroy(), Math.min(partingMillis, this.linger))
      this.quiet.unref()
    })
    socket.resume()
    // Not the socket's own timeout: Bun's doesn't come any more once a socket is ending.
    this.cut = setTimeout(() => socket.destroy(), linger)
    this.cut.unref()
  }
}
