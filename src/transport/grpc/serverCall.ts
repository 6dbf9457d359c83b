/**
 * A call as a gRPC server runs it: from the head of its request to the trailers of its response.
 */
import { Cause, Effect, Exit, type Fiber, Stream } from "effect"
import { type Call, type CallInfo, noResponse, type Peer } from "../../core/rpc/call.ts"
import { exceeded, limited } from "../../core/rpc/deadline.ts"
import { RpcError } from "../../core/rpc/error.ts"
import { serving as inContext, respond } from "../../core/rpc/service.ts"
import type { ServerConnection, ServerStream, StreamHandler } from "../http2/handler.ts"
import type { Field } from "../http2/hpack.ts"
import { maxTimerMillis } from "../timer.ts"
import { acceptEncoding, status200 } from "./head.ts"
import { Incoming, type Source } from "./incoming.ts"
import { toFields } from "./metadata.ts"
import { Outgoing, type Sink } from "./outgoing.ts"
import type { Opening, Serving } from "./server.ts"
import { errorTrailers, okTrailers } from "./status.ts"
import type { Begun } from "./turn.ts"

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
    if (head.error !== undefined) return this.fail(head.error, acceptEncoding(route.encodings))
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
    const left = (this.info.deadline ?? Number.POSITIVE_INFINITY) - this.serving.clock.currentTimeMillisUnsafe()
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
  }

  // ---- The body of the request, and of the response

  taken(length: number): void {
    this.connection.taken(this.stream, length)
  }

  send(bytes: Uint8Array): boolean {
    // Of a call that is over the program is being interrupted: it may wait for that.
    if (this.over) return false
    this.sendHead()
    return this.connection.sendData(this.stream, bytes)
  }

  // ---- The response

  private finish(exit: Exit.Exit<unknown, RpcError>): void {
    if (this.over) return
    if (Exit.isFailure(exit)) return this.fail(errorOf(exit.cause))
    this.sendHead()
    if (this.answer !== undefined) this.connection.sendData(this.stream, this.answer)
    this.close()
    const { trailer } = this.info.response
    this.connection.sendEnd(this.stream, trailer.length === 0 ? okTrailers : [...okTrailers, ...toFields(trailer)])
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

  private fail(error: RpcError, more: ReadonlyArray<Field> = []): void {
    this.close()
    const { header, trailer } = this.info.response
    const trailers = [...this.trailersOf(error), ...more, ...toFields(trailer)]
    // In a single block clients take all for trailers, so leading metadata needs a head of its own.
    if (header.length > 0) this.sendHead()
    if (this.headSent) return this.connection.sendEnd(this.stream, trailers)
    const head = [status200, { name: "content-type", value: this.opening.contentType }]
    this.connection.sendHeaders(this.stream, [...head, ...trailers], true)
  }

  private trailersOf(error: RpcError): ReadonlyArray<Field> {
    const { types } = this.opening.route
    try {
      return errorTrailers(error, types)
    } catch (cause) {
      // A detail that nobody knows is the program's mistake: the log says which.
      Effect.runForkWith(this.serving.context)(Effect.logError("an error could not be sent", cause, error))
      return errorTrailers(new RpcError({ code: "internal", message: "internal error" }), types)
    }
  }

  private sendHead(): void {
    if (this.headSent) return
    this.headSent = true
    const { header } = this.info.response
    const { response } = this.opening
    this.connection.sendHeaders(this.stream, header.length === 0 ? response : [...response, ...toFields(header)], false)
  }
}

const errorOf = (cause: Cause.Cause<RpcError>): RpcError => {
  const error = Cause.findErrorOption(cause)
  return error._tag === "Some"
    ? error.value
    : new RpcError({ code: "cancelled", message: "the call was interrupted", cause })
}
