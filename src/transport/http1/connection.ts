/**
 * A connection of HTTP/1.1 at a server: one request at a time, from its head to the last byte of its response.
 *
 * What a client sends behind a request waits in the socket, which isn't read meanwhile but for one piece: so we hear of a
 * client that goes away. It has no clock and no timer: whoever has the socket asks it what is due.
 *
 * Source: RFC 9112, section 9.
 */
import { Buffer } from "node:buffer"
import type { Peer } from "../../core/rpc/call.ts"
import type { Answerer } from "../exchange.ts"
import { type ErrorCode, errorCode } from "../http2/frames.ts"
import type { Field } from "../http2/hpack.ts"
import type { MemoryBudget } from "../http2/memory.ts"
import { type Carrying, Http1Exchange } from "./exchange.ts"
import type { Http1Head } from "./head.ts"
import { Output } from "./output.ts"
import { type RequestEvents, RequestReader } from "./reader.ts"
import { Refused } from "./refused.ts"
import { goOn, headBytes } from "./response.ts"
import type { Http1Times } from "./times.ts"

/** What a connection does with its socket. */
export interface Wire {
  /** False if more than this is better not written now. */
  readonly write: (bytes: Uint8Array) => boolean
  readonly pause: () => unknown
  readonly resume: () => unknown
  /** Closes our side once all is written, and says then that it is. */
  readonly end: (done: () => void) => unknown
  readonly destroy: () => unknown
}

export interface ConnectionOptions {
  readonly socket: Wire
  readonly scheme: "http" | "https"
  readonly peer: Peer
  readonly answer: Answerer
  readonly times: Http1Times
  /** The size of a head, counted as a header list of HTTP/2. */
  readonly maxHeadSize: number
  /** What is held for this connection is taken from it. */
  readonly memory: MemoryBudget
  /** Something may be due at this time, by `performance.now`. */
  readonly wake: (at: number) => void
  /** Something was thrown that speaks of no fault of the client's. */
  readonly died: (defect: unknown) => void
}

// What a program may leave unread of a body before the socket isn't read any more.
const window = 65_536
// What may wait for the socket before no more of a response is welcome.
const maxOutput = 262_144
// What is read of a request behind its response, for the sake of the next request. Where more may come, the response says
// that the connection closes: a client that isn't told puts its next request behind.
const maxDiscarded = 262_144
// What a client that says nothing has to close its side once all is sent (RFC 9112, section 9.6).
const partingMillis = 1000
// What is read and dropped once nothing more is taken: many clients send all of a body before they read the response. Behind
// that nothing is read, so that it costs no time.
const mostDropped = 8 * 1024 * 1024
// A head of this size is a part of what a connection costs in any case.
const shortHead = 2048

const never = Number.POSITIVE_INFINITY

export class Http1Connection implements Carrying, RequestEvents {
  private readonly options: ConnectionOptions
  private readonly socket: Wire
  private readonly memory: MemoryBudget
  private readonly reader: RequestReader
  private readonly output = new Output()
  private exchange: Http1Exchange | undefined
  // All of the exchange's request has been read.
  private requestOver = false
  // What came behind it.
  private rest: Uint8Array | undefined
  // No further request is taken.
  private ending = false
  // Nothing more is read, not even what is left of a request: it can't be understood, or there is no room for it.
  private deaf = false
  // Our side is closed, or about to be once all is written.
  private over = false
  private gone = false
  private scheduled = false
  private reading = true
  private writable = true
  // The handler waits for more to be welcome.
  private stalled = false
  // Memory of heads and of responses; what waits of bodies for their handler, and what that holds; what of a response the socket has.
  private headHeld = 0
  private held = 0
  private unread = 0
  private bodyHeld = 0
  private inSocket = 0
  private discarded = 0
  private dropped = 0
  // By `performance.now`: when the head has to be there, the body, when the client was heard last, and when it
  // took something of a response, or the response began to wait for it.
  private headBegun = true
  private headBy: number
  private bodyBy = never
  private sentBy = never
  private heardAt: number
  private tookAt: number
  private closeBy = never

