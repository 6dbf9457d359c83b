/**
 * The `Headers` of Connect-ES and the fields of HTTP/2, both ways.
 */
import { connectionSpecific } from "../http2/head.ts"
import type { Field } from "../http2/hpack.ts"

/**
 * The headers of fields. A cookie may come in pieces, for the sake of compression, and has to be one again (RFC 9113, section
 * 8.2.3); Deno's `Headers` don't see to that themselves.
 */
export const fieldsToHeaders = (fields: ReadonlyArray<Field>, headers = new Headers()): Headers => {
  for (const { name, value } of fields) {
    const before = name === "cookie" ? headers.get(name) : null
    if (before === null) headers.append(name, value)
    else headers.set(name, `${before}; ${value}`)
  }
  return headers
}

/**
 * The fields of headers. `Headers` joins the values of a repeated key. Bytes are told apart again, for base64 has no comma
 * and gRPC C-core takes no list of it; text stays joined, for it may. What speaks of HTTP/1.1's connection is left out.
 */
export const headersToFields = (headers: Headers | undefined): ReadonlyArray<Field> => {
  const fields: Array<Field> = []
  headers?.forEach((value, name) => {
    if (connectionSpecific.has(name)) return
    if (name.endsWith("-bin")) for (const part of value.split(",")) fields.push({ name, value: part.trim() })
    else fields.push({ name, value })
  })
  return fields
}
