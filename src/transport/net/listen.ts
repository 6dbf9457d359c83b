/**
 * One port for all: HTTP/2 and HTTP/1.1, told apart by their first bytes, or under TLS by ALPN. The only file that
 * listens.
 */
import * as net from "node:net"
import * as tls from "node:tls"
import { Cause, Deferred, type Duration, Effect, type Scope } from "effect"
import type { Peer } from "../../core/rpc/call.ts"
import { networkOf } from "../../core/rpc/network.ts"
import { printableCause } from "../../core/rpc/printable.ts"
import type { Answerer } from "../exchange.ts"
import { type Http1Options, http1Times } from "../http1/times.ts"
import type { ServerConnection, ServerStream } from "../http2/handler.ts"
import type { RequestHead } from "../http2/head.ts"
import { type Limits, limitsOf } from "../http2/limits.ts"
import { authority } from "./address.ts"
import { Http1Session } from "./http1Session.ts"
import { ListenError, listenError } from "./listenError.ts"
import { type MemoryOptions, type MemoryUse, ServerMemory } from "./memory.ts"
import { defaultMaxConnections } from "./openFiles.ts"
import { peerOf } from "./peer.ts"
import { Places } from "./places.ts"
import { Session, type SessionOptions, sessionTimes } from "./session.ts"
import { longestBeginning, spokenIn } from "./spoken.ts"
import { type TlsOptions, tlsFault, toServerOptions } from "./tls.ts"
import { Watchdog } from "./watchdog.ts"

export interface ListenOptions extends SessionOptions {
  /** The address to bind, an IP or a name. Default: 127.0.0.1, this machine only. */
  readonly host?: string
  /** The port to bind; 0 for any free one. Default: 8080. */
  readonly port?: number
  /**
   * Share the port with other processes of this user that listen on it with this option too. The kernel gives each new
   * connection to one of them, by a hash of its addresses, so few connections may be spread unevenly. Those that a process
   * has not accepted when it stops listening are reset, unless `net.ipv4.tcp_migrate_req` is 1: then another one gets them.
   * Linux has this, and some BSDs; a `ListenError` elsewhere. Default: false.
   *
   * Source: socket(7), SO_REUSEPORT.
   *
   * @example
   * const server = yield* serve(pi, { port: 8080, reusePort: true }) // in each of several processes
   */
  readonly reusePort?: boolean
  /** How long running calls may go on once the scope closes, before they are interrupted. Default: 10 seconds. */
  readonly grace?: Duration.Input
  /** Default: no TLS. */
  readonly tls?: TlsOptions
  /**
   * How many connections there may be at once, whatever they speak, and those that have said nothing yet among them; a
   * further one is closed as soon as it is accepted. Keep it below the process's limit on open files (`ulimit -n`): who has
   * no more of these can't even refuse. Default: nine tenths of that limit, and 65,536 at most; 922 where the limit can't
   * be read, as on Deno without `--allow-all`.
   *
   * @example serve(pi, { maxConnections: 10_000 })
   */
  readonly maxConnections?: number
  /**
   * Which share of these connections one address may have, from 0 to 1: then others still find places. Of IPv6 all addresses
   * with the same first 64 bits count as one. Give 1 behind a
   * proxy, where all clients come from one address. Default: 0.25.
   *
   * @example serve(pi, { peerShare: 1 }) // behind a proxy
   */
  readonly peerShare?: number
  /** What one HTTP/2 connection may make us hold or do. */
  readonly limits?: Partial<Limits>
  /** How long things may take on a connection of HTTP/1.1. */
  readonly http1?: Http1Options
  /** How many bytes may be held for peers: for all together, for each, and on a connection. */
  readonly memory?: MemoryOptions
}

export interface Listening {
  readonly host: string
  readonly port: number
  /** How much memory is held for peers now, and how often something was refused for want of it. */
  readonly memory: MemoryUse
}

/** Who answers requests. */
export interface Handlers {
  /** Takes a request that came over HTTP/2, and puts who handles it into the stream's context. */
  readonly http2: (connection: ServerConnection, stream: ServerStream, head: RequestHead, peer: Peer) => void
  /** Answers a request that came over HTTP/1.1. */
  readonly http1: Answerer
  /** Ends what runs: the grace is over. */
  readonly interrupt: () => void
}

/** What carries calls on a socket: how it is brought to its end in order, and at once. */
interface Carrier {
  readonly drain: () => void
  readonly stop: () => void
}

const ignore = () => {}
function destroy(this: net.Socket): void {
  this.destroy()
}

/**
 * Listens until the scope closes. Then no new connection or call is taken, HTTP/2 peers get a GOAWAY, and running calls
 * have the grace to end before they are interrupted.
 */
