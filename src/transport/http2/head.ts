/**
 * Heads: the fields that begin a request or a response, taken apart and checked; and the trailers that may end one.
 *
 * A malformed one is no error of the connection: its stream alone is reset (RFC 9113, section 8.1.1).
 *
 * Source: RFC 9113, sections 8.2 and 8.3.
 */
import type { Field } from "./hpack.ts"

export interface RequestHead {
  readonly method: string
  readonly scheme: string
  readonly path: string
  readonly authority: string
  /** All fields but the pseudo ones, in order. */
  readonly fields: ReadonlyArray<Field>
  /** How long the body says it is; -1 if it doesn't. */
  readonly contentLength: number
  /** True if the client holds its body back until it is told to go on (RFC 9110, section 10.1.1). */
  readonly expectsContinue: boolean
}

export interface ResponseHead {
  readonly status: number
  readonly fields: ReadonlyArray<Field>
  readonly contentLength: number
}

/** What is kept of a list that is too large: how to respond to a request, and what a response came to. */
export const essentialFields: ReadonlySet<string> = new Set([":status", "content-type", "grpc-status"])

/** Where a header list is malformed; the text goes no further than our own log. */
export class Malformed {
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}

/** Fields that speak of the connection itself, which HTTP/2 says in frames: none may be in a message (section 8.2.2). */
export const connectionSpecific: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
])

// A field name that was checked once needs no second look: the decoder hands out the same string each time. Bounded,
// since a peer makes up names as it likes; and those who come later must not pay for that, so a full one begins anew.
const checkedNames = new Set<string>()
const maxCheckedNames = 1024
const maxCheckedLength = 64

// RFC 9110's token without upper case letters.
const namePattern = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
// NUL, CR and LF anywhere, and white space at either end, could mean something else to the next hop.
const badValue = /[\0\r\n]|^[ \t]|[ \t]$/

const nameProblem = (name: string): string | undefined => {
  if (checkedNames.has(name)) return undefined
  if (!namePattern.test(name)) return "a field name has a character that is not allowed"
  if (connectionSpecific.has(name)) return "a field speaks of the connection"
  if (checkedNames.size >= maxCheckedNames) checkedNames.clear()
  if (name.length <= maxCheckedLength) checkedNames.add(name)
  return undefined
}

const fieldProblem = ({ name, value }: Field): string | undefined =>
  nameProblem(name) ??
  (badValue.test(value) ? "a field value has a character that is not allowed" : undefined) ??
  (name === "te" && value !== "trailers" ? "te is something else than trailers" : undefined)

const isPseudo = (field: Field): boolean => field.name.charCodeAt(0) === 0x3a

/** Whether the content-length of the response to a request is the length of its body (RFC 9110, section 8.6). */
export const isMeasured = (request: ReadonlyArray<Field>): boolean => {
  const method = request.find(({ name }) => name === ":method")?.value
  return method !== "HEAD" && method !== "CONNECT"
}

const digits = /^\d{1,15}$/

/** The content length among fields: -1 for none, `undefined` for a bad one. */
const contentLengthOf = (fields: ReadonlyArray<Field>): number | undefined => {
  let length = -1
  for (const { name, value } of fields) {
    if (name !== "content-length") continue
    if (!digits.test(value)) return undefined
    const given = Number(value)
    if (length !== -1 && length !== given) return undefined
    length = given
  }
  return length
}

/** The fields behind the pseudo fields, checked; what is wrong with them otherwise. */
const regularFields = (all: ReadonlyArray<Field>, from: number): ReadonlyArray<Field> | Malformed => {
  for (let i = from; i < all.length; i++) {
    const field = all[i]
    if (field === undefined) continue
    if (isPseudo(field)) return new Malformed("a pseudo field is out of place")
    const problem = fieldProblem(field)
    if (problem !== undefined) return new Malformed(problem)
  }
  return all.slice(from)
}

