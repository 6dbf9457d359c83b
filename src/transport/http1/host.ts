/**
 * Whom a request is for: its Host, once and well-formed, and a target in absolute form that says the same.
 *
 * Source: RFC 9112, sections 3.2 and 3.2.2; RFC 9110, section 4.2.4, on user information.
 */
import type { Field } from "../http2/hpack.ts"
import { Refused } from "./refused.ts"

// A name or an address and perhaps a port: no user, no path, no list.
const pattern = /^(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~-]+)(?::\d{0,5})?$/

/** The authority that a request is for. */
export const authorityOf = (fields: ReadonlyArray<Field>, target: string | undefined): string => {
  let host: string | undefined
  for (const { name, value } of fields) {
    if (name !== "host") continue
    if (host !== undefined) throw new Refused(400, "there are two Host fields")
    host = value
  }
  if (host === undefined) throw new Refused(400, "there is no Host field")
  if (!pattern.test(host))
    throw new Refused(400, "Host is no host: give a name or an address, and a port if there is one")
  if (target !== undefined && target.toLowerCase() !== host.toLowerCase()) {
    throw new Refused(400, "the target names another host than Host")
  }
  return host
}
