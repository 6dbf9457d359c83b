/**
 * `toFetch`: services at the edge, as a function from `Request` to `Response`.
 */
import type { DescService } from "@bufbuild/protobuf"
import { createConnectRouter } from "@connectrpc/connect"
import { createFetchHandler } from "@connectrpc/connect/protocol"
import { Effect } from "effect"
import type { Call } from "../core/rpc/call.ts"
import type { Service } from "../core/rpc/service.ts"
import { explained } from "./connect/refusal.ts"
import { register } from "./connect/routes.ts"
import { distinct } from "./distinct.ts"
import type { MessageLimits } from "./limits.ts"

export type FetchHandler = (request: Request) => Promise<Response>

/**
 * A handler for `Bun.serve`, `Deno.serve`, Workers and whatever else speaks `fetch`. It answers Connect, JSON and
 * gRPC-Web. gRPC itself ends calls with HTTP trailers, which `fetch` has no place for: its content types get a 415, and
 * `serve` is what answers them.
 *
 * Programs run with the context that the handler is made in. A stream of requests is read to its end before the first
 * answer where the runtime's `fetch` is half duplex, as over HTTP/1.1.
 *
 * @example
 * const handler = await Effect.runPromise(toFetch(pi))
 * Bun.serve({ fetch: handler })
 * Deno.serve(handler)
 */
export const toFetch = Effect.fnUntraced(function* <R>(
  services: Service<DescService, R> | ReadonlyArray<Service<DescService, R>>,
  limits: MessageLimits = {},
): Effect.fn.Return<FetchHandler, never, Exclude<R, Call>> {
  const context = yield* Effect.context<Exclude<R, Call>>()
  const router = createConnectRouter()
  const all: ReadonlyArray<Service<DescService, R>> = Array.isArray(services) ? services : [services]
  yield* distinct(all)
  for (const service of all) {
    register(router, service, context, { ...limits, grpc: false })
  }
  const handlers = new Map(
    router.handlers.map((handler) => [handler.requestPath, createFetchHandler(explained(handler))]),
  )
  return async (request) => {
    const handler = handlers.get(new URL(request.url).pathname)
    return handler === undefined
      ? new Response("not found: a call is a POST to /package.Service/Method\n", { status: 404 })
      : handler(request)
  }
})
