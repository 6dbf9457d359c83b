/**
 * A call as a gRPC server runs it: the stream's bytes become requests, the program runs, its answers become bytes.
 */
import { Cause, Effect, Exit, type Fiber, Stream } from "effect"
import type { CallInfo, Peer } from "../../core/rpc/call.ts"
import { exceeded } from "../../core/rpc/deadline.ts"
import { RpcError } from "../../core/rpc/error.ts"
import * as Metadata from "../../core/rpc/metadata.ts"
import { respond, respondEach } from "../../core/rpc/service.ts"
import type { ServerConnection, ServerStream, StreamHandler } from "../http2/handler.ts"
import type { Field } from "../http2/hpack.ts"
import type { Codec } from "./codec.ts"
import { EnvelopeReader, envelopeLength, writeEnvelope } from "./envelope.ts"
import { acceptEncoding, type CallHead, status200 } from "./head.ts"
import { toFields } from "./metadata.ts"
import { Requests } from "./requests.ts"
import type { Opening, Route, Serving } from "./server.ts"
import { errorTrailers, okTrailers } from "./status.ts"

/** A message as it travels, before its envelope. */
interface Encoded {
  readonly bytes: Uint8Array
  readonly compressed: boolean
}

// What setTimeout can wait; a longer one would fire at once.
const maxTimerMillis = 2 ** 31 - 1

export class ServerCall implements StreamHandler {
  private readonly serving: Serving
  private readonly route: Route
  private readonly codec: Codec
  private readonly contentType: string
  private readonly response: ReadonlyArray<Field>
  private readonly connection: ServerConnection
  private readonly stream: ServerStream
  private readonly reader: EnvelopeReader
  private readonly head: CallHead
  private readonly info: CallInfo
  private readonly requests: Requests | undefined
  // The request of a method that takes one, decoded or about to be.
  private request: Effect.Effect<unknown, RpcError> | undefined
  // The answer of a method that gives one.
  private last: Encoded | undefined
  private untaken = 0
  private ended = false
  private timer: ReturnType<typeof setTimeout> | undefined
  private headSent = false
  private over = false
  private fiber: Fiber.Fiber<unknown, RpcError> | undefined
  private resume: (() => void) | undefined

  constructor(
    serving: Serving,
    { route, codec, contentType, head, metadata, response }: Opening,
    connection: ServerConnection,
    stream: ServerStream,
    peer: Peer,
  ) {
    this.serving = serving
    this.route = route
    this.codec = codec
    this.contentType = contentType
    this.response = response
    this.connection = connection
    this.stream = stream
    this.reader = new EnvelopeReader(serving.maxReceiveBytes, this)
    this.head = head
    const { timeout } = head
    this.info = {
      method: route.handler.method,
      metadata,
      deadline: timeout === undefined ? undefined : serving.clock.currentTimeMillisUnsafe() + timeout,
      peer,
      response: { header: Metadata.empty, trailer: Metadata.empty },
    }
    const { kind } = route.handler
    this.requests =
      kind === "client_streaming" || kind === "bidi_streaming" ? new Requests(() => this.takeAll()) : undefined
  }

  /** Starts what needs no more of the request than its head. */
  begin(): void {
    const { handler, service } = this.route
    if (this.head.error !== undefined) return this.fail(this.head.error, acceptEncoding(this.route.encodings))
    if (this.requests === undefined) {
      // Most requests come whole in one turn, and need no timer of their own.
      if (this.info.deadline !== undefined) queueMicrotask(() => this.expectRequest())
      return
    }
    const requests = this.decoded(this.requests.stream)
    if (handler.kind === "client_streaming") this.answer(handler.run(requests))
    else if (handler.kind === "bidi_streaming") {
      this.run(respondEach(service, this.info, handler.run(requests), (answers) => this.emit(answers)))
    }
  }

  /** Ends the call at its deadline if its request hasn't come by then: no program runs yet that could be interrupted. */
  private expectRequest(): void {
    const { deadline } = this.info
    if (this.over || this.ended || deadline === undefined) return
    const left = Math.max(0, deadline - this.serving.clock.currentTimeMillisUnsafe())
    this.timer = setTimeout(() => this.broken(exceeded()), Math.min(left, maxTimerMillis))
  }

