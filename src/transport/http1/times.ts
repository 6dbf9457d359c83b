/**
 * How long things may take on a connection of HTTP/1.1.
 */
import { Duration } from "effect"

export interface Http1Options {
  /**
   * How long a connection may be without a request before it is closed. Default: `headersTimeout`.
   *
   * Source: RFC 9112, section 9.5.
   *
   * @example serve(pi, { http1: { idleTimeout: "2 minutes" } }) // behind a proxy that keeps connections for a minute
   */
  readonly idleTimeout?: Duration.Input
  /**
   * How long the body of a request may take in all, from its head on: over it 408, and the connection is closed. Streams
   * of requests are bodies too. Default: 5 minutes, as `requestTimeout` of node:http.
   *
   * @example serve(pi, { http1: { bodyTimeout: "1 hour" } }) // for uploads that last
   */
  readonly bodyTimeout?: Duration.Input
  /**
   * How long a client may send nothing of a body that isn't whole, and read nothing of a response that waits for it. It is
   * cut off then. Default: 60 seconds, as `client_body_timeout` and `send_timeout` of nginx.
   *
   * @example serve(pi, { http1: { stallTimeout: "10 seconds" } })
   */
  readonly stallTimeout?: Duration.Input
}

/** The options in milliseconds. */
export interface Http1Times {
  readonly head: number
  readonly idle: number
  readonly body: number
  readonly stall: number
}

/** `head` is how long the head of a request may take. */
export const http1Times = (
  head: number,
  { idleTimeout = head, bodyTimeout = "5 minutes", stallTimeout = "60 seconds" }: Http1Options = {},
): Http1Times => ({
  head,
  idle: Duration.toMillis(idleTimeout),
  body: Duration.toMillis(bodyTimeout),
  stall: Duration.toMillis(stallTimeout),
})
