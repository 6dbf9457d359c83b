/**
 * Metadata and the header fields of HTTP/2, both ways. Unlike `Headers`, fields keep a repeated key's values apart.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Custom-Metadata" and "Binary-Header".
 */
import * as Metadata from "../../core/rpc/metadata.ts"
import { decodeBinary, encodeBinary, mostValues } from "../binary.ts"
import type { Field } from "../http2/hpack.ts"

export const toFields = (metadata: Metadata.Metadata): ReadonlyArray<Field> =>
  metadata.map(([name, value]) => ({ name, value: typeof value === "string" ? value : encodeBinary(value) }))

/** The metadata among fields: all but what belongs to the protocol. What is neither base64 nor printable ASCII is left out. */
export const fromFields = (fields: ReadonlyArray<Field>): Metadata.Metadata => {
  let metadata: Array<Metadata.Entry> | undefined
  let left = mostValues
  for (const { name, value } of fields) {
    if (Metadata.isReserved(name)) continue
    metadata ??= []
    if (name.endsWith("-bin")) {
      const values = decodeBinary(value, left)
      left -= values.length
      for (const bytes of values) metadata.push([name, bytes])
    } else if (Metadata.isText(value)) metadata.push([name, value])
  }
  return metadata ?? Metadata.empty
}