  constructor(options: ConnectionOptions, now: number) {
    this.options = options
    this.socket = options.socket
    this.memory = options.memory
    this.reader = new RequestReader(this, options.scheme, options.maxHeadSize)
    this.heardAt = now
    this.tookAt = now
    this.headBy = now + options.times.head
    options.wake(this.headBy)
  }

  // ---- What the socket does

  /** Takes in what was read. */
  receive(bytes: Uint8Array): void {
    if (this.gone) return
    if (this.over || this.deaf) return this.drop(bytes.length)
    this.heardAt = performance.now()
    this.guard(() => this.read(bytes, false))
  }

  private drop(length: number): void {
    this.dropped += length
    if (this.dropped > mostDropped) this.socket.pause()
  }

  /** The socket takes more. */
  drained(): void {
    this.tookAt = performance.now()
    this.inSocket = 0
    this.writable = true
    this.flush()
  }

  /**
   * The client has said its last, or the socket is closed: whatever runs has nobody to be sent to. What the socket has may
   * still go to a client that reads on, for as long as any response may wait.
   */
  abandon(): void {
    if (this.gone) return
    this.gone = true
    this.closeBy = Math.min(this.closeBy, performance.now() + this.options.times.stall)
    this.options.wake(this.closeBy)
    const { exchange } = this
    this.release()
    if (exchange === undefined || exchange.closed) return
    exchange.closed = true
    this.guard(() => exchange.handler?.reset(errorCode.cancel))
  }

  // ---- What the server does

  /** Takes no further request, and closes once the running one has its response. */
  drain(): void {
    this.ending = true
    if (this.exchange !== undefined) this.exchange.persistent = false
    else if (this.output.length === 0) this.close()
  }

  /** Ends what runs, with a response that says so. */
  stop(): void {
    const { exchange } = this
    if (exchange !== undefined && !exchange.ended) this.guard(() => exchange.handler?.stop())
  }

  /** Does what is due, and gives the time of the next thing that may be. */
  ring(now: number): number {
    const next = this.next()
    if (now < next) return next
    if (this.over || this.gone || this.exchange === undefined || this.waiting > 0) {
      this.socket.destroy()
      return never
    }
    this.guard(() => this.timedOut())
    return this.next()
  }

  private next(): number {
    const { stall } = this.options.times
    if (this.over || this.gone) return this.closeBy
    if (this.exchange === undefined) return this.headBy
    const bodyBy = this.requestOver ? never : this.bodyBy
    // Bytes of a body are no progress of a response. Who takes a response may have nothing to say meanwhile.
    if (this.waiting > 0) return Math.min(this.sentBy, this.tookAt + stall, bodyBy)
    if (this.requestOver) return never
    return this.reading ? Math.min(bodyBy, Math.max(this.heardAt, this.tookAt) + stall) : bodyBy
  }

  private timedOut(): void {
    this.refuse(new Refused(408, "the body of the request took too long, or nothing of it came for too long"))
  }

  // ---- What the reader finds

  head(head: Http1Head): void {
    const { peer, answer, times } = this.options
    this.holdHead(head.size)
    const exchange = new Http1Exchange(this, head, peer)
    if (this.ending) exchange.persistent = false
    this.exchange = exchange
    this.requestOver = false
    this.discarded = 0
    this.bodyBy = this.heardAt + times.body
    this.sentBy = never
    exchange.handler = answer(exchange, head)
    if (!head.chunked && head.contentLength <= 0) return
    this.options.wake(this.next())
    if (!head.expectsContinue) return
    // A client that wasn't told to go on may leave its body out: nobody could say where the next request begins.
    if (exchange.begun) exchange.persistent = false
    else this.output.push(goOn)
    this.schedule()
  }

  data(bytes: Uint8Array, start: number, end: number): void {
    const { exchange } = this
    if (exchange === undefined) return
    const length = end - start
    if (exchange.ended || exchange.closed) {
      this.discarded += length
      if (this.discarded > maxDiscarded) exchange.persistent = false
      return
    }
    if (!this.holdBody(exchange, length)) return
    this.unread += length
    exchange.handler?.data(bytes, start, end)
  }

  /** Takes memory for the body of a request; ends the exchange if there isn't so much. False then. */
  private holdBody(exchange: Http1Exchange, length: number): boolean {
    const short = this.memory.take(length)
    if (short === undefined) {
      this.bodyHeld += length
      return true
    }
    exchange.handler?.exhausted?.(short)
    if (!exchange.ended) this.exhausted()
    return false
  }

