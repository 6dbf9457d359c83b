/**
 * A session: an HTTP/2 connection of a server on its socket, from its preface to its end.
 */
import type * as net from "node:net"
import { Duration } from "effect"
import { headTooLarge } from "../grpc/tooLarge.ts"
import type { Accept, StreamHandler } from "../http2/handler.ts"
import type { Limits } from "../http2/limits.ts"
import { serverConnection } from "../http2/server.ts"
import { Alarm, type Wakeable } from "./alarm.ts"
import { Keepalive, type KeepaliveOptions, type KeepaliveTimes, keepaliveTimes } from "./keepalive.ts"
import { Lifetime, type LifetimeOptions, type LifetimeTimes, lifetimeTimes } from "./lifetime.ts"
import type { ConnectionMemory } from "./memory.ts"
import { Pump, unfinished } from "./pump.ts"

/** How long things may take on a connection, in milliseconds. */
export interface SessionTimes {
  /** The client's preface. */
  readonly preface: number
  /** What has begun to arrive: a frame, or a header block. */
  readonly frame: number
  /** What waits to be sent, while none of it goes. */
  readonly send: number
  readonly keepalive: KeepaliveTimes
  readonly lifetime: LifetimeTimes
}

export interface SessionOptions {
  /**
   * How long a client may take for the handshake of TLS, for its first bytes, for HTTP/2's preface, and for the head of
   * each request over HTTP/1.1, be it the first or the next. Default: 30 seconds.
   */
  readonly headersTimeout?: Duration.Input
  /**
   * How long a client may take for a frame of HTTP/2, or for a header block of several, from its first bytes to its last.
   * After that the connection is closed: no other call gets through it meanwhile. Default: `headersTimeout`.
   *
   * Source: RFC 9113, sections 4.3 and 10.5.
   *
   * @example
   * serve(pi, { frameTimeout: "5 seconds" })
   */
  readonly frameTimeout?: Duration.Input
  /**
   * How long a client may take nothing of a response that waits for it, before that is dropped and its stream reset; or
   * nothing of all that is sent to it, before its connection is closed. A call's deadline ends its response too. Give
   * `Duration.infinity` where clients read from a stream as seldom as that. Default: 60 seconds.
   *
   * @example
   * const server = yield* serve(pi, { sendTimeout: "10 minutes" })
   */
  readonly sendTimeout?: Duration.Input
  /** When a client that says nothing is asked whether it is there. It is closed if it isn't. */
  readonly keepalive?: KeepaliveOptions
  /** How long an HTTP/2 connection lasts. */
  readonly connection?: LifetimeOptions
}

export const sessionTimes = ({
  headersTimeout = "30 seconds",
  frameTimeout = headersTimeout,
  sendTimeout = "60 seconds",
  keepalive = {},
  connection = {},
}: SessionOptions): SessionTimes => ({
  preface: Duration.toMillis(headersTimeout),
  frame: Duration.toMillis(frameTimeout),
  send: Duration.toMillis(sendTimeout),
  keepalive: keepaliveTimes(keepalive),
  lifetime: lifetimeTimes(connection),
})

// What a drain waits for a peer to answer: a round trip takes less on almost any network.
const partingMillis = 1000

// So often in that time it is looked whether something of what waits has been sent.
const looksPerTimeout = 4

const ignore = () => {}

export class Session implements Wakeable {
  private readonly socket: net.Socket
  private readonly pump: Pump<StreamHandler>
  private readonly keepalive: Keepalive
  private readonly lifetime: Lifetime
  private readonly alarm = new Alarm(this)
  private readonly prefaceBy: number
  private readonly frameMillis: number
  private readonly sendTimeout: number
  // When it is looked next whether what waits is being sent; Infinity while nothing waits.
  private lookAt = Number.POSITIVE_INFINITY
  // When a drain no longer waits for the peer.
  private partingAt = Number.POSITIVE_INFINITY

