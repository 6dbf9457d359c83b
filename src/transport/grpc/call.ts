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
import { EnvelopeReader, envelopeLength, readLength, writeEnvelope } from "./envelope.ts"
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

// Milliseconds that a stream may go on before it is the others' turn.
const longestTurn = 4
// Bytes that answers encoded at once should have, and how many there may be.
const largestBatch = 32_768
const mostAtOnce = 512

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
  // The request of a method that takes one. Where requests may be compressed, it is an effect.
  private request: unknown
  // The answer of a method that gives one.
  private last: Encoded | undefined
  private untaken = 0
  private ended = false
  private timer: ReturnType<typeof setTimeout> | undefined
  private headSent = false
  private over = false
  private fiber: Fiber.Fiber<unknown, RpcError> | undefined
  private resume: (() => void) | undefined
  // How many answers of a stream are encoded at once, and since when it has had its turn.
  private atOnce = 1
  private turn = 0

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
    const { received } = this.head
    if (request === undefined) {
      return this.broken(
        new RpcError({ code: "unimplemented", message: "missing input message: the request has none" }),
      )
    }
    if (handler.kind === "unary") {
      this.answer(received === undefined ? handler.run(request) : Effect.flatMap(effect(request), handler.run))
    } else if (handler.kind === "server_streaming") {
      const answers =
        received === undefined ? handler.run(request) : Stream.unwrap(Effect.map(effect(request), handler.run))
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

  /** Whole messages of the request: the envelope reader calls this. */
  messages(bytes: Uint8Array, start: number, end: number, count: number): void {
    const { requests } = this
    const { received } = this.head
    if (requests !== undefined && received === undefined && count > 1) {
      const all = this.decodeBatch(bytes.subarray(start, end))
      if (all !== undefined) return requests.pushAll(all)
    }
    for (let at = start; at < end; ) {
      const from = at + envelopeLength
      at = from + readLength(bytes, at)
      // The bytes are the socket's: what isn't decoded now is copied.
      this.receive(
        received === undefined
          ? this.decode(bytes.subarray(from, at))
          : this.decodeLater(Effect.succeed(bytes.slice(from, at))),
      )
    }
  }

  /** A compressed message of the request: the envelope reader calls this. */
  compressed(bytes: Uint8Array, start: number, end: number): void {
    const { received } = this.head
    if (received === undefined) {
      throw new RpcError({ code: "internal", message: "protocol error: a message is compressed, with nothing named" })
    }
    this.receive(this.decodeLater(received.decompress(bytes.slice(start, end), this.serving.maxReceiveBytes)))
  }

  private receive(request: unknown): void {
    if (this.requests !== undefined) this.requests.push(request)
    else if (this.request === undefined) this.request = request
    else throw new RpcError({ code: "unimplemented", message: "received extra input message: the method takes one" })
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

  private decodeLater(plain: Effect.Effect<Uint8Array, RpcError>): Effect.Effect<unknown, RpcError> {
    return Effect.flatMap(plain, (message) =>
      Effect.try({ try: () => this.decode(message), catch: (error) => error as RpcError }),
    )
  }

  /** The messages of whole envelopes; `undefined` where only one by one can tell those at fault from the others. */
  private decodeBatch(envelopes: Uint8Array): ReadonlyArray<unknown> | undefined {
    try {
      return this.codec.batch?.decode(this.route.desc.input, envelopes)
    } catch {
      return undefined
    }
  }

  /** The requests as messages. Where they may be compressed, each is an effect until it is pulled. */
  private decoded(requests: Stream.Stream<unknown, RpcError>): Stream.Stream<unknown, RpcError> {
    return this.head.received === undefined ? requests : Stream.mapEffect(requests, effect)
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

  /** Sends answers, and waits where the client is slow to take them, or others have waited long enough for their turn. */
  private emit(answers: ReadonlyArray<unknown>, from = 0): Effect.Effect<void, RpcError> {
    for (let at = from; at < answers.length; ) {
      if (this.over) return Effect.never
      const to = Math.min(at + this.atOnce, answers.length)
      const batch = to - at > 1 ? this.encodeBatch(answers.slice(at, to)) : undefined
      if (batch === undefined) {
        const next = at + 1
        const one = this.encoded(answers[at])
        const exit = exitOf(one)
        if (exit === undefined) {
          return Effect.flatMap(one, (encoded) => {
            if (this.over) return Effect.never
            return this.sendBody(envelop(encoded)) ? this.emit(answers, next) : this.afterwards(answers, next)
          })
        }
        if (Exit.isFailure(exit)) return exit
        const bytes = envelop(exit.value)
        this.adapt(1, bytes.length)
        at = next
        if (!this.sendBody(bytes)) return this.afterwards(answers, at)
      } else {
        this.adapt(to - at, batch.length)
        at = to
        if (!this.sendBody(batch)) return this.afterwards(answers, at)
      }
    }
    const now = performance.now()
    if (now - this.turn < longestTurn) return Effect.void
    this.turn = now
    return Effect.yieldNow
  }

  /** Sends the answers from `from` on when what was sent before is on its way. */
  private afterwards(answers: ReadonlyArray<unknown>, from: number): Effect.Effect<void, RpcError> {
    const drained = Effect.callback<void>((resume) => {
      this.resume = () => resume(Effect.void)
    })
    return Effect.flatMap(drained, () => {
      this.turn = performance.now()
      return this.emit(answers, from)
    })
  }

  /** Takes more answers at once as long as that makes no more than a few frames, so that no more is held than is sent. */
  private adapt(count: number, bytes: number): void {
    if (bytes > largestBatch) this.atOnce = Math.max(1, count >> 1)
    else if (bytes * 4 < largestBatch && count === this.atOnce) this.atOnce = Math.min(count * 2, mostAtOnce)
  }

  private sendBody(bytes: Uint8Array): boolean {
    this.sendHead()
    return this.connection.sendData(this.stream, bytes)
  }

  /** Answers in their envelopes; `undefined` where they have to be encoded one by one, to be compressed or refused. */
  private encodeBatch(answers: ReadonlyArray<unknown>): Uint8Array | undefined {
    const { serving, route, codec } = this
    const most =
      this.head.sent === undefined ? serving.maxSendBytes : Math.min(serving.maxSendBytes, route.minBytes - 1)
    try {
      return codec.batch?.encode(route.desc.output, answers, most)
    } catch {
      this.atOnce = 1
      return undefined
    }
  }

  private finish(exit: Exit.Exit<unknown, RpcError>): void {
    if (this.over) return
    if (Exit.isFailure(exit)) return this.fail(errorOf(exit.cause))
    this.over = true
    this.sendHead()
    if (this.last !== undefined) this.connection.sendData(this.stream, envelop(this.last))
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

// Where requests may be compressed, that is what `receive` gets.
const effect = (request: unknown) => request as Effect.Effect<unknown, RpcError>

/** The exit that an effect is already; `undefined` for one that has to be run. */
const exitOf = <A, E>(one: Effect.Effect<A, E>): Exit.Exit<A, E> | undefined =>
  // An effect that is an exit is one of its own types.
  Exit.isExit(one) ? (one as Exit.Exit<A, E>) : undefined

const errorOf = (cause: Cause.Cause<RpcError>): RpcError => {
  const error = Cause.findErrorOption(cause)
  return error._tag === "Some"
    ? error.value
    : new RpcError({ code: "cancelled", message: "the call was interrupted", cause })
}

/** A message in its envelope. */
const envelop = ({ bytes, compressed }: Encoded): Uint8Array => {
  const joined = new Uint8Array(envelopeLength + bytes.length)
  joined.set(bytes, writeEnvelope(joined, 0, bytes.length, compressed))
  return joined
}