export const listen = Effect.fnUntraced(function* (
  handlers: Handlers,
  {
    host = "127.0.0.1",
    port = 8080,
    reusePort = false,
    grace = "10 seconds",
    tls: secure,
    maxConnections = defaultMaxConnections(),
    peerShare = 0.25,
    limits,
    http1,
    memory: memoryOptions,
    ...options
  }: ListenOptions,
): Effect.fn.Return<Listening, ListenError, Scope.Scope> {
  // Each open socket. One that hasn't said yet what it speaks carries nothing.
  const sockets = new Map<net.Socket, Carrier>()
  const closed = yield* Deferred.make<void>()
  let draining = false
  let watchdog: Watchdog | undefined

  const context = yield* Effect.context<never>()
  const died = (defect: unknown) => {
    Effect.runForkWith(context)(
      Effect.logError("a connection was closed by a defect", printableCause(Cause.die(defect))),
    )
  }
  const times = sessionTimes(options)
  const allLimits = limitsOf(limits)
  const times1 = http1Times(times.preface, http1)
  const scheme = secure === undefined ? "http" : "https"
  const memory = new ServerMemory(memoryOptions)

  const places = new Places(maxConnections, peerShare)

  // No arrow functions here and below: one for all sockets does, given the socket as `this`.
  function left(this: net.Socket): void {
    sockets.delete(this)
    if (draining && sockets.size === 0) Deferred.doneUnsafe(closed, Effect.void)
  }

  // Before the handshake of TLS: who says nothing has a place as well.
  const admit = (socket: net.Socket) => {
    const address = networkOf(socket.remoteAddress ?? "")
    if (watchdog?.hears(socket) === true) return socket.destroy()
    if (!places.take(address)) {
      watchdog?.left()
      return socket.destroy()
    }
    socket.once("close", () => {
      places.give(address)
      watchdog?.left()
    })
  }

  const accept = (socket: net.Socket) => {
    const silent = () => socket.destroy()
    sockets.set(socket, { drain: silent, stop: silent })
    socket.on("close", left)
    // A peer that goes away without a word: "close" follows.
    socket.on("error", ignore)
    socket.on("timeout", destroy)
    socket.setNoDelay(true)
    socket.setTimeout(times.preface)
  }

  const carryHttp2 = (socket: net.Socket, first: Uint8Array) => {
    socket.setTimeout(0)
    const peer = peerOf(socket)
    const opened = new Session(
      socket,
      (connection, stream, head) => handlers.http2(connection, stream, head, peer),
      times,
      allLimits,
      memory.open(networkOf(socket.remoteAddress ?? "")),
      died,
    )
    sockets.set(socket, opened)
    opened.receive(first)
  }

  const carryHttp1 = (socket: net.Socket, first: Uint8Array) => {
    socket.setTimeout(0)
    const opened = new Http1Session(socket, {
      scheme,
      peer: peerOf(socket),
      answer: handlers.http1,
      times: times1,
      maxHeadSize: allLimits.maxHeaderListSize,
      memory: memory.open(networkOf(socket.remoteAddress ?? "")),
      died,
    })
    sockets.set(socket, opened)
    opened.receive(first)
  }

  const acceptPlain = (socket: net.Socket) => {
    admit(socket)
    accept(socket)
    let first = Buffer.alloc(0)
    const by = performance.now() + times.preface
    const sniff = (chunk: Buffer) => {
      first = Buffer.concat([first, chunk])
      const spoken = spokenIn(first.toString("latin1", 0, longestBeginning))
      if (spoken === "unclear") {
        // The timeout of a socket begins anew with each byte.
        const left = by - performance.now()
        return left > 0 ? void socket.setTimeout(left) : void socket.destroy()
      }
      socket.off("data", sniff)
      if (spoken === "http/2") return carryHttp2(socket, first)
      // An answer in HTTP/1.1 would be garbage to whoever speaks neither (RFC 9113, section 3.4).
      if (spoken === "neither") return socket.destroy()
      carryHttp1(socket, first)
    }
    socket.on("data", sniff)
  }

  const acceptSecure = (socket: tls.TLSSocket) => {
    accept(socket)
    const nothing = new Uint8Array(0)
    if (socket.alpnProtocol === "h2") carryHttp2(socket, nothing)
    else carryHttp1(socket, nothing)
  }

  const fault = secure === undefined ? undefined : tlsFault(secure)
  if (fault !== undefined) {
    const address = authority(host, port)
    const message = `cannot listen on ${address}: tls.${fault.option} ${fault.message}`
    return yield* new ListenError({ address, message, cause: fault })
  }
  const server =
    secure === undefined
      ? net.createServer(acceptPlain)
      : tls.createServer({ ...toServerOptions(secure), handshakeTimeout: times.preface }, acceptSecure)
  if (secure !== undefined) server.on("connection", admit)
  // A handshake that fails is its client's trouble, and one that takes too long isn't ended by itself.
  server.on("tlsClientError", (_: Error, socket: tls.TLSSocket) => socket.destroy())
  yield* Effect.callback<void, ListenError>((resume) => {
    server.once("error", (cause) => resume(Effect.fail(listenError(host, port, cause))))
    server.listen({ host, port, reusePort }, () => resume(Effect.void))
  })

  // What happens to one that can't be accepted is no end of the process.
  server.on("error", ignore)
  const bound = server.address()
  const boundPort = typeof bound === "object" && bound !== null ? bound.port : port
  const boundHost = typeof bound === "object" && bound !== null ? bound.address : host
  watchdog = Watchdog.over(boundHost, boundPort, () => {
    // What can't be done now is tried again a second later.
    server.close()
    server.listen({ host, port: boundPort, reusePort })
  })

  const whenClosed = Effect.suspend(() => (sockets.size === 0 ? Effect.void : Deferred.await(closed)))
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      draining = true
      watchdog?.end()
      server.close()
      for (const carrier of [...sockets.values()]) carrier.drain()
      yield* Effect.timeoutOption(whenClosed, grace)
      handlers.interrupt()
      for (const carrier of [...sockets.values()]) carrier.stop()
      // What has been interrupted still has an answer to send.
      yield* Effect.timeoutOption(whenClosed, "1 second")
      for (const socket of sockets.keys()) socket.destroy()
    }),
  )

  return { host, port: boundPort, memory }
})
