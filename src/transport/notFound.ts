/**
 * What answers a request for a path that nobody serves: the same over HTTP/1.1 and HTTP/2. gRPC has a status of its own
 * for that and gets it from the gRPC server.
 */
import type * as http from "node:http"
import type { ServerConnection, ServerStream, StreamHandler } from "./http2/handler.ts"

const text = "not found: a call is a POST to /package.Service/Method\n"
const contentType = "text/plain; charset=utf-8"

/** Over HTTP/2, once the request has ended. */
export class NotFound implements StreamHandler {
  private readonly connection: ServerConnection
  private readonly stream: ServerStream

  constructor(connection: ServerConnection, stream: ServerStream) {
    this.connection = connection
    this.stream = stream
  }

  data(_: Uint8Array, start: number, end: number): void {
    this.connection.taken(this.stream, end - start)
  }

  end(): void {
    const head = [
      { name: ":status", value: "404" },
      { name: "content-type", value: contentType },
    ]
    this.connection.sendHeaders(this.stream, head, false)
    this.connection.sendData(this.stream, new TextEncoder().encode(text))
    this.connection.sendEnd(this.stream)
  }

  reset(): void {}
  drained(): void {}
  stop(): void {
    this.end()
  }
}

/** Over HTTP/1.1. */
export const answerNotFound = (response: http.ServerResponse): void => {
  response.statusCode = 404
  response.setHeader("content-type", contentType)
  response.end(text)
}
