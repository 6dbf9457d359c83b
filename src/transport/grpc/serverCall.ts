/**
 * A call as a gRPC server runs it: from the head of its request to the trailers of its response.
 */
import { Effect, Exit, type Fiber, Stream } from "effect"
import { type Call, type CallInfo, noResponse, type Peer } from "../../core/rpc/call.ts"
import { exceeded, limited } from "../../core/rpc/deadline.ts"
import { RpcError } from "../../core/rpc/error.ts"
import * as Metadata from "../../core/rpc/metadata.ts"
import * as Monotonic from "../../core/rpc/monotonic.ts"
import { serving as inContext, respond } from "../../core/rpc/service.ts"
import { errorCode } from "../http2/frames.ts"
import type { ServerConnection, ServerStream, StreamHandler } from "../http2/handler.ts"
import { type Field, sizeOfAll } from "../http2/hpack.ts"
import type { MemoryBudget } from "../http2/memory.ts"
import { maxTimerMillis } from "../timer.ts"
import { acceptEncoding, status200 } from "./head.ts"
import { Incoming, noMemory, type Source } from "./incoming.ts"
import { toFields } from "./metadata.ts"
import { Outgoing, type Sink } from "./outgoing.ts"
import type { Opening, Serving } from "./server.ts"
import { errorTrailers, okTrailers } from "./status.ts"
import type { Begun } from "./turn.ts"
import { encodeError, errorOf, metadataTooLarge, unsendableMetadata } from "./unsendable.ts"

// Percent-encoded a character may be nine bytes, and some clients take no more than 8 KiB.
const longestCut = 512

export class ServerCall implements StreamHandler, Source, Sink, Begun {
  private readonly serving: Serving
  private readonly opening: Opening
  private readonly connection: ServerConnection
  private readonly stream: ServerStream
  private readonly info: CallInfo
  private readonly requests: Incoming
  private readonly answers: Outgoing
  // The answer of a method that gives one, in its envelope.
  private answer: Uint8Array | undefined
  private timer: ReturnType<typeof setTimeout> | undefined
  private headSent = false
  private over = false
  private fiber: Fiber.Fiber<unknown, RpcError> | undefined

  constructor(
    serving: Serving,
    opening: Opening,
    connection: ServerConnection,
    stream: ServerStream,
    peer: Peer,
    now: number,
  ) {
    this.serving = serving
    this.opening = opening
    this.connection = connection
    this.stream = stream
    const { route, head, metadata } = opening
    const asked = head.timeout === undefined ? undefined : now + head.timeout
    this.info = {
      method: route.handler.method,
      metadata,
      deadline: limited(asked, route.service.limit, now),
      peer,
      response: noResponse(),
    }
    this.requests = new Incoming(opening.requests, this)
    this.answers = new Outgoing(opening.answers, this)
  }

  /** Starts what needs no more of the request than its head. */
  begin(now: number): void {
    const { head, route } = this.opening
    const { handler } = route
    const { deadline } = this.info
    if (head.error !== undefined) return this.fail(head.error, acceptEncoding(route.accepted))
    if (deadline !== undefined) {
      if (deadline <= now) return this.fail(exceeded())
      this.serving.turn.add(this)
    }
    if (handler.kind === "client_streaming") this.give(handler.run(this.requests.stream))
    else if (handler.kind === "bidi_streaming") this.giveEach(handler.run(this.requests.stream))
  }

  outlived(): void {
    if (!this.over) this.expect()
  }

  /** Ends the call at its deadline, whether its request has come by then or not. */
  private expect(): void {
    const left = (this.info.deadline ?? Number.POSITIVE_INFINITY) - Monotonic.nowUnsafe(this.serving.clock)
    if (left <= 0) this.broken(exceeded())
    else this.timer = setTimeout(() => this.expect(), Math.min(left, maxTimerMillis))
  }

  // ---- The stream's events

  data(bytes: Uint8Array, start: number, end: number): void {
    if (this.over) return this.taken(end - start)
    try {
      this.requests.read(bytes, start, end)
    } catch (error) {
      this.broken(error)
    }
  }

  end(): void {
    if (this.over) return
    try {
      this.requests.end()
    } catch (error) {
      return this.broken(error)
    }
    const { handler } = this.opening.route
    if (handler.kind === "unary") this.give(Effect.flatMapEager(this.requests.one, handler.run))
    else if (handler.kind === "server_streaming")
      this.giveEach(Stream.unwrap(Effect.map(this.requests.one, handler.run)))
  }

  reset(): void {
    this.close()
    this.fiber?.interruptUnsafe()
  }

  drained(): void {
    this.answers.drained()
  }

  exhausted({ name, limit }: MemoryBudget): void {
    this.broken(noMemory(name, limit))
  }

  stop(): void {
    this.broken(new RpcError({ code: "unavailable", message: "the server is shutting down" }))
  }

  // ---- The program

  /** Runs a program that gives one answer. */
  private give(program: Effect.Effect<unknown, RpcError>): void {
    // Encoded inside of the call: what can't be encoded is a defect like any other.
    const answer = Effect.flatMap(program, (message) =>
      Effect.mapEager(this.answers.encode(message), (encoded) => {
        this.answer = encoded
      }),
    )
    this.run(answer)
  }

