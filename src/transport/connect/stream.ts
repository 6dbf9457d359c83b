/**
 * A call whose messages stand in envelopes: a stream of Connect, and any call of gRPC-Web. The status is 200 whatever
 * comes of it; how the call ended is what the last envelope says.
 *
 * Sources: connectrpc.com/docs/protocol, "Streaming RPCs"; grpc/doc/PROTOCOL-WEB.md.
 */
import { Effect, Stream } from "effect"
import type { RpcError } from "../../core/rpc/error.ts"
import * as Metadata from "../../core/rpc/metadata.ts"
import type { Exchange } from "../exchange.ts"
import { Incoming, type Source } from "../grpc/incoming.ts"
import { toFields } from "../grpc/metadata.ts"
import { Outgoing, type Sink } from "../grpc/outgoing.ts"
import type { Serving } from "../grpc/server.ts"
import { ConnectCall } from "./call.ts"
import type { End } from "./endStream.ts"
import type { Opening } from "./opening.ts"

export class StreamCall extends ConnectCall implements Source, Sink {
  private readonly requests: Incoming
  private readonly answers: Outgoing
  private readonly lastEnvelope: End
  // The answer of a method that gives one, in its envelope.
  private answer: Uint8Array | undefined
  private headSent = false

  constructor(serving: Serving, opening: Opening, exchange: Exchange, now: number, lastEnvelope: End) {
    super(serving, opening, exchange, now)
    this.requests = new Incoming(opening.requests, this)
    this.answers = new Outgoing(opening.answers, this)
    this.lastEnvelope = lastEnvelope
  }

  protected start(): void {
    const { handler } = this.opening.route
    if (handler.kind === "client_streaming") this.give(handler.run(this.requests.stream))
    else if (handler.kind === "bidi_streaming") this.giveEach(handler.run(this.requests.stream))
  }

  protected read(bytes: Uint8Array, start: number, end: number): void {
    this.requests.read(bytes, start, end)
  }

  protected ended(): void {
    this.requests.end()
    const { handler } = this.opening.route
    if (handler.kind === "unary") this.give(Effect.flatMapEager(this.requests.one, handler.run))
    else if (handler.kind === "server_streaming")
      this.giveEach(Stream.unwrap(Effect.map(this.requests.one, handler.run)))
  }

  drained(): void {
    this.answers.drained()
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

  // ---- The body of the request, and of the response

  taken(length: number, released: number): void {
    this.exchange.consumed(length, released)
  }

  send(bytes: Uint8Array): boolean {
    // Of a call that is over the program is being interrupted: it may wait for that.
    if (this.over) return false
    this.sendHead()
    return !this.over && this.exchange.sendData(bytes) && !this.over
  }

  // ---- The response

  protected get responding(): boolean {
    return this.headSent
  }

  protected succeed(): void {
    this.sendHead()
    if (this.over) return
    if (this.answer !== undefined) this.exchange.sendData(this.answer)
    if (!this.over) this.sendLast(undefined)
  }

  protected fail(error: RpcError): void {
    // First, since the head may be too large, and that is an error of its own.
    this.close()
    this.sendHead()
    this.sendLast(error)
  }

  private sendLast(reason: RpcError | undefined): void {
    this.close()
    const { response } = this.info
    const error = this.unsendable(response.trailer, reason?.metadata ?? Metadata.empty) ?? reason
    const { trailer } = response
    const { types } = this.opening.route
    const last =
      error === undefined
        ? this.lastEnvelope(undefined, trailer, types)
        : this.encoded(error, (sent) => this.lastEnvelope(sent, trailer, types))
    this.exchange.sendData(last)
    this.sendEnd()
  }

  private sendHead(): void {
    if (this.headSent) return
    const { response } = this.info
    let fields = this.opening.response
    let error: RpcError | undefined
    if (response.header.length > 0) {
      error = this.unsendable(response.header)
      const whole = [...fields, ...toFields(response.header)]
      if (error === undefined && !this.fits(whole)) error = this.tooLarge("leading")
      if (error === undefined) fields = whole
    }
    this.headSent = true
    this.exchange.sendHeaders(fields, false)
    if (error !== undefined) this.broken(error)
  }
}
