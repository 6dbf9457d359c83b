/**
 * Metadata and the header fields of HTTP/2, both ways. Unlike `Headers`, fields keep a repeated key's values apart.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Custom-Metadata" and "Binary-Header".
 */
import * as Metadata from "../../core/rpc/metadata.ts"
import type { Field } from "../http2/hpack.ts"

export const encodeBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replace(/=+$/, "")

// Groups of four, the last of which may go without its padding, but never without its second digit.
const base64 = /^(?:[0-9A-Za-z+/]{4})*(?:[0-9A-Za-z+/]{2}(?:==)?|[0-9A-Za-z+/]{3}=?)?$/

/** Bytes out of base64, padded or not; `undefined` if it is none. */
const decodeBase64 = (text: string): Uint8Array | undefined =>
  base64.test(text) ? Uint8Array.from(Buffer.from(text, "base64")) : undefined

export const toFields = (metadata: Metadata.Metadata): ReadonlyArray<Field> =>
  metadata.map(([name, value]) => ({ name, value: typeof value === "string" ? value : encodeBase64(value) }))

/** The metadata among fields: all but what belongs to the protocol. Bytes that aren't base64 are left out. */
export const fromFields = (fields: ReadonlyArray<Field>): Metadata.Metadata => {
  let metadata: Array<Metadata.Entry> | undefined
  for (const { name, value } of fields) {
    if (Metadata.isReserved(name)) continue
    metadata ??= []
    if (!name.endsWith("-bin")) metadata.push([name, value])
    // A proxy may have joined the values of a key (PROTOCOL-HTTP2, "Custom-Metadata").
    else {
      for (const part of value.split(",")) {
        const bytes = decodeBase64(part.trim())
        if (bytes !== undefined) metadata.push([name, bytes])
      }
    }
  }
  return metadata ?? Metadata.empty
}