  end(trailers: ReadonlyArray<Field>): void {
    const { exchange } = this
    this.requestOver = true
    if (exchange?.ended === false && !exchange.closed) exchange.handler?.end(trailers)
    else this.schedule()
  }

  // ---- What the exchange says

  hold(length: number): boolean {
    if (this.memory.take(length) === undefined) {
      this.held += length
      return true
    }
    this.exhausted()
    return false
  }

  wrote(): boolean {
    this.schedule()
    const welcome = this.waiting < maxOutput
    this.stalled ||= !welcome
    return welcome
  }

  consumed(length: number, released: number): void {
    this.unread -= length
    if (released < 0) {
      if (this.exchange !== undefined) this.holdBody(this.exchange, -released)
      return
    }
    const given = Math.min(released, this.bodyHeld)
    this.bodyHeld -= given
    this.memory.give(given)
    this.regulate()
  }

  sendBy(at: number): void {
    this.sentBy = at
    this.options.wake(at)
  }

  cut(code: ErrorCode): void {
    const { exchange } = this
    if (exchange === undefined) return
    exchange.closed = true
    if (exchange.headSent || exchange.ended) this.socket.destroy()
    else this.respond(code === errorCode.internalError ? 500 : 503, "the request was given up")
  }

  // ---- Reading

  private read(bytes: Uint8Array, ours: boolean): void {
    let at = 0
    while (at < bytes.length && !this.deaf && !this.over && !this.gone) {
      if (this.rest !== undefined || (this.exchange !== undefined && this.requestOver)) {
        this.keep(bytes.subarray(at), ours)
        break
      }
      if (this.exchange === undefined) this.begin()
      at = this.reader.read(bytes, at)
    }
    if (!this.requestOver && !this.deaf && !this.over && !this.gone) this.holdHead(this.reader.holding)
    this.regulate()
    if (this.exchange?.ended === true) this.schedule()
  }

  private begin(): void {
    if (this.headBegun) return
    this.headBegun = true
    this.headBy = this.heardAt + this.options.times.head
    this.options.wake(this.headBy)
  }

  /** Takes memory for a head, or for what there is of it. */
  private holdHead(size: number): void {
    const more = (size > shortHead ? size : 0) - this.headHeld
    if (more === 0) return
    if (more < 0) this.memory.give(-more)
    else if (this.memory.take(more) !== undefined) {
      throw new Refused(503, "the server has no memory left for this head: try again later")
    }
    this.headHeld += more
  }

  /** Keeps what came behind a request, until that has its response. What isn't ours is the socket's, and is copied. */
  private keep(bytes: Uint8Array, ours: boolean): void {
    if (this.memory.take(bytes.length) !== undefined) {
      this.ending = true
      if (this.exchange !== undefined) this.exchange.persistent = false
      return
    }
    const kept = ours ? bytes : bytes.slice()
    // A runtime may give a piece more after it was told to pause.
    this.rest = this.rest === undefined ? kept : Buffer.concat([this.rest, kept])
  }

  /** Reads from the socket, or doesn't, as there is room for what comes. */
  private regulate(): void {
    const reading = this.over || (this.rest === undefined && this.unread <= window)
    if (reading === this.reading || this.gone) return
    this.reading = reading
    if (!reading) return void this.socket.pause()
    this.heardAt = performance.now()
    this.options.wake(this.next())
    this.socket.resume()
  }

  // ---- Writing

  private get waiting(): number {
    return Math.max(this.held, this.output.length + this.inSocket)
  }

