/**
 * A unary call of Connect: one message is the body of the request, and one the body of the response, without envelopes;
 * errors are HTTP statuses with JSON. As JSON over HTTP it needs no client at all.
 *
 * Source: connectrpc.com/docs/protocol, "Unary (Request-Response) RPCs".
 */
import { Effect } from "effect"
import { RpcError } from "../../core/rpc/error.ts"
import { internalError } from "../../core/rpc/service.ts"
import * as Status from "../../core/rpc/status.ts"
import { toFields } from "../grpc/metadata.ts"
import type { Field } from "../http2/hpack.ts"
import { ConnectCall } from "./call.ts"
import { errorJson } from "./errorJson.ts"
import { Gathering } from "./gathering.ts"
import { overLimit } from "./opening.ts"

// Encoded, a trailer is a header under this prefix ("Unary-Response").
const trailerPrefix = "trailer-"

const utf8 = new TextEncoder()
const none: Effect.Effect<void> = Effect.void

export class UnaryCall extends ConnectCall {
  private readonly body = new Gathering()
  // Bytes of the request that count as held until there is a response.
  private held = 0
  // The answer's bytes, and what they are compressed with.
  private answer: Uint8Array | undefined
  private encoding: string | undefined

  protected start(): void {
    const { query } = this.opening
    if (query === undefined) return
    try {
      this.give(query.message())
    } catch (error) {
      this.broken(error)
    }
  }

  protected read(bytes: Uint8Array, start: number, end: number): void {
    // A GET has all in its query.
    if (this.opening.query !== undefined) return this.exchange.consumed(end - start)
    const { maxBytes } = this.opening.requests
    const length = this.body.length + end - start
    if (length > maxBytes) throw overLimit(length, maxBytes)
    this.body.add(bytes.subarray(start, end))
    this.held += end - start
    this.exchange.consumed(end - start, 0)
  }

  protected ended(): void {
    if (this.opening.query === undefined) this.give(this.body.take(this.body.length))
  }

  drained(): void {}

  protected get responding(): boolean {
    return false
  }

  /** Runs the program on a request of these bytes. */
  private give(bytes: Uint8Array): void {
    const { desc, codec, encoding, maxBytes } = this.opening.requests
    const { handler } = this.opening.route
    if (bytes.length > maxBytes) throw overLimit(bytes.length, maxBytes)
    // Other kinds of methods have streams here.
    if (handler.kind !== "unary") throw new Error(`${handler.method.name} is no unary method`)
    const decode = (plain: Uint8Array) => codec.decode(desc, plain)
    const answer =
      encoding === undefined || bytes.length === 0
        ? handler.run(decode(bytes))
        : Effect.flatMap(encoding.decompress(bytes, maxBytes), (plain) => {
            this.hold(plain.length - bytes.length)
            return Effect.flatMap(
              Effect.try({ try: () => decode(plain), catch: (error) => error as RpcError }),
              handler.run,
            )
          })
    // Encoded inside of the call: what can't be encoded is a defect like any other.
    this.run(Effect.flatMap(answer, (message) => this.encode(message)))
  }

  /** Has the request counted as what it is once it is decompressed, which is there until its call ends. */
  private hold(more: number): void {
    if (more <= 0) return
    this.held += more
    this.exchange.consumed(0, -more)
  }

  private encode(message: unknown): Effect.Effect<void, RpcError> {
    const { desc, codec, encoding, minBytes, maxBytes } = this.opening.answers
    const plain = codec.encode(desc, message)
    if (plain.length > maxBytes) {
      const text = `an answer of ${plain.length} bytes is over the limit of ${maxBytes}`
      return Effect.fail(new RpcError({ code: "resource_exhausted", message: text }))
    }
    this.answer = plain
    if (encoding === undefined || plain.length < minBytes) return none
    return Effect.map(encoding.compress(plain), (bytes) => {
      this.answer = bytes
      this.encoding = encoding.name
    })
  }

  protected succeed(): void {
    const { answer, encoding } = this
    if (answer === undefined) return this.fail(internalError())
    const { header, trailer } = this.info.response
    const unsendable = this.unsendable(header, trailer)
    if (unsendable !== undefined) return this.fail(unsendable)
    let fields = this.opening.response
    if (encoding !== undefined) fields = [...fields, { name: "content-encoding", value: encoding }]
    if (header.length > 0 || trailer.length > 0) {
      fields = [...fields, ...toFields(header), ...trailers(trailer)]
      if (!this.fits(fields)) return this.fail(this.tooLarge(header.length > 0 ? "leading" : "trailing"))
    }
    this.send(fields, answer)
  }

  protected fail(reason: RpcError): void {
    const { route, accepted } = this.opening
    const { response } = this.info
    const error = this.unsendable(response.header, response.trailer, reason.metadata) ?? reason
    const { header, trailer } = response
    const { code, body, metadata } = this.encoded(error, (sent) => ({
      code: sent.code,
      body: utf8.encode(JSON.stringify(errorJson(sent, route.types))),
      metadata: toFields(sent.metadata),
    }))
    const head = [
      { name: ":status", value: String(Status.toHttp(code)) },
      { name: "content-type", value: "application/json" },
      ...accepted,
    ]
    const whole = [...head, ...toFields(header), ...metadata, ...trailers(trailer)]
    this.send(this.fits(whole) ? whole : head, body)
  }

  private send(fields: ReadonlyArray<Field>, body: Uint8Array): void {
    this.close()
    const { exchange, held } = this
    // Not when the response has gone: that may wait, and the request is of no more use.
    if (held > 0) exchange.consumed(0, held)
    // A frame says where a body of HTTP/2 ends; over HTTP/1.1 it would be chunked, and a browser shows no progress.
    const all = exchange.hasTrailers ? fields : [...fields, { name: "content-length", value: String(body.length) }]
    exchange.sendHeaders(all, body.length === 0)
    if (body.length === 0) return
    exchange.sendData(body)
    this.sendEnd()
  }
}

const trailers = (trailer: Parameters<typeof toFields>[0]): ReadonlyArray<Field> =>
  toFields(trailer).map(({ name, value }) => ({ name: `${trailerPrefix}${name}`, value }))
