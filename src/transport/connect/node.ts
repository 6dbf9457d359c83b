/**
 * A request of `node:http` as an exchange.
 */
import type * as http from "node:http"
import type { Peer } from "../../core/rpc/call.ts"
import type { Answerer, Exchange, RequestHandler } from "../exchange.ts"
import { type ErrorCode, errorCode } from "../http2/frames.ts"
import type { Field } from "../http2/hpack.ts"
import { peerOf } from "../net/listen.ts"

class NodeExchange implements Exchange {
  readonly peer: Peer
  readonly hasTrailers = false
  readonly maxHeaderListSize = 65_536
  closed = false
  private readonly request: http.IncomingMessage
  private readonly response: http.ServerResponse

  constructor(request: http.IncomingMessage, response: http.ServerResponse) {
    this.request = request
    this.response = response
    this.peer = peerOf(request.socket)
  }

  sendHeaders([status, ...fields]: ReadonlyArray<Field>, endStream: boolean): void {
    if (this.closed) return
    this.response.statusCode = Number(status?.value)
    for (const { name, value } of fields) this.response.appendHeader(name, value)
    if (endStream) this.sendEnd()
    else this.response.flushHeaders()
  }

  sendData(bytes: Uint8Array): boolean {
    return this.closed || this.response.write(bytes)
  }

  sendEnd(): void {
    if (this.closed) return
    this.closed = true
    this.response.end()
    this.request.resume()
  }

  reset(_: ErrorCode): void {
    this.closed = true
    this.response.destroy()
  }

  consumed(): void {}
}

export const toNodeHandler =
  (answer: Answerer): http.RequestListener =>
  (request, response) => {
    const fields: Array<Field> = []
    const { rawHeaders } = request
    for (let i = 0; i < rawHeaders.length; i += 2)
      fields.push({ name: (rawHeaders[i] ?? "").toLowerCase(), value: rawHeaders[i + 1] ?? "" })
    const authority = request.headers.host ?? ""
    if (!/^[^\s[/]+$|^\[/.test(authority) || authority === "[") {
      response.statusCode = 400
      response.end()
      return
    }
    const exchange = new NodeExchange(request, response)
    const handler: RequestHandler = answer(exchange, {
      method: request.method ?? "",
      scheme: "http",
      path: request.url ?? "",
      authority,
      fields,
      contentLength: Number(request.headers["content-length"] ?? -1),
      expectsContinue: false,
    })
    request.on("data", (bytes: Uint8Array) => handler.data(bytes, 0, bytes.length))
    request.on("end", () => handler.end([]))
    request.on("error", () => {})
    response.on("drain", () => handler.drained())
    response.on("close", () => {
      if (!exchange.closed) {
        exchange.closed = true
        handler.reset(errorCode.cancel)
      }
    })
  }