  /** What is held for the peer is taken from `memory`. `died` is told of what was thrown where nothing should be, once for each time. */
  constructor(
    socket: net.Socket,
    accept: Accept,
    times: SessionTimes,
    limits: Limits,
    memory: ConnectionMemory,
    died: (defect: unknown) => void,
  ) {
    const now = performance.now()
    this.socket = socket
    this.prefaceBy = now + times.preface
    this.frameMillis = times.frame
    this.sendTimeout = times.send
    this.keepalive = new Keepalive(times.keepalive)
    this.lifetime = new Lifetime(times.lifetime, now, Math.random())
    const begin: Accept = (connection, stream, head) => {
      this.lifetime.begin()
      accept(connection, stream, head)
    }
    this.pump = new Pump({
      socket,
      connection: (output) => serverConnection(begin, { output, failed: ignore, headTooLarge }, limits, memory),
      role: "server",
      memory,
      linger: times.keepalive.timeout,
      died: (defect) => {
        died(defect)
        socket.destroy()
      },
      flushed: () => {
        this.rest()
        this.watchSending()
      },
      half: () => this.alarm.set(this.pump.halfSince + this.frameMillis),
    })
    // Behind the pump's, which ends the streams.
    socket.on("close", () => {
      this.alarm.clear()
      memory.end()
    })
    this.alarm.set(this.next(now))
    this.pump.flush()
  }

  /** Takes in what was read from the socket before the session had it. */
  receive(chunk: Uint8Array): void {
    this.pump.receive(chunk)
  }

  /** Tells the peer to begin no more calls, lets those that run end, and then closes the socket. */
  drain(): void {
    this.pump.connection.drain()
    this.partingAt = Math.min(this.partingAt, performance.now() + partingMillis)
    this.alarm.set(this.partingAt)
  }

  /** Ends what runs with an answer that says so, and then closes the socket. */
  stop(): void {
    for (const stream of this.pump.connection.all()) stream.context?.stop()
    this.pump.flush()
  }

  private rest(): void {
    if (this.lifetime.busy && this.pump.connection.openStreams === 0) this.lifetime.rest(performance.now())
  }

  /** Sees to it that what waits to be sent is looked at. */
  private watchSending(): void {
    if (!this.waits) return
    const { sendsBy } = this.pump.connection
    if (this.lookAt === Number.POSITIVE_INFINITY) {
      this.lookAt = performance.now() + this.sendTimeout / looksPerTimeout
      this.alarm.set(Math.min(this.lookAt, sendsBy))
    } else if (sendsBy < this.lookAt) this.alarm.set(sendsBy)
  }

  private get waits(): boolean {
    const { connection, stalledSince } = this.pump
    return connection.sending || stalledSince !== Number.POSITIVE_INFINITY
  }

  /** Does what is due on the connection. */
  ring(now: number): number {
    const { connection, closing, heardAt } = this.pump
    if (closing) return Number.POSITIVE_INFINITY
    const alive = this.keepalive.due(now, heardAt)
    const lasts = this.lifetime.due(now)
    const stalled = now >= this.pump.stalledSince + this.sendTimeout
    if (stalled || alive === "close" || lasts === "close" || (!connection.begun && now >= this.prefaceBy)) {
      this.socket.destroy()
      return Number.POSITIVE_INFINITY
    }
    if (now >= this.pump.halfSince + this.frameMillis) {
      connection.end(unfinished(this.frameMillis))
      return Number.POSITIVE_INFINITY
    }
    if (alive === "ping") connection.ping()
    if (lasts === "drain") this.drain()
    if (now >= Math.min(this.lookAt, connection.sendsBy)) {
      connection.endOverdue(now, this.sendTimeout)
      this.lookAt = this.waits ? now + this.sendTimeout / looksPerTimeout : Number.POSITIVE_INFINITY
    }
    if (now >= this.partingAt) {
      this.partingAt = Number.POSITIVE_INFINITY
      connection.part()
    }
    return this.next(now)
  }

  /** When something may be due next. */
  private next(now: number): number {
    const { connection, heardAt, halfSince } = this.pump
    return Math.min(
      connection.begun ? Number.POSITIVE_INFINITY : this.prefaceBy,
      this.keepalive.next(now, heardAt),
      this.lifetime.next(now),
      this.partingAt,
      halfSince + this.frameMillis,
      this.lookAt,
      connection.sendsBy,
    )
  }
}