/**
 * A parser that knows what it made of a frozen list: a peer sends most heads with the same fields, and the decoder gives
 * the same list for them.
 */
const remembering = <A extends object>(parse: (all: ReadonlyArray<Field>) => A) => {
  const parsed = new WeakMap<ReadonlyArray<Field>, A>()
  return (all: ReadonlyArray<Field>): A => {
    const known = parsed.get(all)
    if (known !== undefined) return known
    const made = parse(all)
    if (Object.isFrozen(all)) parsed.set(all, Object.freeze(made))
    return made
  }
}

const requestHead = (all: ReadonlyArray<Field>): RequestHead | Malformed => {
  let method: string | undefined
  let scheme: string | undefined
  let path: string | undefined
  let authority: string | undefined
  let at = 0
  for (; at < all.length; at++) {
    const field = all[at]
    if (field === undefined || !isPseudo(field)) break
    const { name, value } = field
    if (name === ":method" && method === undefined) method = value
    else if (name === ":scheme" && scheme === undefined) scheme = value
    else if (name === ":path" && path === undefined) path = value
    else if (name === ":authority" && authority === undefined) authority = value
    else return new Malformed("a pseudo field is unknown or there twice")
    if (badValue.test(value)) return new Malformed("a pseudo field has a character that is not allowed")
  }
  // A CONNECT request has an authority and no more (section 8.5); whether to serve one is not for here to decide.
  if (method === "CONNECT") {
    if (authority === undefined || scheme !== undefined || path !== undefined) {
      return new Malformed("CONNECT has other pseudo fields than an authority")
    }
  } else if (method === undefined || scheme === undefined || path === undefined || path === "") {
    return new Malformed("a pseudo field is missing")
  }
  const fields = regularFields(all, at)
  if (fields instanceof Malformed) return fields
  const contentLength = contentLengthOf(fields)
  if (contentLength === undefined) return new Malformed("content-length is no length")
  const host = hostOf(fields)
  if (host === undefined || (host !== "" && authority !== undefined && !sameHost(host, authority))) {
    return new Malformed("host is there twice, or is another one than :authority")
  }
  return {
    method,
    scheme: scheme ?? "",
    path: path ?? "",
    authority: authority ?? host,
    fields,
    contentLength,
    expectsContinue: fields.some(({ name, value }) => name === "expect" && value.toLowerCase() === "100-continue"),
  }
}

/** The host among fields: "" for none, `undefined` if there are two. */
const hostOf = (fields: ReadonlyArray<Field>): string | undefined => {
  let host: string | undefined
  for (const { name, value } of fields) {
    if (name !== "host") continue
    if (host !== undefined) return undefined
    host = value
  }
  return host ?? ""
}

// RFC 9113, section 8.3.1: one that differs may be meant for somebody whom a proxy didn't check. An empty one is none.
const sameHost = (host: string, authority: string): boolean =>
  authority === "" || host === authority || host.toLowerCase() === authority.toLowerCase()

const responseHead = (all: ReadonlyArray<Field>): ResponseHead | Malformed => {
  const first = all[0]
  if (first === undefined || first.name !== ":status" || !/^[1-9]\d\d$/.test(first.value)) {
    return new Malformed("a response begins with something else than its status")
  }
  const fields = regularFields(all, 1)
  if (fields instanceof Malformed) return fields
  const contentLength = contentLengthOf(fields)
  if (contentLength === undefined) return new Malformed("content-length is no length")
  return { status: Number(first.value), fields, contentLength }
}

const trailers = (all: ReadonlyArray<Field>): ReadonlyArray<Field> | Malformed => regularFields(all, 0)

/** The head of a request. One that is frozen comes again: the very same is given for each equal list. */
export const parseRequestHead = remembering(requestHead)

/** The head of a response; frozen ones as those of requests. */
export const parseResponseHead = remembering(responseHead)

/** The trailers of either; frozen ones as heads. */
export const parseTrailers = remembering(trailers)
