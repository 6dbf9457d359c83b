/**
 * An exchange: a stream of our HTTP/2 as Connect-ES's universal request and response, for all that isn't gRPC.
 */
import { Code, ConnectError, createContextValues } from "@connectrpc/connect"
import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol"
import type { Peer } from "../../core/rpc/call.ts"
import { errorCode } from "../http2/frames.ts"
import type { ServerConnection, ServerStream, StreamHandler } from "../http2/handler.ts"
import type { RequestHead } from "../http2/head.ts"
import { sizeOfAll } from "../http2/hpack.ts"
import { Body } from "./body.ts"
import { fieldsToHeaders, headersToFields } from "./fields.ts"
import { gather } from "./gathering.ts"
import { peerKey } from "./routes.ts"

export class Exchange implements StreamHandler {
  private readonly connection: ServerConnection
  private readonly stream: ServerStream
  private readonly abort = new AbortController()
  private readonly body: Body
  private resume: (() => void) | undefined

  constructor(
    connection: ServerConnection,
    stream: ServerStream,
    { method, scheme, authority, path, fields }: RequestHead,
    peer: Peer,
    handle: UniversalHandlerFn,
    maxReceiveBytes: number,
  ) {
    this.connection = connection
    this.stream = stream
    this.body = new Body((length) => connection.taken(stream, length))
    const header = fieldsToHeaders(fields)
    handle({
      httpVersion: "2.0",
      method,
      url: `${scheme}://${authority === "" ? "localhost" : authority}${path}`,
      header,
      body: gather(header, this.body, maxReceiveBytes),
      signal: this.abort.signal,
      contextValues: createContextValues().set(peerKey, peer),
    })
      .then((response) => this.respond(response))
      .catch(() => {
        // Connect-ES answers what programs do; what comes here is that its answer could not be sent.
        connection.reset(stream, errorCode.internalError)
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
    const { connection, stream } = this
    const iterator = body?.[Symbol.asyncIterator]()
    try {
      // The first piece before the head: until there is one, a program may add to its headers.
      let next = await iterator?.next()
      const empty = next === undefined || next.done === true
      const head = [{ name: ":status", value: String(status) }, ...headersToFields(header)]
      if (sizeOfAll(head) > connection.maxHeaderListSize) throw new Error("the client takes no headers of that size")
      const headOnly = empty && headersToFields(trailer).length === 0
      connection.sendHeaders(stream, head, headOnly)
      while (next !== undefined && next.done !== true && !stream.closed) {
        if (!connection.sendData(stream, next.value)) {
          await new Promise<void>((resolve) => {
            this.resume = resolve
          })
        }
        next = await iterator?.next()
      }
      if (headOnly) return
      // Not before the body has ended: how it did is among them, and until then they say that all is well.
      const trailers = headersToFields(trailer)
      if (sizeOfAll(trailers) > connection.maxHeaderListSize)
        throw new Error("the client takes no trailers of that size")
      connection.sendEnd(stream, trailers.length > 0 ? trailers : undefined)
    } finally {
      // Where the stream was reset, what makes the answer has to end too.
      await iterator?.return?.()
    }
  }
}
