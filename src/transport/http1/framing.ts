/**
 * Framing: where the body of a request ends. What could be taken in two ways is refused, since a proxy in front may have
 * taken it in the other one.
 *
 * Source: RFC 9112, sections 6.1 to 6.3 and 11.2.
 */
import type { Field } from "../http2/hpack.ts"
import { membersOf } from "./fields.ts"
import { Refused } from "./refused.ts"

export interface Framing {
  readonly chunked: boolean
  /** How many bytes the body has if it isn't chunked; -1 if nothing was said, and there is none. */
  readonly contentLength: number
}

// As in HTTP/2: no sign, no list, and no number that isn't exact.
const digits = /^\d{1,15}$/

export const framingOf = (fields: ReadonlyArray<Field>, version: "1.0" | "1.1"): Framing => {
  const lengths = fields.filter(({ name }) => name === "content-length")
  const codings = membersOf(fields, "transfer-encoding")
  if (codings.length === 0) return { chunked: false, contentLength: lengthOf(lengths) }
  if (version === "1.0") throw new Refused(400, "HTTP/1.0 has no Transfer-Encoding")
  if (lengths.length > 0) throw new Refused(400, "there are Transfer-Encoding and Content-Length: send one of them")
  if (codings.filter((coding) => coding === "chunked").length !== 1 || codings.at(-1) !== "chunked") {
    throw new Refused(400, "Transfer-Encoding doesn't end in chunked, so nobody knows where the body ends")
  }
  if (codings.length > 1) throw new Refused(501, "Transfer-Encoding has another coding than chunked")
  return { chunked: true, contentLength: -1 }
}

const lengthOf = ([first, second]: ReadonlyArray<Field>): number => {
  if (first === undefined) return -1
  if (second !== undefined) throw new Refused(400, "there are two Content-Length fields")
  if (!digits.test(first.value)) throw new Refused(400, "Content-Length is no length: send digits alone")
  return Number(first.value)
}
