/**
 * Handlers of a Connect router for requests of `node:http`.
 *
 * Connect-ES has an adapter of its own. What that throws ends the process, and it prints an error for each client that
 * goes away in the middle of an answer, by the way Deno tells it.
 */
import type * as http from "node:http"
import { createContextValues } from "@connectrpc/connect"
import type { UniversalHandlerFn, UniversalServerRequest } from "@connectrpc/connect/protocol"
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node"
import { unimplemented } from "../../core/rpc/service.ts"
import { isGrpc } from "../grpc/codec.ts"
import { encodeMessage } from "../grpc/status.ts"
import { peerOf } from "../net/listen.ts"
import { answerNotFound } from "../notFound.ts"
import { gather } from "./gathering.ts"
import { peerKey } from "./routes.ts"

export const toNodeHandler =
  (routes: ReadonlyMap<string, UniversalHandlerFn>, maxReceiveBytes: number): http.RequestListener =>
  (request, response) => {
    if (isGrpc(contentTypeOf(request))) return refuseGrpc(response)
    const path = request.url?.split("?", 1)[0] ?? ""
    const handler = routes.get(path)
    if (handler === undefined) return fallback(path, request, response)
    const call = read(request, response, maxReceiveBytes)
    if (call === undefined) {
      response.statusCode = 400
      response.end()
      return
    }
    // What is left of a request that was answered early, as one over the limit is, must not lie there: the connection's
    // next request waits behind it.
    response.once("finish", () => request.resume())
    handler(call)
      .then((answer) => universalResponseToNodeResponse(answer, response))
      // Nobody is left to answer: the peer has gone, and its call has been cancelled already.
      .catch(() => response.destroy())
  }

// Throws where a request's Host is missing or no host: Connect-ES wants a whole URL.
const read = (
  request: http.IncomingMessage,
  response: http.ServerResponse,
  maxReceiveBytes: number,
): UniversalServerRequest | undefined => {
  try {
    const call = universalRequestFromNodeRequest(
      request,
      response,
      undefined,
      createContextValues().set(peerKey, peerOf(request.socket)),
    )
    // Over HTTP/1.1 Connect-ES would refuse all bidi methods. Half duplex, with all requests before the first answer,
    // they work there too; the version serves for nothing else.
    // And its own iterator destroys a request that it leaves early, which leaves the connection to nobody.
    const body = gather(call.header, request.iterator({ destroyOnReturn: false }), maxReceiveBytes)
    return { ...call, httpVersion: "2.0", body }
  } catch {
    return undefined
  }
}

const contentTypeOf = (request: http.IncomingMessage): string => request.headers["content-type"] ?? ""

// gRPC needs HTTP/2 (PROTOCOL-HTTP2): in HTTP/1.1 its status would be in trailers, which Bun doesn't send.
const refuseGrpc = (response: http.ServerResponse): void => {
  response.statusCode = 505
  response.setHeader("content-type", "text/plain; charset=utf-8")
  response.setHeader("connection", "close")
  response.end("gRPC needs HTTP/2; over HTTP/1.1 there are gRPC-Web and Connect\n")
}

// gRPC-Web has a status of its own for a method that isn't there.
const fallback = (path: string, request: http.IncomingMessage, response: http.ServerResponse): void => {
  const contentType = contentTypeOf(request)
  if (!contentType.startsWith("application/grpc-web")) return answerNotFound(response)
  // The request's own: gRPC-Web reads no answer in gRPC's.
  response.setHeader("content-type", contentType)
  response.setHeader("grpc-status", "12")
  response.setHeader("grpc-message", encodeMessage(unimplemented(path).message))
  response.end()
}
