/**
 * An exchange as Connect-ES's universal request and response, for routes that were written for it.
 */
import { Code, ConnectError, createContextValues } from "@connectrpc/connect"
import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol"
import type { Exchange, RequestHandler } from "../exchange.ts"
import { errorCode } from "../http2/frames.ts"
import type { RequestHead } from "../http2/head.ts"
import { sizeOfAll } from "../http2/hpack.ts"
import { Body } from "./body.ts"
import { fieldsToHeaders, headersToFields } from "./fields.ts"
import { gather } from "./gathering.ts"

export class UniversalExchange implements RequestHandler {
  private readonly exchange: Exchange
  private readonly abort = new AbortController()
  private readonly body: Body
  private resume: (() => void) | undefined

  constructor(
    exchange: Exchange,
    { method, scheme, authority, path, fields }: RequestHead,
    handle: UniversalHandlerFn,
    maxReceiveBytes: number,
  ) {
    this.exchange = exchange
    this.body = new Body((length) => exchange.consumed(length))
    const header = fieldsToHeaders(fields)
    handle({
      // Over HTTP/1.1 Connect-ES would refuse all bidi methods. Half duplex, with all requests before the first response,
      // they work there too; the version serves for nothing else.
      httpVersion: "2.0",
      method,
      url: `${scheme === "" ? "http" : scheme}://${authority === "" ? "localhost" : authority}${path}`,
      header,
      body: gather(header, this.body, maxReceiveBytes),
      signal: this.abort.signal,
      contextValues: createContextValues(),
    })
      .then((response) => this.respond(response))
      .catch(() => {
        // Connect-ES answers what programs do; what comes here is that its answer could not be sent.
        exchange.reset(errorCode.internalError)
      })
  }

  data(bytes: Uint8Array, start: number, end: number): void {
    this.body.push(bytes, start, end)
  }

  end(): void {
    this.body.end()
  }

  reset(code: number): void {
    this.abort.abort(
      new ConnectError(
        `the stream was reset with code ${code}`,
        code === errorCode.cancel ? Code.Canceled : Code.Unavailable,
      ),
    )
    this.body.fail(this.abort.signal.reason)
    this.drained()
  }

  drained(): void {
    const { resume } = this
    this.resume = undefined
    resume?.()
  }

  stop(): void {
    this.abort.abort(new ConnectError("the server is shutting down", Code.Unavailable))
  }

  private async respond({ status, header, body, trailer }: UniversalServerResponse): Promise<void> {
    const { exchange } = this
    const iterator = body?.[Symbol.asyncIterator]()
    try {
      // The first piece before the head: until there is one, a program may add to its headers.
      let next = await iterator?.next()
      const empty = next === undefined || next.done === true
      const head = [{ name: ":status", value: String(status) }, ...headersToFields(header)]
      if (sizeOfAll(head) > exchange.maxHeaderListSize) throw new Error("the client takes no headers of that size")
      const headOnly = empty && headersToFields(trailer).length === 0
      exchange.sendHeaders(head, headOnly)
      while (next !== undefined && next.done !== true && !exchange.closed) {
        if (!exchange.sendData(next.value)) {
          await new Promise<void>((resolve) => {
            this.resume = resolve
          })
        }
        next = await iterator?.next()
      }
      if (headOnly) return
      // Not before the body has ended: how it did is among them, and until then they say that all is well.
      const trailers = headersToFields(trailer)
      if (sizeOfAll(trailers) > exchange.maxHeaderListSize) throw new Error("the client takes no trailers of that size")
      exchange.sendEnd(trailers.length > 0 ? trailers : undefined)
    } finally {
      // Where the stream was reset, what makes the answer has to end too.
      await iterator?.return?.()
    }
  }
}
