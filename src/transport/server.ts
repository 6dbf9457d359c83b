/**
 * `serve`: services on a port, in all of gRPC, gRPC-Web, Connect and JSON, over HTTP/1.1 and HTTP/2.
 *
 * gRPC on HTTP/2 goes straight to the programs. Everything else goes through Connect-ES, on the same HTTP/2 or on the
 * runtime's HTTP/1.1.
 */
import type { DescService } from "@bufbuild/protobuf"
import { Code, ConnectError, type ConnectRouter, createConnectRouter } from "@connectrpc/connect"
import { Effect, type Scope } from "effect"
import type { Call } from "../core/rpc/call.ts"
import type { Service } from "../core/rpc/service.ts"
import { Exchange } from "./connect/exchange.ts"
import { toNodeHandler } from "./connect/node.ts"
import { explained } from "./connect/refusal.ts"
import { register } from "./connect/routes.ts"
import { distinct } from "./distinct.ts"
import { GrpcServer } from "./grpc/server.ts"
import { defaultMaxReceiveBytes, type MessageLimits } from "./limits.ts"
import { authority, type Handlers, type ListenError, type Listening, type ListenOptions, listen } from "./net/listen.ts"
import { NotFound } from "./notFound.ts"

/** Routes of Connect-ES, as its own adapters take them. */
export type Routes = (router: ConnectRouter) => void

export interface ServeOptions extends ListenOptions, MessageLimits {
  /**
   * Services written for Connect-ES, served beside ours on the same HTTP/2: a user of connect-node keeps its code.
   *
   * @example serve([], { routes: (router) => router.service(ElizaService, eliza) })
   */
  readonly routes?: Routes
}

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
export const serve = Effect.fnUntraced(function* <R = never>(
  services: Service<DescService, R> | ReadonlyArray<Service<DescService, R>>,
  options: ServeOptions = {},
): Effect.fn.Return<Server, ListenError, Exclude<R, Call> | Scope.Scope> {
  const context = yield* Effect.context<Exclude<R, Call>>()
  const all: ReadonlyArray<Service<DescService, R>> = Array.isArray(services) ? services : [services]
  yield* distinct(all)
  const { maxReceiveBytes = defaultMaxReceiveBytes } = options
  const shutdown = new AbortController()
  const router = createConnectRouter({ shutdownSignal: shutdown.signal })
  for (const service of all) register(router, service, context, options)
  options.routes?.(router)
  const routes = new Map(router.handlers.map((handler) => [handler.requestPath, explained(handler)]))
  // What the programs need is in the context that they are run with.
  const grpc = new GrpcServer(all as ReadonlyArray<Service<DescService, never>>, context, options)
  const handlers: Handlers = {
    http2: (connection, stream, head, peer) => {
      if (grpc.accept(connection, stream, head, peer)) return
      const route = routes.get(head.path.split("?", 1)[0] ?? "")
      if (route !== undefined) stream.context = new Exchange(connection, stream, head, peer, route, maxReceiveBytes)
      else if (GrpcServer.speaks(head)) grpc.refuse(connection, stream, head)
      else stream.context = new NotFound(connection, stream)
    },
    http1: toNodeHandler(routes, maxReceiveBytes),
    interrupt: () => shutdown.abort(new ConnectError("the server is shutting down", Code.Unavailable)),
  }
  const listening = yield* listen(handlers, options)
  const scheme = options.tls === undefined ? "http" : "https"
  return { ...listening, url: `${scheme}://${authority(listening.host, listening.port)}` }
})