  // All that is said in a turn leaves in one write, and is measured.
  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    queueMicrotask(() => this.flush())
  }

  private flush(): void {
    this.scheduled = false
    if (!this.gone) this.guard(() => this.send())
  }

  private send(): void {
    const { exchange, output } = this
    if (exchange?.ended === true && !this.requestOver && this.reader.toCome > maxDiscarded) exchange.persistent = false
    exchange?.flush(output)
    while (this.writable) {
      const bytes = output.take()
      if (bytes === undefined) break
      this.writable = this.socket.write(bytes)
      if (this.writable) continue
      this.inSocket = bytes.length
      this.tookAt = performance.now()
    }
    const surplus = this.held - output.length - this.inSocket
    if (surplus > 0) {
      this.held -= surplus
      this.memory.give(surplus)
    }
    if (output.length > 0 || !this.writable) return this.options.wake(this.tookAt + this.options.times.stall)
    this.sent()
  }

  /** All that was said so far is on its way. */
  private sent(): void {
    const { exchange } = this
    if (exchange === undefined) {
      if (this.ending) this.close()
      return
    }
    if (!exchange.ended && !exchange.closed) {
      if (!this.stalled) return
      this.stalled = false
      return exchange.handler?.drained()
    }
    exchange.closed = true
    this.giveUnread()
    if (!exchange.persistent) return this.close()
    if (this.requestOver) return this.finish()
    // Who has its response and doesn't send the rest is as good as idle.
    this.bodyBy = Math.min(this.bodyBy, performance.now() + this.options.times.idle)
    this.options.wake(this.bodyBy)
    this.regulate()
  }

  private finish(): void {
    this.exchange = undefined
    this.requestOver = false
    this.headBegun = false
    this.holdHead(0)
    this.headBy = performance.now() + this.options.times.idle
    this.options.wake(this.headBy)
    // A client that sends one request behind the other waits its turn between others.
    if (this.rest === undefined) this.regulate()
    else setImmediate(() => this.guard(() => this.readRest()))
  }

  private readRest(): void {
    const { rest } = this
    if (rest === undefined) return
    this.rest = undefined
    this.memory.give(rest.length)
    // It may have waited for long, and its time begins now.
    this.heardAt = performance.now()
    this.read(rest, true)
  }

  /**
   * Sends what there is, and closes. The client's side is read, and dropped, until it is closed too, or a second has passed
   * since the socket has sent the last of it.
   */
  private close(): void {
    if (this.over) return
    this.over = true
    this.closeBy = performance.now() + this.options.times.stall
    this.options.wake(this.closeBy)
    this.socket.end(() => {
      this.closeBy = performance.now() + partingMillis
      this.options.wake(this.closeBy)
    })
    this.release()
    this.regulate()
  }

  // ---- Faults

  private guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      if (error instanceof Refused) this.refuse(error)
      else {
        this.options.died(error)
        this.socket.destroy()
      }
    }
  }

  /** Refuses the request that is being read, by a response if it has none yet. */
  private refuse({ status, message }: Refused): void {
    const { exchange } = this
    this.deaf = true
    if (exchange?.ended === true) {
      // It was answered early, and only its rest is not well-formed.
      exchange.persistent = false
      return this.schedule()
    }
    if (exchange?.closed === false) {
      exchange.closed = true
      exchange.handler?.reset(errorCode.protocolError)
    }
    if (exchange?.headSent === true) this.socket.destroy()
    else this.respond(status, message)
  }

  /** No memory is left for more of the exchange. */
  private exhausted(): void {
    const { exchange } = this
    if (exchange === undefined || exchange.closed) return
    exchange.closed = true
    exchange.handler?.reset(errorCode.enhanceYourCalm)
    if (exchange.headSent) this.socket.destroy()
    else this.respond(503, "the server has no memory left for this request: try again later")
  }

  /** The last response of the connection, which no program gave. */
  private respond(status: number, message: string): void {
    const body = Buffer.from(`${message}\n`)
    this.ending = true
    this.deaf = true
    this.exchange = undefined
    this.headBy = performance.now() + this.options.times.stall
    this.output.push(
      headBytes(status, [{ name: "content-type", value: "text/plain; charset=utf-8" }], body.length, false),
    )
    this.output.push(body)
    this.schedule()
  }

  private giveUnread(): void {
    this.memory.give(this.bodyHeld)
    this.bodyHeld = 0
    this.unread = 0
  }

  /** Gives back all memory: nobody will be sent anything, nor read. */
  private release(): void {
    this.giveUnread()
    this.memory.give(this.headHeld + this.held + (this.rest?.length ?? 0))
    this.headHeld = 0
    this.held = 0
    this.rest = undefined
    this.output.clear()
  }
}
