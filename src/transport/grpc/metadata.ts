/**
 * Metadata and the header fields of HTTP/2, both ways. Unlike `Headers`, fields keep a repeated key's values apart.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Custom-Metadata" and "Binary-Header".
 */
import type * as Metadata from "../../core/rpc/metadata.ts"
import { encodeBinary } from "../binary.ts"
import type { Field } from "../http2/hpack.ts"
import { Received } from "../received.ts"

export const toFields = (metadata: Metadata.Metadata): ReadonlyArray<Field> =>
  metadata.map(([name, value]) => ({ name, value: typeof value === "string" ? value : encodeBinary(value) }))

/** The metadata among fields. */
export const fromFields = (fields: ReadonlyArray<Field>): Metadata.Metadata => {
  const received = new Received()
  for (const { name, value } of fields) received.add(name, value)
  return received.metadata
}
