/**
 * `serve`: services on a port, in all of gRPC, gRPC-Web, Connect and JSON, over HTTP/1.1 and HTTP/2.
 */
import type { DescService } from "@bufbuild/protobuf"
import { Code, ConnectError, createConnectRouter, createContextValues } from "@connectrpc/connect"
import { Effect, type Scope } from "effect"
import type { Call } from "../core/rpc/call.ts"
import type { Service } from "../core/rpc/service.ts"
import { unimplemented } from "../core/rpc/service.ts"
import { toNodeHandler } from "./connect/node.ts"
import { peerKey, register } from "./connect/routes.ts"
import type { MessageLimits } from "./limits.ts"
import {
  authority,
  type ListenError,
  type Listening,
  type ListenOptions,
  listen,
  type RequestHandler,
} from "./net/listen.ts"

export interface ServeOptions extends ListenOptions, MessageLimits {}

export interface Server extends Listening {
  /** Where clients find it, such as `http://127.0.0.1:8080`. */
  readonly url: string
}

/**
 * Serves one service or several until the scope closes, then drains: calls that run may end within the grace.
 *
 * @example
 * const program = Effect.gen(function* () {
 *   const server = yield* serve(pi, { port: 0 })
 *   yield* Effect.log(`listening on ${server.url}`)
 *   yield* Effect.never
 * })
 */
export const serve = Effect.fnUntraced(function* <R>(
  services: Service<DescService, R> | ReadonlyArray<Service<DescService, R>>,
  options: ServeOptions = {},
): Effect.fn.Return<Server, ListenError, Exclude<R, Call> | Scope.Scope> {
  const context = yield* Effect.context<Exclude<R, Call>>()
  const shutdown = new AbortController()
  const router = createConnectRouter({ shutdownSignal: shutdown.signal })
  for (const service of Array.isArray(services) ? services : [services]) register(router, service, context, options)
  const handle = toNodeHandler(router, {
    contextValues: ({ socket }) =>
      createContextValues().set(peerKey, {
        address: socket.remoteAddress === undefined ? undefined : `${socket.remoteAddress}:${socket.remotePort}`,
      }),
    fallback: notFound,
  })
  const interrupt = () => shutdown.abort(new ConnectError("the server is shutting down", Code.Unavailable))
  const listening = yield* listen(handle, interrupt, options)
  return { ...listening, url: `http://${authority(listening.host, listening.port)}` }
})

// gRPC has a status of its own for a method that isn't there; for all others it is HTTP's.
const notFound: RequestHandler = (request, response) => {
  const { message } = unimplemented(request.url?.split("?", 1)[0] ?? "")
  const contentType = request.headers["content-type"]
  if (contentType?.startsWith("application/grpc") === true) {
    // The request's own: gRPC-Web reads no answer in gRPC's.
    response.setHeader("content-type", contentType)
    response.setHeader("grpc-status", "12")
    response.setHeader("grpc-message", encodeURI(message))
    response.end()
    return
  }
  response.statusCode = 404
  response.setHeader("content-type", "text/plain; charset=utf-8")
  response.end("not found: a call is a POST to /package.Service/Method\n")
}
