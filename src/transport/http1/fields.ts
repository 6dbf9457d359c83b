/**
 * Field lines, of heads and of trailers.
 *
 * Source: RFC 9112, section 5; RFC 9110, section 5.
 */
import type { Field } from "../http2/hpack.ts"
import { Refused } from "./refused.ts"

// No white space before the colon (RFC 9112, section 5.1), and none in front, where it would go on with the line before
// (section 5.2).
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

const isSpace = (code: number): boolean => code === 0x20 || code === 0x09

/** The text without spaces and tabs around it. `trim` takes more, and what it takes others may read. */
export const withoutSpace = (text: string): string => {
  let from = 0
  let to = text.length
  while (from < to && isSpace(text.charCodeAt(from))) from++
  while (from < to && isSpace(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

export const parseField = (line: string): Field => {
  const colon = line.indexOf(":")
  const name = line.slice(0, Math.max(0, colon))
  if (!token.test(name)) {
    throw new Refused(400, "a line of the head is no field: NAME COLON VALUE, not folded, no space before the colon")
  }
  return { name: name.toLowerCase(), value: withoutSpace(line.slice(colon + 1)) }
}

/** The members of the lists in all fields of a name, in lower case. */
export const membersOf = (fields: ReadonlyArray<Field>, name: string): ReadonlyArray<string> =>
  fields
    .filter((field) => field.name === name)
    .flatMap(({ value }) => value.split(","))
    .map((member) => withoutSpace(member).toLowerCase())
