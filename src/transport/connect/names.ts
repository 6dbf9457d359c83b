/**
 * What Connect calls the fields of a head that say how a call goes.
 *
 * Source: connectrpc.com/docs/protocol, "Unary-Request-Headers" and "Streaming-Request-Headers".
 */
import type { HeadNames } from "../grpc/head.ts"

const pattern = /^\d{1,10}$/

/** A `connect-timeout-ms` in milliseconds; `undefined` if the text is none. */
export const parseTimeout = (text: string): number | undefined => (pattern.test(text) ? Number(text) : undefined)

export const unaryNames: HeadNames = {
  timeout: "connect-timeout-ms",
  parseTimeout,
  encoding: "content-encoding",
  acceptEncoding: "accept-encoding",
}

export const streamNames: HeadNames = {
  timeout: "connect-timeout-ms",
  parseTimeout,
  encoding: "connect-content-encoding",
  acceptEncoding: "connect-accept-encoding",
}
