/**
 * Connect-ES's client side over the runtime's HTTP/1.1: what it takes for an HTTP client.
 */
import * as http from "node:http"
import * as https from "node:https"
import type { UniversalClientFn } from "@connectrpc/connect/protocol"
import { createNodeHttpClient } from "@connectrpc/connect-node"
import { Effect, type Scope } from "effect"

const makeAgent = (secure: https.AgentOptions | undefined): http.Agent => {
  const agent =
    secure === undefined ? new http.Agent({ keepAlive: true }) : new https.Agent({ ...secure, keepAlive: true })
  const reuse = agent.reuseSocket
  // Deno makes a request again, cancelled or not, if a connection that it knows to be used before ends without an answer.
  agent.reuseSocket = (socket, request) => {
    reuse.call(agent, socket, request)
    request.reusedSocket = false
  }
  return agent
}

// Over TLS Deno fails to write nothing, which is all that an empty message has.
async function* notEmpty(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const bytes of body) if (bytes.length > 0) yield bytes
}

/**
 * An HTTP client that keeps its connections for the calls to come, and cuts them when its scope closes. `secure` is what
 * it needs for TLS, where there is any.
 */
export const http1Client = (secure?: https.AgentOptions): Effect.Effect<UniversalClientFn, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => makeAgent(secure)),
      (agent) => Effect.sync(() => agent.destroy()),
    ),
    (agent) => {
      const client = createNodeHttpClient({ httpVersion: "1.1", nodeOptions: { agent } })
      return (request) => client(request.body === undefined ? request : { ...request, body: notEmpty(request.body) })
    },
  )
