/**
 * Connect-ES's client side over our HTTP/2: what it takes for an HTTP client.
 */
import { createRegistry } from "@bufbuild/protobuf"
import { Code, ConnectError } from "@connectrpc/connect"
import type { UniversalClientFn, UniversalClientRequest, UniversalClientResponse } from "@connectrpc/connect/protocol"
import type { RpcError } from "../../core/rpc/error.ts"
import { resetError } from "../grpc/reset.ts"
import type { Caller, Carrier, ClientStream, Opener, Origin } from "../http2/client.ts"
import { errorCode } from "../http2/frames.ts"
import type { ResponseHead } from "../http2/head.ts"
import type { Field } from "../http2/hpack.ts"
import { Body } from "./body.ts"
import { toConnectError } from "./error.ts"
import { fieldsToHeaders, headersToFields } from "./fields.ts"

// What carries calls fails without details.
const noTypes = createRegistry()

/** One request and its response. */
class Round implements Caller {
  readonly waitForReady: boolean
  readonly response: Promise<UniversalClientResponse>
  private readonly opener: Opener
  private readonly request: UniversalClientRequest
  private readonly body = new Body((length) => {
    if (this.stream !== undefined) this.carrier?.connection.taken(this.stream, length)
  })
  private readonly trailer = new Headers()
  private carrier: Carrier | undefined
  private stream: ClientStream | undefined
  private over = false
  private resume = () => {}
  private resolve: (response: UniversalClientResponse) => void = () => {}
  private reject: (error: ConnectError) => void = () => {}
  private openedAt = 0
  private readonly cancel = () => {
    const error = ConnectError.from(this.request.signal?.reason, Code.Canceled)
    if (error.code === Code.DeadlineExceeded && this.stream !== undefined) this.carrier?.doubt(this.openedAt)
    this.fail(error)
  }

  constructor(opener: Opener, waitForReady: boolean, request: UniversalClientRequest) {
    this.opener = opener
    this.waitForReady = waitForReady
    this.request = request
    this.response = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }

  begin(): void {
    const { signal } = this.request
    if (signal?.aborted === true) return this.cancel()
    signal?.addEventListener("abort", this.cancel)
    this.opener.open(this)
  }

  fields({ scheme, authority }: Origin): ReadonlyArray<Field> {
    const { method, url, header } = this.request
    const { pathname, search } = new URL(url)
    return [
      { name: ":method", value: method },
      { name: ":scheme", value: scheme },
      { name: ":path", value: `${pathname}${search}` },
      { name: ":authority", value: authority },
      ...headersToFields(header),
    ]
  }

  opened(carrier: Carrier, stream: ClientStream): void {
    this.carrier = carrier
    this.stream = stream
    this.openedAt = performance.now()
    this.send(carrier, stream).catch((error) => this.fail(ConnectError.from(error)))
  }

  unopened(error: RpcError): void {
    this.fail(toConnectError(error, noTypes))
  }

  private async send({ connection }: Carrier, stream: ClientStream): Promise<void> {
    const iterator = this.request.body?.[Symbol.asyncIterator]()
    for (let next = await iterator?.next(); next !== undefined && next.done !== true; next = await iterator?.next()) {
      if (!this.over && !connection.sendData(stream, next.value)) {
        await new Promise<void>((resume) => {
          this.resume = resume
        })
      }
      if (this.over) {
        await iterator?.return?.()
        return
      }
    }
    connection.sendEnd(stream)
  }

  head({ status, fields }: ResponseHead): void {
    this.resolve({ status, header: fieldsToHeaders(fields), body: this.body, trailer: this.trailer })
  }

  data(bytes: Uint8Array, start: number, end: number): void {
    this.body.push(bytes, start, end)
  }

  end(trailers: ReadonlyArray<Field>): void {
    fieldsToHeaders(trailers, this.trailer)
    this.body.end()
    // A server that has answered wants no more of the request.
    this.close()
  }

  reset(code: number, tooLong?: string): void {
    const { lost, connection } = this.carrier ?? {}
    const error = lost !== undefined && connection?.over === true ? lost : resetError(code, tooLong)
    this.fail(toConnectError(error, noTypes))
  }

  drained(): void {
    this.resume()
  }

  /** Ends the round without an end of the response: whoever waits for either part of it hears why. */
  private fail(error: ConnectError): void {
    if (this.over) return
    this.reject(error)
    this.body.fail(error)
    this.close()
  }

  private close(): void {
    this.over = true
    this.request.signal?.removeEventListener("abort", this.cancel)
    this.resume()
    if (this.stream === undefined) this.opener.forget(this)
    else this.carrier?.connection.reset(this.stream, errorCode.cancel)
  }
}

/** An HTTP client for Connect-ES's transports on our HTTP/2. */
export const universalClient =
  (opener: Opener, waitForReady: boolean): UniversalClientFn =>
  (request) => {
    const round = new Round(opener, waitForReady, request)
    round.begin()
    return round.response
  }
