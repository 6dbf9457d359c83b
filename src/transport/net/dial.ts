/**
 * Dialling: a connection to where a server is, up to the server's first word. The only file that dials.
 */
import * as net from "node:net"
import * as tls from "node:tls"
import { Duration, Effect } from "effect"
import { RpcError } from "../../core/rpc/error.ts"
import { ConnectionError } from "../http2/frames.ts"
import type { Limits } from "../http2/limits.ts"
import type { Target } from "./address.ts"
import { ClientSession, type ClientTimes } from "./clientSession.ts"
import type { LineSide } from "./line.ts"
import { nameOf } from "./tls.ts"

export interface DialOptions {
  readonly times: ClientTimes
  readonly limits: Limits
  /** How long the server may take for its preface. */
  readonly timeout: Duration.Input
}

const untrusted = "its certificate is of no authority that is trusted here: give the one that signed it as tls.ca"

// What the runtimes call what goes wrong most often, and what a person can do about it.
const reasons: Partial<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there: check the address, and that the server runs",
  EHOSTUNREACH: "there is no way to that host",
  ENETUNREACH: "there is no way to that network",
  ENOENT: "there is no such socket: check the path, and that the server runs",
  ENOTFOUND: "there is no such host name: check its spelling",
  EAI_AGAIN: "the host name can't be looked up now",
  ETIMEDOUT: "it doesn't answer",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  UNABLE_TO_GET_ISSUER_CERT: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  ERR_TLS_CERT_ALTNAME_INVALID:
    "its certificate is for other names: check the address, or give the name as tls.serverName",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate isn't valid yet: check the clocks of both machines",
  ERR_SSL_WRONG_VERSION_NUMBER: "it speaks no TLS: give an address that begins with http:",
}

const codeOf = (error: Error): string => ("code" in error && typeof error.code === "string" ? error.code : "")

// What reaches functions at the edge, and other servers of HTTP/1.1.
const overHttp1 = 'give protocol: "connect" and httpVersion: "1.1"'
const perhapsHttp1 = `if it speaks HTTP/1.1 only, ${overHttp1}`
const noHttp2 = `it speaks no HTTP/2 over TLS (it doesn't agree on h2 by ALPN): ${perhapsHttp1}`

// Alerts of TLS, which each runtime writes in its own way.
const alerts: ReadonlyArray<readonly [RegExp, string]> = [
  [/no[_ ]?application[_ ]?protocol/i, noHttp2],
  [/certificate[_ ]?required/i, "it asks for a certificate of the client's own: give one as tls.cert and tls.key"],
]

const because = (error: Error): string =>
  reasons[codeOf(error)] ??
  alerts.find(([pattern]) => pattern.test(`${codeOf(error)} ${error.message}`))?.[1] ??
  (error.message || codeOf(error))

// How it shows that the other end closed the connection.
const closed: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE"])

/** Why a connection has ended before the server's preface; `secured` is whether they had shaken hands over TLS. */
const endedEarly = ({ tls: secure }: Target, secured: boolean, cause: unknown): string => {
  if (cause instanceof ConnectionError) return `it speaks no HTTP/2 (${cause.message})`
  if (cause instanceof Error && !closed.has(codeOf(cause))) return because(cause)
  const early = "it closes the connection before it speaks HTTP/2"
  if (secure === undefined) return `${early}: check that it does, and that it doesn't want https:; ${perhapsHttp1}`
  // In TLS 1.3 a server looks at the client's certificate after that, and what it says of it may get lost.
  return secured
    ? `${early}: it may ask for a certificate of the client's own, tls.cert and tls.key`
    : `${early}: check that it does, and over TLS`
}

// How a server of HTTP/1.1 begins to refuse what it takes for a request.
const http1Start = "HTTP/1."

const open = ({ place, tls: secure }: Target): net.Socket => {
  if (secure === undefined) return net.connect({ ...place })
  return tls.connect({ ...("host" in place && nameOf(place.host)), ...place, ...secure })
}

/** Connects, and waits for the server's preface. Interrupting it closes the socket. */
export const dial = (
  target: Target,
  { times, limits, timeout }: DialOptions,
  side: LineSide<ClientSession>,
): Effect.Effect<ClientSession, RpcError> => {
  const failed = (why: string, cause?: unknown) =>
    new RpcError({ code: "unavailable", message: `cannot connect to ${target.text}: ${why}`, cause })
  return Effect.callback<ClientSession, RpcError>((resume) => {
    let socket: net.Socket
    try {
      socket = open(target)
    } catch (cause) {
      return resume(Effect.fail(failed(cause instanceof Error ? because(cause) : String(cause), cause)))
    }
    let why: RpcError | undefined
    let secured = false
    let speaksHttp1 = false
    socket.once("error", (error) => {
      why ??= failed(endedEarly(target, secured, error), error)
    })
    const session = new ClientSession(socket, target.origin, times, limits, {
      ready: (ready) => resume(Effect.succeed(ready)),
      room: side.room,
      left: side.left,
      closed: (closed) => {
        const cause = closed.lost?.cause
        const early = speaksHttp1
          ? `it speaks HTTP/1.1, and no HTTP/2: ${overHttp1}`
          : endedEarly(target, secured, cause)
        resume(Effect.fail(why ?? failed(early, cause)))
        side.closed(closed)
      },
    })
    socket.once("data", (bytes: Buffer) => {
      speaksHttp1 = bytes.toString("latin1", 0, http1Start.length) === http1Start
    })
    socket.once(target.tls === undefined ? "connect" : "secureConnect", () => {
      if (socket instanceof tls.TLSSocket && socket.alpnProtocol !== "h2") {
        why = failed(noHttp2)
        socket.destroy()
      } else {
        secured = target.tls !== undefined
        session.begin()
      }
    })
    return Effect.sync(() => session.cut(failed("given up")))
  }).pipe(
    Effect.timeoutOrElse({
      duration: timeout,
      orElse: () => Effect.fail(failed(`it doesn't answer within ${Duration.toMillis(timeout)} ms`)),
    }),
  )
}
