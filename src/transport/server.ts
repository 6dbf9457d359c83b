/**
 * `serve`: services on a port, in all of gRPC, gRPC-Web, Connect and JSON, over HTTP/1.1 and HTTP/2.
 *
 * All of it goes straight to the programs: gRPC from its streams of HTTP/2, the others from an exchange of either HTTP.
 */
import type { DescService } from "@bufbuild/protobuf"
import { Effect, type Scope } from "effect"
import type { Call } from "../core/rpc/call.ts"
import type { Service } from "../core/rpc/service.ts"
import { type Routes, routed } from "./connect/routes.ts"
import { ConnectServer } from "./connect/server.ts"
import { distinct } from "./distinct.ts"
import type { Answerer } from "./exchange.ts"
import { isGrpc } from "./grpc/codec.ts"
import { refuseGrpc } from "./grpc/http1.ts"
import { contentTypeOf, GrpcServer, unserved } from "./grpc/server.ts"
import type { RequestHead } from "./http2/head.ts"
import { defaultMaxReceiveBytes, type MessageLimits } from "./limits.ts"
import { authority } from "./net/address.ts"
import { type Handlers, type Listening, type ListenOptions, listen } from "./net/listen.ts"
import type { ListenError } from "./net/listenError.ts"
import { notFound } from "./refusal.ts"
import { StreamExchange } from "./streamExchange.ts"

export type { Routes } from "./connect/routes.ts"

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
  // What the programs need is in the context that they are run with.
  const served = all as ReadonlyArray<Service<DescService, never>>
  const grpc = new GrpcServer(served, context, options)
  const connect = new ConnectServer(served, context, options)
  const others = options.routes && routed(options.routes, options.maxReceiveBytes ?? defaultMaxReceiveBytes)
  const answer: Answerer = (exchange, head) => {
    const contentType = contentTypeOf(head.fields)
    const speaksGrpc = isGrpc(contentType)
    const call = speaksGrpc ? undefined : connect.accept(exchange, head)
    if (call !== undefined) return call
    const other = others?.at(pathOf(head))
    if (other !== undefined) return other(exchange, head)
    // gRPC-Web is told in the same way.
    return contentType.startsWith("application/grpc") ? unserved(exchange, contentType, head) : notFound(exchange)
  }
  const handlers: Handlers = {
    http2: (connection, stream, head, peer) => {
      if (grpc.accept(connection, stream, head, peer)) return
      stream.context = answer(new StreamExchange(connection, stream, peer), head)
    },
    http1: (exchange, head) => refuseGrpc(exchange, head) ?? answer(exchange, head),
    interrupt: () => others?.interrupt(),
  }
  const listening = yield* listen(handlers, options)
  const scheme = options.tls === undefined ? "http" : "https"
  return { ...listening, url: `${scheme}://${authority(listening.host, listening.port)}` }
})

const pathOf = ({ path }: RequestHead): string => path.split("?", 1)[0] ?? ""
