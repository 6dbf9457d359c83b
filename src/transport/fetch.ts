/**
 * `toFetch`: services at the edge, as a function from `Request` to `Response`.
 */
import type { DescService } from "@bufbuild/protobuf"
import { Effect } from "effect"
import type { Call } from "../core/rpc/call.ts"
import type { Service } from "../core/rpc/service.ts"
import { ConnectServer } from "./connect/server.ts"
import { distinct } from "./distinct.ts"
import { type ExecutionContext, FetchExchange } from "./fetchExchange.ts"
import type { MessageLimits } from "./limits.ts"
import { notFound } from "./refusal.ts"

export type { ExecutionContext } from "./fetchExchange.ts"

/**
 * Answers a request. Where the runtime ends what a request began once its response is out, as Workers do, `context` is what
 * the runtime gives to tell it of work that goes on; any other object means nothing here.
 */
export type FetchHandler = (request: Request, context?: ExecutionContext | object) => Promise<Response>

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
 * export default { fetch: (request, env, context) => handler(request, context) } // Workers
 */
export const toFetch = Effect.fnUntraced(function* <R>(
  services: Service<DescService, R> | ReadonlyArray<Service<DescService, R>>,
  limits: MessageLimits = {},
): Effect.fn.Return<FetchHandler, never, Exclude<R, Call>> {
  const context = yield* Effect.context<Exclude<R, Call>>()
  const all: ReadonlyArray<Service<DescService, R>> = Array.isArray(services) ? services : [services]
  yield* distinct(all)
  // What the programs need is in the context that they are run with.
  const server = new ConnectServer(all as ReadonlyArray<Service<DescService, never>>, context, limits)
  return (request, context) =>
    new Promise((resolve) => {
      const exchange = new FetchExchange(request, resolve, keepsAlive(context) ? context : undefined)
      exchange.handle(server.accept(exchange, exchange.head) ?? notFound(exchange))
    })
})

// Bun gives its server and Deno what it knows of the connection.
const keepsAlive = (context: object | undefined): context is ExecutionContext =>
  context !== undefined && "waitUntil" in context && typeof context.waitUntil === "function"
