/**
 * A client's session: its HTTP/2 connection on its socket, from the server's preface to the end.
 */
import type * as net from "node:net"
import { Duration } from "effect"
import { RpcError } from "../../core/rpc/error.ts"
import {
  type Carrier,
  type ClientConnection,
  clientConnection,
  type Origin,
  type ResponseHandler,
} from "../http2/client.ts"
import { errorCode, errorName } from "../http2/frames.ts"
import type { Limits } from "../http2/limits.ts"
import { Alarm, type Wakeable } from "./alarm.ts"
import { Keepalive, type KeepaliveOptions, type KeepaliveTimes, keepaliveTimes } from "./keepalive.ts"
import { Lifetime, lifetimeTimes } from "./lifetime.ts"
import { clientMemory } from "./memory.ts"
import { Pump, unfinished } from "./pump.ts"

export interface ClientKeepaliveOptions extends KeepaliveOptions {
  /**
   * How long the server may say nothing, while a call runs, before it is asked, with a PING, whether it is there. grpc-go's
   * servers close connections that ask more often than every 5 minutes, unless they were told otherwise. Each time that a
   * server does so, the channel's later connections wait twice as long. Default: 10 minutes.
   *
   * A server on whose connection a call's deadline has passed, and that has said nothing since the call began, is asked at
   * once in any case. It then has `timeout` to say anything, 5 seconds at most.
   *
   * Sources: grpc/doc/keepalive.md; gRPC's proposal A8.
   *
   * @example
   * const channel = yield* connect("http://127.0.0.1:8080", { keepalive: { time: "1 minute", timeout: "10 seconds" } })
   */
  readonly time?: Duration.Input
  /** Whether it is asked too while no call runs. Default: false. */
  readonly withoutCalls?: boolean
}

/** How long things may take on a connection, in milliseconds. */
export interface ClientTimes {
  /** Changed when a server finds that it is asked too often: it holds for all connections of the channel that follow. */
  keepalive: KeepaliveTimes
  /** What has begun to arrive: a frame, or a header block. */
  readonly frame: number
  readonly withoutCalls: boolean
  /** Without a call. */
  readonly idle: number
}

export const clientTimes = (
  { time = "10 minutes", timeout = "20 seconds", withoutCalls = false }: ClientKeepaliveOptions,
  idle: Duration.Input,
  frame: Duration.Input = "30 seconds",
): ClientTimes => ({
  frame: Duration.toMillis(frame),
  keepalive: keepaliveTimes({ time, timeout }),
  withoutCalls,
  idle: Duration.toMillis(idle),
})

/** What happens to a session. */
export interface SessionEvents {
  /** The server's preface has come. */
  readonly ready: (session: ClientSession) => void
  /** There may be room for one more stream. */
  readonly room: () => void
  /** It takes no more streams, or is about to end. */
  readonly left: (session: ClientSession) => void
  /** Its socket is closed. */
  readonly closed: (session: ClientSession) => void
}

const unavailable = (message: string, cause?: unknown): RpcError =>
  new RpcError({ code: "unavailable", message, ...(cause === undefined ? {} : { cause }) })

export class ClientSession implements Carrier, Wakeable {
  readonly origin: Origin
  readonly connection: ClientConnection
  leaving = false
  lost: RpcError | undefined
  private readonly socket: net.Socket
  private readonly times: ClientTimes
  private readonly events: SessionEvents
  private readonly pump: Pump<ResponseHandler>
  private readonly keepalive: Keepalive
  private readonly lifetime: Lifetime
  private readonly alarm = new Alarm(this)
  private readonly memory = clientMemory()
  private begun = false

  constructor(socket: net.Socket, origin: Origin, times: ClientTimes, limits: Limits, events: SessionEvents) {
    this.socket = socket
    this.origin = origin
    this.times = times
    this.events = events
    this.keepalive = new Keepalive(times.keepalive)
    this.lifetime = new Lifetime({ ...lifetimeTimes({}), idle: times.idle }, performance.now(), 0)
    socket.setNoDelay(true)
    socket.on("error", (error) => this.lose(unavailable("the connection was lost", error)))
    // Before the pump ends the streams: what is tried again at once goes to another connection.
    socket.once("close", () => this.lose(unavailable("the connection was lost")))
    this.pump = new Pump({
      socket,
      connection: (output) =>
        clientConnection(
          {
            output,
            goaway: (code) => this.goaway(code),
            room: () => this.room(),
            failed: (error) => this.lose(unavailable(`the server broke HTTP/2's rules: ${error.message}`, error)),
          },
          limits,
          this.memory,
        ),
      role: "client",
      memory: this.memory,
      linger: times.keepalive.timeout,
      died: (cause) =>
        this.cut(
          new RpcError({ code: "internal", message: "the connection was closed by a defect of the client", cause }),
        ),
      half: () => this.alarm.set(this.pump.halfSince + times.frame),
      flushed: () => {
        this.rest()
        // Streams may have been cut short here, which makes room too.
        events.room()
      },
    })
    this.connection = this.pump.connection
    // Behind the pump's: what is opened now isn't held up by what waited before.
    socket.on("drain", () => events.room())
    socket.once("close", () => {
      this.alarm.clear()
      this.memory.end()
      events.closed(this)
    })
  }

