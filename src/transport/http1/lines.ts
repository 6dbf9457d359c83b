/**
 * Lines: text up to CRLF, in whatever pieces its bytes come. Each byte is one character.
 *
 * A CR or LF alone ends no line: where two readers take it differently, one of them sees a request that the other doesn't.
 *
 * Source: RFC 9112, section 2.2.
 */
import { Buffer } from "node:buffer"
import { Refused } from "./refused.ts"

const lf = 10
const none = new Uint8Array(0)
// A longer one is given back once its line is whole.
const keptBuffer = 1024

// NUL and the other controls but the tab stand in no line of a head.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for.
const control = /[\0-\x08\x0a-\x1f\x7f]/

const latin1 = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString("latin1")

export class LineReader {
  /** The line that was whole last, without its CRLF. */
  line = ""
  /** How many bytes of a line that isn't whole are held. */
  length = 0
  private held = none

  /**
   * Reads on in the line that begins at `from`, or began in a piece before. Gives where the bytes behind it are; -1 if it
   * goes on in the next piece. A line of more than `most` bytes, its CRLF among them, is `tooLong`.
   */
  read(bytes: Uint8Array, from: number, most: number, tooLong: () => Refused): number {
    const at = bytes.indexOf(lf, from)
    const next = at < 0 ? bytes.length : at + 1
    if (this.length + next - from > most) throw tooLong()
    if (at < 0) {
      this.keep(bytes, from, next)
      return -1
    }
    this.line = withoutEnd(this.length === 0 ? latin1(bytes, from, next) : this.joined(bytes, from, next))
    return next
  }

  private joined(bytes: Uint8Array, from: number, next: number): string {
    this.keep(bytes, from, next)
    const text = latin1(this.held, 0, this.length)
    this.length = 0
    if (this.held.length > keptBuffer) this.held = none
    return text
  }

  private keep(bytes: Uint8Array, from: number, to: number): void {
    const length = this.length + to - from
    if (length > this.held.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.length))
      larger.set(this.held.subarray(0, this.length))
      this.held = larger
    }
    this.held.set(bytes.subarray(from, to), this.length)
    this.length = length
  }
}

const withoutEnd = (text: string): string => {
  if (!text.endsWith("\r\n")) throw new Refused(400, "a line ends with LF alone: end it with CRLF")
  const line = text.slice(0, -2)
  if (control.test(line)) throw new Refused(400, "a line has a control character")
  return line
}
