/**
 * The metadata of a request that browsers and proxies have had in hand.
 */
import type * as Metadata from "../../core/rpc/metadata.ts"
import type { Field } from "../http2/hpack.ts"
import { Received } from "../received.ts"

/** Set by HTTP's programs of their own accord, or by gRPC-Web: no metadata of a call. */
export const notOurs: ReadonlySet<string> = new Set(["date", "server", "vary", "via", "x-grpc-web"])

/**
 * The metadata among a request's fields. A cookie may come in pieces, for the sake of compression, and is one again here
 * (RFC 9113, section 8.2.3).
 */
export const requestMetadata = (fields: ReadonlyArray<Field>): Metadata.Metadata => {
  const received = new Received()
  let cookie: string | undefined
  for (const { name, value } of fields) {
    if (name === "cookie") cookie = cookie === undefined ? value : `${cookie}; ${value}`
    else if (!notOurs.has(name)) received.add(name, value)
  }
  if (cookie !== undefined) received.add("cookie", cookie)
  return received.metadata
}
