/**
 * One port for all: HTTP/2 and HTTP/1.1 without TLS, told apart by their first bytes. The only file that listens.
 */
import * as http from "node:http"
import * as http2 from "node:http2"
import * as net from "node:net"
import { Data, Deferred, type Duration, Effect, type Scope } from "effect"

/** An address that can't be listened on. The message says which, why, and what to do. */
export class ListenError extends Data.TaggedError("ListenError")<{
  readonly address: string
  readonly message: string
  readonly cause: unknown
}> {}

export interface ListenOptions {
  /** The address to bind, an IP or a name. Default: 127.0.0.1, this machine only. */
  readonly host?: string
  /** The port to bind; 0 for any free one. Default: 8080. */
  readonly port?: number
  /** How long running calls may go on once the scope closes, before they are interrupted. Default: 10 seconds. */
  readonly grace?: Duration.Input
}

/** Host and port as they stand in a URL. */
export const authority = (host: string, port: number): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

export interface Listening {
  readonly host: string
  readonly port: number
}

/** Handles one request, HTTP/1.1 or HTTP/2. Its answer must end for the request to count as done. */
export type RequestHandler = (
  request: http.IncomingMessage | http2.Http2ServerRequest,
  response: http.ServerResponse | http2.Http2ServerResponse,
) => void

// RFC 9113, section 3.4. Three bytes are enough: no HTTP/1.1 method begins with them.
const preface = "PRI"
// Time for a client to say its first bytes, and for a request's headers. Then the socket is closed.
const headersTimeoutMillis = 30_000

/**
 * Listens until the scope closes. Then no new connection or call is taken, HTTP/2 peers get a GOAWAY, and running calls
 * have the grace to end; `interrupt` ends those that don't.
 */
export const listen = Effect.fnUntraced(function* (
  handle: RequestHandler,
  interrupt: () => void,
  { host = "127.0.0.1", port = 8080, grace = "10 seconds" }: ListenOptions,
): Effect.fn.Return<Listening, ListenError, Scope.Scope> {
  // Each open socket, and how it is closed without cutting off what has been written to it.
  const sockets = new Map<net.Socket, () => void>()
  const sessions = new Set<http2.ServerHttp2Session>()
  const idle = yield* Deferred.make<void>()
  const closed = yield* Deferred.make<void>()
  let running = 0
  let draining = false

  const count: RequestHandler = (request, response) => {
    if (draining) {
      response.statusCode = 503
      response.end()
      return
    }
    running += 1
    response.once("close", () => {
      running -= 1
      if (draining && running === 0) Deferred.doneUnsafe(idle, Effect.void)
    })
    // An answer may come before the end of its request, whose rest nobody reads then: the connection would stand still.
    if ("stream" in request) request.stream.once("finish", () => request.stream.removeAllListeners("data").resume())
    else response.once("finish", () => request.resume())
    handle(request, response)
  }

  const http1Server = http.createServer(
    { headersTimeout: headersTimeoutMillis, requestTimeout: 0, keepAliveTimeout: headersTimeoutMillis },
    count,
  )
  // Its connections are handed to it, and Deno ends those of a server that doesn't listen after one answer.
  Object.defineProperty(http1Server, "listening", { get: () => !draining })
  const http2Server = http2.createServer(count)
  http2Server.on("session", (session) => {
    sessions.add(session)
    session.once("close", () => sessions.delete(session))
  })
  // The peer's fault and the end of its session alone: the session answers it, and other sessions go on.
  http2Server.on("sessionError", () => {})

  const accept = (socket: net.Socket) => {
    sockets.set(socket, () => socket.destroy())
    socket.once("close", () => {
      sockets.delete(socket)
      if (draining && sockets.size === 0) Deferred.doneUnsafe(closed, Effect.void)
    })
    // A peer that goes away without a word: "close" follows.
    socket.on("error", () => {})
    socket.setNoDelay(true)
    socket.setTimeout(headersTimeoutMillis, () => socket.destroy())
    let first = ""
    const sniff = (chunk: Uint8Array) => {
      first += Buffer.from(chunk).toString("latin1")
      if (first.length < preface.length && preface.startsWith(first)) return
      socket.off("data", sniff)
      socket.setTimeout(0)
      const begun = Buffer.from(first, "latin1")
      if (first.startsWith(preface)) {
        // A session writes past its socket's own buffer, and closes the socket itself when it has closed.
        sockets.set(socket, () => {})
        socket.pause()
        socket.unshift(begun)
        http2Server.emit("connection", socket)
        socket.resume()
      } else {
        sockets.set(socket, () => socket.destroySoon())
        http1Server.emit("connection", socket)
        // Pushed back it would come late: Deno reads what follows past the socket's own buffer.
        socket.emit("data", begun)
      }
    }
    socket.on("data", sniff)
  }

  const server = net.createServer(accept)
  yield* Effect.callback<void, ListenError>((resume) => {
    server.once("error", (cause) => resume(Effect.fail(listenError(host, port, cause))))
    server.listen({ host, port }, () => resume(Effect.void))
  })

  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      draining = true
      server.close()
      for (const session of sessions) session.close()
      if (running > 0) {
        yield* Effect.timeoutOption(Deferred.await(idle), grace)
        if (running > 0) {
          interrupt()
          // What has been interrupted still has an answer to send.
          yield* Effect.timeoutOption(Deferred.await(idle), "1 second")
        }
      }
      for (const close of sockets.values()) close()
      // An answer counts as done before its last bytes have left.
      if (sockets.size > 0) yield* Effect.timeoutOption(Deferred.await(closed), "1 second")
      for (const socket of sockets.keys()) socket.destroy()
    }),
  )

  const bound = server.address()
  return { host, port: typeof bound === "object" && bound !== null ? bound.port : port }
})

const listenError = (host: string, port: number, cause: NodeJS.ErrnoException): ListenError => {
  const address = authority(host, port)
  const why: Partial<Record<string, string>> = {
    EADDRINUSE: "another process listens there already: end it, or choose another port",
    EACCES: "this user may not listen there: choose a port above 1023",
    EADDRNOTAVAIL: "this machine has no such address: choose another host",
    // Deno's word for the same.
    EINVAL: "this machine has no such address: choose another host",
    ENOTFOUND: "there is no such host name: choose another host",
  }
  return new ListenError({
    address,
    message: `cannot listen on ${address}: ${why[cause.code ?? ""] ?? cause.message}`,
    cause,
  })
}