  /** Sends the preface: the socket is connected. */
  begin(): void {
    this.pump.flush()
    this.alarm.set(this.next(performance.now()))
  }

  /** A stream begins. */
  use(): void {
    if (!this.lifetime.busy) {
      this.lifetime.begin()
      // A server that has been silent for long is asked soon.
      this.alarm.set(this.keepalive.next(performance.now(), this.pump.heardAt))
    }
    if (!this.connection.exhausted) return
    // There are identifiers for 2^30 streams; further calls need another connection (RFC 9113, section 5.1.1).
    this.leave()
    this.connection.part()
  }

  doubt(since: number): void {
    const { connection, closing, heardAt } = this.pump
    if (closing || heardAt > since) return
    const now = performance.now()
    if (this.keepalive.doubt(now, heardAt) === "nothing") return
    connection.ping()
    this.alarm.set(this.keepalive.next(now, heardAt))
  }

  /** Ends what runs, for a reason, and closes the socket once the server has been told. */
  end(reason: RpcError): void {
    this.lost = reason
    this.leave()
    const { connection } = this
    // A connection that closes cancels what runs on it.
    connection.part()
    connection.abandon()
    this.pump.flush()
    // Whether the server takes its last bytes is no reason for a process to go on.
    this.socket.unref()
  }

  /** Closes the socket at once, for a reason. */
  cut(reason: RpcError): void {
    this.lose(reason)
    this.socket.destroy()
  }

  /** Does what is due on the connection. */
  ring(now: number): number {
    const { connection, closing, heardAt } = this.pump
    if (closing) return Number.POSITIVE_INFINITY
    const alive = this.asks ? this.keepalive.due(now, heardAt) : "nothing"
    if (alive === "close") {
      this.cut(unavailable("the connection was lost: the server doesn't answer"))
      return Number.POSITIVE_INFINITY
    }
    if (now >= this.pump.halfSince + this.times.frame) {
      connection.end(unfinished(this.times.frame))
      return Number.POSITIVE_INFINITY
    }
    if (alive === "ping") connection.ping()
    if (this.lifetime.due(now) === "drain") {
      this.leave()
      connection.part()
    }
    return this.next(now)
  }

  /** Whether it matters that the server is there. */
  private get asks(): boolean {
    const { connection, heardAt } = this.pump
    return this.times.withoutCalls || connection.openStreams > 0 || this.keepalive.awaits(heardAt)
  }

  private next(now: number): number {
    const { heardAt, halfSince } = this.pump
    const alive = this.asks ? this.keepalive.next(now, heardAt) : Number.POSITIVE_INFINITY
    return Math.min(alive, this.lifetime.next(now), halfSince + this.times.frame)
  }

  private room(): void {
    if (!this.begun && this.connection.begun) {
      this.begun = true
      this.events.ready(this)
    }
    this.events.room()
  }

  private rest(): void {
    if (this.lifetime.busy && this.connection.openStreams === 0) this.lifetime.rest(performance.now())
  }

  private goaway(code: number): void {
    // Streams that the server hasn't taken are refused after this, and those it has go on.
    if (code === errorCode.enhanceYourCalm && this.keepalive.asked) this.askLess()
    if (code !== errorCode.noError) this.lost ??= unavailable(`the server closed the connection: ${errorName(code)}`)
    this.leave()
  }

  /** Lets the channel's connections ask half as often (gRPC's proposal A8, "Client-side"). */
  private askLess(): void {
    const { time, timeout } = this.times.keepalive
    this.times.keepalive = { time: 2 * time, timeout }
  }

  private lose(reason: RpcError): void {
    this.lost ??= reason
    this.leave()
  }

  private leave(): void {
    if (this.leaving) return
    this.leaving = true
    this.events.left(this)
  }
}
