/**
 * The static table of HPACK: the fields that both ends know from the start.
 *
 * Source: RFC 7541, appendix A.
 */
import type { Field } from "./hpack.ts"

// A field a line, name and value; the first one has index 1. Fields of one name are neighbours.
const fields = `
:authority
:method GET
:method POST
:path /
:path /index.html
:scheme http
:scheme https
:status 200
:status 204
:status 206
:status 304
:status 400
:status 404
:status 500
accept-charset
accept-encoding gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate`

/** The fields by index. There is none at 0. */
export const staticTable: ReadonlyArray<Field | undefined> = fields.split("\n").map((line, index) => {
  const [name = "", ...words] = line.split(" ")
  return index === 0 ? undefined : { name, value: words.join(" ") }
})

/** The index of the last static field; the newest of the dynamic table is the next. */
export const lastStaticIndex: number = staticTable.length - 1

/** The index of the first static field of each name. */
export const firstStaticIndex: ReadonlyMap<string, number> = new Map(
  staticTable.map((field, index): [string, number] => [field?.name ?? "", index]).reverse(),
)