  // ---- The stream's events

  data(bytes: Uint8Array, start: number, end: number): void {
    this.untaken += end - start
    if (!this.over) {
      try {
        this.reader.read(bytes, start, end)
      } catch (error) {
        this.broken(error)
      }
    }
    this.requests?.flush()
    // A message that isn't whole yet must not wait for a window that only its rest would open.
    if (this.over || this.requests === undefined || this.requests.empty) this.takeAll()
  }

  end(): void {
    this.ended = true
    clearTimeout(this.timer)
    if (this.over) return
    if (!this.reader.complete) {
      return this.broken(new RpcError({ code: "invalid_argument", message: "the request ends within a message" }))
    }
    if (this.requests !== undefined) return this.requests.end()
    const { handler, service } = this.route
    const { request } = this
    if (request === undefined) {
      return this.broken(
        new RpcError({ code: "unimplemented", message: "missing input message: the request has none" }),
      )
    }
    if (handler.kind === "unary") this.answer(Effect.flatMap(request, handler.run))
    else if (handler.kind === "server_streaming") {
      const answers = Stream.unwrap(Effect.map(request, handler.run))
      this.run(respondEach(service, this.info, answers, (some) => this.emit(some)))
    }
  }

  reset(): void {
    this.over = true
    clearTimeout(this.timer)
    this.fiber?.interruptUnsafe()
  }

  drained(): void {
    const { resume } = this
    this.resume = undefined
    resume?.()
  }

  stop(): void {
    this.broken(new RpcError({ code: "unavailable", message: "the server is shutting down" }))
  }

  /** One message of the request: the envelope reader calls this. */
  message(bytes: Uint8Array, start: number, end: number, compressed: boolean): void {
    const { received } = this.head
    if (compressed && received === undefined) {
      throw new RpcError({ code: "internal", message: "protocol error: a message is compressed, with nothing named" })
    }
    // The bytes are the socket's: what isn't decoded now is copied.
    const request =
      compressed || received !== undefined
        ? this.decompress(bytes.slice(start, end), compressed)
        : this.decode(bytes.subarray(start, end))
    if (this.requests !== undefined) this.requests.push(request)
    else if (this.request === undefined) {
      this.request = Effect.isEffect(request) ? (request as Effect.Effect<unknown, RpcError>) : Effect.succeed(request)
    } else throw new RpcError({ code: "unimplemented", message: "received extra input message: the method takes one" })
  }

  private takeAll(): void {
    const { untaken } = this
    this.untaken = 0
    if (untaken > 0) this.connection.taken(this.stream, untaken)
  }

  // ---- Messages

  private decode(bytes: Uint8Array): unknown {
    try {
      return this.codec.decode(this.route.desc.input, bytes)
    } catch (cause) {
      const { typeName } = this.route.desc.input
      throw new RpcError({ code: "internal", message: `the request is no ${typeName}`, cause })
    }
  }

  private decompress(bytes: Uint8Array, compressed: boolean): Effect.Effect<unknown, RpcError> {
    const { received } = this.head
    const plain =
      compressed && received !== undefined
        ? received.decompress(bytes, this.serving.maxReceiveBytes)
        : Effect.succeed(bytes)
    return Effect.flatMap(plain, (message) =>
      Effect.try({ try: () => this.decode(message), catch: (error) => error as RpcError }),
    )
  }

  /** The requests as messages. Where they may be compressed, each is an effect until it is pulled. */
  private decoded(requests: Stream.Stream<unknown, RpcError>): Stream.Stream<unknown, RpcError> {
    return this.head.received === undefined
      ? requests
      : Stream.mapEffect(requests, (request) => request as Effect.Effect<unknown, RpcError>)
  }

  private encode(answer: unknown): Encoded {
    const bytes = this.codec.encode(this.route.desc.output, answer)
    return { bytes, compressed: false }
  }

