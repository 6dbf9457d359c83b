/**
 * The response on the wire: its head, and what is around the pieces of its body.
 *
 * Source: RFC 9112, sections 4, 5 and 7.1; RFC 9110, section 6.6.1, on Date.
 */
import { Buffer } from "node:buffer"
import { connectionSpecific } from "../http2/head.ts"
import type { Field } from "../http2/hpack.ts"
import { reasonOf } from "./reasons.ts"

const name = /^[!#$%&'*+.^_`|~0-9a-z-]+$/
// One byte a character. Others would lose their upper bits, and may become a CR or LF by it.
const value = /^[\t\x20-\x7e\x80-\xff]*$/

let second = 0
let date = ""

const dateNow = (): string => {
  const now = Math.floor(Date.now() / 1000)
  if (now !== second) {
    second = now
    date = new Date(now * 1000).toUTCString()
  }
  return date
}

/** How the end of a body is told: by its length, by its chunks, by the end of the connection, or there is none. */
export type BodyEnd = number | "chunked" | "close" | "none"

/** The head of a response. Throws where a field has what no field may have. */
export const headBytes = (
  status: number,
  fields: ReadonlyArray<Field>,
  bodyEnd: BodyEnd,
  persistent: boolean,
): Uint8Array => {
  let text = `HTTP/1.1 ${status} ${reasonOf(status)}\r\n`
  let dated = false
  for (const field of fields) {
    if (field.name.startsWith(":") || field.name === "content-length" || connectionSpecific.has(field.name)) continue
    if (!name.test(field.name))
      throw new Error(`the response has a field whose name can't be sent: ${JSON.stringify(field.name)}`)
    if (!value.test(field.value))
      throw new Error(`the response's field ${field.name} has a character that can't be sent`)
    dated ||= field.name === "date"
    text += `${field.name}: ${field.value}\r\n`
  }
  if (!dated) text += `date: ${dateNow()}\r\n`
  if (typeof bodyEnd === "number") text += `content-length: ${bodyEnd}\r\n`
  if (bodyEnd === "chunked") text += "transfer-encoding: chunked\r\n"
  if (!persistent) text += "connection: close\r\n"
  return Buffer.from(`${text}\r\n`, "latin1")
}

/** What goes before a piece of a chunked body. */
export const chunkStart = (length: number): Uint8Array => Buffer.from(`${length.toString(16)}\r\n`, "latin1")
export const chunkEnd: Uint8Array = Buffer.from("\r\n", "latin1")
export const lastChunk: Uint8Array = Buffer.from("0\r\n\r\n", "latin1")
export const goOn: Uint8Array = Buffer.from("HTTP/1.1 100 Continue\r\n\r\n", "latin1")
