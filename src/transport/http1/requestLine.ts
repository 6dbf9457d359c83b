/**
 * The first line of a request: its method, what it asks for, and the version of HTTP.
 *
 * Source: RFC 9112, section 3.
 */
import { Refused } from "./refused.ts"

export interface RequestLine {
  readonly method: string
  readonly path: string
  /** The authority of a target in absolute form; `undefined` where Host alone says it. */
  readonly authority: string | undefined
  readonly version: "1.0" | "1.1"
}

// One space between the parts, and none around them (section 3).
const pattern = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) ([!-~]+) HTTP\/(\d)\.(\d)$/
const absolute = /^https?:\/\/([^/?]*)(.*)$/i

export const parseRequestLine = (line: string): RequestLine => {
  const [, method, target, major, minor] = pattern.exec(line) ?? []
  if (method === undefined || target === undefined) {
    throw new Refused(400, "the first line is no request line: METHOD SP TARGET SP HTTP/1.1")
  }
  if (major !== "1" || (minor !== "0" && minor !== "1")) {
    throw new Refused(505, `HTTP/${major}.${minor} is not spoken here: use HTTP/1.1, or HTTP/2 from its preface on`)
  }
  const version = minor === "1" ? "1.1" : "1.0"
  if (method === "CONNECT") throw new Refused(501, "CONNECT is not served here: this is no proxy")
  if (target.includes("#")) throw new Refused(400, "the target has a fragment, which is never sent")
  if (target.startsWith("/") || (target === "*" && method === "OPTIONS")) {
    return { method, path: target, authority: undefined, version }
  }
  const [, authority, rest] = absolute.exec(target) ?? []
  if (authority === undefined || rest === undefined) throw new Refused(400, "the target is neither a path nor a URL")
  // Section 3.2.1: an empty path is sent as "/".
  return { method, path: rest.startsWith("/") ? rest : `/${rest}`, authority, version }
}
