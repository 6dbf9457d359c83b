/**
 * The handlers of a Connect router for requests of `node:http` and `node:http2`.
 *
 * Connect-ES has an adapter of its own. What that throws ends the process, and it prints an error for each client that
 * goes away in the middle of an answer, by the way Deno tells it.
 */
import type { ConnectRouter, ContextValues } from "@connectrpc/connect"
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node"
import type { RequestHandler } from "../net/listen.ts"

type Request = Parameters<RequestHandler>[0]

export interface NodeHandlerOptions {
  readonly contextValues: (request: Request) => ContextValues
  /** Answers requests for paths that the router doesn't have. */
  readonly fallback: RequestHandler
}

export const toNodeHandler = (
  router: ConnectRouter,
  { contextValues, fallback }: NodeHandlerOptions,
): RequestHandler => {
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]))

  // Throws where a request's Host is missing or no host: Connect-ES wants a whole URL.
  const read = (...[request, response]: Parameters<RequestHandler>) => {
    try {
      return universalRequestFromNodeRequest(request, response, undefined, contextValues(request))
    } catch {
      return undefined
    }
  }

  return (request, response) => {
    const handler = handlers.get(request.url?.split("?", 1)[0] ?? "")
    if (handler === undefined) return fallback(request, response)
    const call = read(request, response)
    if (call === undefined) {
      response.statusCode = 400
      response.end()
      return
    }
    handler(call)
      .then((answer) => universalResponseToNodeResponse(answer, response))
      // Nobody is left to answer: the peer has gone, and its call has been cancelled already.
      .catch(() => response.destroy())
  }
}