  /** Runs a program that gives a stream of answers. */
  private giveEach(program: Stream.Stream<unknown, RpcError>): void {
    this.info.response.flush = () => {
      if (!this.over) this.sendHead()
    }
    this.run(Stream.runForEachArray(program, (some) => this.answers.emit(some)))
  }

  private run(program: Effect.Effect<unknown, RpcError>): void {
    const { info, opening, serving } = this
    const fiber = Effect.runForkWith(inContext<Call>(info)(serving.context))(
      respond(opening.route.service, info, program),
    )
    // A program that needs no turn of its own answers in this one.
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.finish(exit)
    this.fiber = fiber
    fiber.addObserver((late) => this.finish(late))
    // What the program did in its first turn may have ended the call.
    if (this.over) fiber.interruptUnsafe()
  }

  // ---- The body of the request, and of the response

  taken(length: number, released = length): void {
    this.connection.taken(this.stream, length, released)
  }

  get room(): number {
    return this.connection.room(this.stream)
  }

  send(bytes: Uint8Array): boolean {
    // Of a call that is over the program is being interrupted: it may wait for that.
    if (this.over) return false
    this.sendHead()
    return this.connection.sendData(this.stream, bytes) && !this.over
  }

  // ---- The response

  private finish(exit: Exit.Exit<unknown, RpcError>): void {
    if (this.over) return
    if (Exit.isFailure(exit)) return this.fail(errorOf(exit.cause))
    const { response } = this.info
    const unsendable = response.trailer.length === 0 ? undefined : this.unsendable(response.trailer)
    if (unsendable !== undefined) return this.fail(unsendable)
    this.sendHead()
    if (this.over) return
    if (this.answer !== undefined) this.connection.sendData(this.stream, this.answer)
    if (this.over) return
    let trailers = okTrailers
    if (response.trailer.length > 0) {
      trailers = [...okTrailers, ...toFields(response.trailer)]
      if (!this.fits(trailers)) {
        response.trailer = Metadata.empty
        return this.fail(this.tooLarge("trailing"))
      }
    }
    this.close()
    this.sendEnd(trailers)
  }

  /** Ends the response. What of it waits is dropped at the deadline: nobody wants it then. */
  private sendEnd(trailers: ReadonlyArray<Field>): void {
    const { connection, stream } = this
    connection.sendEnd(stream, trailers)
    const { deadline } = this.info
    if (stream.closed || deadline === undefined) return
    const left = deadline - Monotonic.nowUnsafe(this.serving.clock)
    if (left > 0) connection.sendBy(stream, performance.now() + left)
    else connection.reset(stream, errorCode.cancel)
  }

  /** Ends the call for what the client or the server did, whether the program runs or not. */
  private broken(reason: unknown): void {
    if (this.over) return
    if (!(reason instanceof RpcError)) throw reason
    this.fail(reason)
    this.fiber?.interruptUnsafe()
  }

  private close(): void {
    this.over = true
    if (this.timer !== undefined) clearTimeout(this.timer)
  }

  private fail(reason: RpcError, more: ReadonlyArray<Field> = []): void {
    this.close()
    const { response } = this.info
    const error = this.unsendable(response.header, response.trailer, reason.metadata) ?? reason
    const { header, trailer } = response
    // In a single block clients take all for trailers, so leading metadata needs a head of its own.
    if (header.length > 0) this.sendHead()
    const head = this.headSent ? [] : [status200, { name: "content-type", value: this.opening.contentType }]
    const whole = [...head, ...this.trailersOf(error), ...more, ...toFields(trailer)]
    const fields = this.fits(whole) ? whole : [...head, ...this.trailersOf(this.cut(error))]
    if (this.headSent) this.sendEnd(fields)
    else this.connection.sendHeaders(this.stream, fields, true)
  }

  private unsendable(...all: ReadonlyArray<Metadata.Metadata>): RpcError | undefined {
    return unsendableMetadata(this.serving.context, this.info, ...all)
  }

  // ---- What the client takes, where a program may say any amount: over it, clients give up the whole connection

  private fits(fields: ReadonlyArray<Field>): boolean {
    return sizeOfAll(fields) <= this.connection.maxHeaderListSize
  }

  /** The error without its details and metadata, and with the beginning of its message. */
  private cut({ code, message }: RpcError): RpcError {
    const why = `cut, the client takes ${this.connection.maxHeaderListSize} bytes of an error`
    return new RpcError({ code, message: `${message.slice(0, longestCut)}… (${why})` })
  }

  private tooLarge(which: "leading" | "trailing"): RpcError {
    return metadataTooLarge(which, this.connection.maxHeaderListSize)
  }

  private trailersOf(error: RpcError): ReadonlyArray<Field> {
    const { types } = this.opening.route
    return encodeError(this.serving.context, error, (sent) => errorTrailers(sent, types))
  }

  private sendHead(): void {
    if (this.headSent) return
    const { response } = this.info
    let fields = this.opening.response
    if (response.header.length > 0) {
      const unsendable = this.unsendable(response.header)
      if (unsendable !== undefined) return this.broken(unsendable)
      fields = [...fields, ...toFields(response.header)]
      if (!this.fits(fields)) {
        response.header = Metadata.empty
        return this.broken(this.tooLarge("leading"))
      }
    }
    this.headSent = true
    this.connection.sendHeaders(this.stream, fields, false)
  }
}
