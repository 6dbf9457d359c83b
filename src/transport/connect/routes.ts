/**
 * Routes of Connect-ES: services that were written for it, on an exchange of ours.
 */
import { Code, ConnectError, type ConnectRouter, createConnectRouter } from "@connectrpc/connect"
import type { Answerer } from "../exchange.ts"
import { UniversalExchange } from "./universal.ts"

/** Routes of Connect-ES, as its own adapters take them. */
export type Routes = (router: ConnectRouter) => void

export interface Routed {
  /** Who takes requests for a path; `undefined` where it is none of the routes'. */
  readonly at: (path: string) => Answerer | undefined
  /** Tells the handlers that the server ends. */
  readonly interrupt: () => void
}

/** Who takes the requests of routes, whose messages may have so many bytes. */
export const routed = (routes: Routes, maxReceiveBytes: number): Routed => {
  const shutdown = new AbortController()
  const router = createConnectRouter({ shutdownSignal: shutdown.signal, readMaxBytes: maxReceiveBytes })
  routes(router)
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]))
  return {
    at: (path) => {
      const handler = handlers.get(path)
      return handler && ((exchange, head) => new UniversalExchange(exchange, head, handler, maxReceiveBytes))
    },
    interrupt: () => shutdown.abort(new ConnectError("the server is shutting down", Code.Unavailable)),
  }
}
