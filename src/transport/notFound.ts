/**
 * What answers a request for a path that nobody serves: the same over HTTP/1.1 and HTTP/2. gRPC has a status of its own
 * for that and gets it from the gRPC server; gRPC-Web has it too.
 */
import { unimplemented } from "../core/rpc/service.ts"
import type { Exchange, RequestHandler } from "./exchange.ts"
import { encodeMessage } from "./grpc/status.ts"
import type { RequestHead } from "./http2/head.ts"

const text = "not found: a call is a POST to /package.Service/Method\n"
const contentType = "text/plain; charset=utf-8"

/** Takes the rest of a request that has its response. */
export const answered = (exchange: Exchange): RequestHandler => ({
  data: (_, start, end) => exchange.consumed(end - start),
  end: () => {},
  reset: () => {},
  drained: () => {},
  stop: () => {},
})

/** Sends a response of text, and takes the rest of the request. */
export const respondText = (exchange: Exchange, status: number, body: string): RequestHandler => {
  const head = [
    { name: ":status", value: `${status}` },
    { name: "content-type", value: contentType },
  ]
  exchange.sendHeaders(head, false)
  exchange.sendData(new TextEncoder().encode(body))
  exchange.sendEnd()
  return answered(exchange)
}

export const notFound = (exchange: Exchange): RequestHandler => respondText(exchange, 404, text)

/** The status of gRPC-Web for a method that nobody serves. */
export const webUnimplemented = (exchange: Exchange, { path, fields }: RequestHead): RequestHandler => {
  exchange.sendHeaders(
    [
      { name: ":status", value: "200" },
      // The request's own: gRPC-Web reads no response in gRPC's.
      { name: "content-type", value: fields.find(({ name }) => name === "content-type")?.value ?? "" },
      { name: "grpc-status", value: "12" },
      { name: "grpc-message", value: encodeMessage(unimplemented(path).message) },
    ],
    true,
  )
  return answered(exchange)
}