  /** A message as it will travel: compressed where that is agreed and worth it. */
  private encoded(answer: unknown): Effect.Effect<Encoded, RpcError> {
    const plain = this.encode(answer)
    const { sent } = this.head
    const { length } = plain.bytes
    if (length > this.serving.maxSendBytes) {
      return Effect.fail(
        new RpcError({
          code: "resource_exhausted",
          message: `an answer of ${length} bytes is over the limit of ${this.serving.maxSendBytes}`,
        }),
      )
    }
    return sent === undefined || length < this.route.minBytes
      ? Effect.succeed(plain)
      : Effect.map(sent.compress(plain.bytes), (bytes) => ({ bytes, compressed: true }))
  }

  // ---- The program

  private answer(program: Effect.Effect<unknown, RpcError>): void {
    // Encoded inside of the call: what can't be encoded is a defect like any other.
    const answer = Effect.map(
      Effect.flatMap(program, (message) => this.encoded(message)),
      (encoded) => {
        this.last = encoded
      },
    )
    this.run(respond(this.route.service, this.info, answer))
  }

  private run(program: Effect.Effect<unknown, RpcError>): void {
    const fiber = Effect.runForkWith(this.serving.context)(program)
    // A program that needs no turn of its own answers in this one.
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.finish(exit)
    this.fiber = fiber
    fiber.addObserver((late) => this.finish(late))
  }

  /** Sends answers, all of them at once, and waits if the client is slow to take them. */
  private emit(answers: ReadonlyArray<unknown>): Effect.Effect<void, RpcError> {
    return Effect.flatMap(
      Effect.forEach(answers, (answer) => this.encoded(answer)),
      (messages) => {
        if (this.over) return Effect.never
        this.sendHead()
        return this.connection.sendData(this.stream, join(messages))
          ? Effect.void
          : Effect.callback<void>((resume) => {
              this.resume = () => resume(Effect.void)
            })
      },
    )
  }

  private finish(exit: Exit.Exit<unknown, RpcError>): void {
    if (this.over) return
    if (Exit.isFailure(exit)) return this.fail(errorOf(exit.cause))
    this.over = true
    this.sendHead()
    if (this.last !== undefined) this.connection.sendData(this.stream, join([this.last]))
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

  private fail(error: RpcError, more: ReadonlyArray<Field> = []): void {
    this.over = true
    const { header, trailer } = this.info.response
    const trailers = [...this.trailersOf(error), ...more, ...toFields(trailer)]
    // In a single block clients take all for trailers, so leading metadata needs a head of its own.
    if (header.length > 0) this.sendHead()
    if (this.headSent) return this.connection.sendEnd(this.stream, trailers)
    const head = [status200, { name: "content-type", value: this.contentType }]
    this.connection.sendHeaders(this.stream, [...head, ...trailers], true)
  }

  private trailersOf(error: RpcError): ReadonlyArray<Field> {
    try {
      return errorTrailers(error, this.route.types)
    } catch (cause) {
      // A detail that nobody knows is the program's mistake: the log says which.
      Effect.runForkWith(this.serving.context)(Effect.logError("an error could not be sent", cause, error))
      return errorTrailers(new RpcError({ code: "internal", message: "internal error" }), this.route.types)
    }
  }

  private sendHead(): void {
    if (this.headSent) return
    this.headSent = true
    const { header } = this.info.response
    const fields = header.length === 0 ? this.response : [...this.response, ...toFields(header)]
    this.connection.sendHeaders(this.stream, fields, false)
  }
}

const errorOf = (cause: Cause.Cause<RpcError>): RpcError => {
  const error = Cause.findErrorOption(cause)
  return error._tag === "Some"
    ? error.value
    : new RpcError({ code: "cancelled", message: "the call was interrupted", cause })
}

/** Messages in their envelopes, one behind the other. */
const join = (messages: ReadonlyArray<Encoded>): Uint8Array => {
  let length = 0
  for (const { bytes } of messages) length += envelopeLength + bytes.length
  const joined = new Uint8Array(length)
  let at = 0
  for (const { bytes, compressed } of messages) {
    at = writeEnvelope(joined, at, bytes.length, compressed)
    joined.set(bytes, at)
    at += bytes.length
  }
  return joined
}
