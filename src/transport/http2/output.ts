/**
 * Output: the bytes that a connection has to send, in one buffer that is written once a turn.
 */

const initialCapacity = 4096
// From this size on the buffer itself is given away instead of a copy.
const handOverFrom = 32_768

export class Output {
  bytes: Uint8Array = new Uint8Array(initialCapacity)
  length = 0

  /** Makes room for more bytes. Whoever reserves writes at `length` and moves it on. */
  reserve(more: number): void {
    const needed = this.length + more
    if (needed <= this.bytes.length) return
    const grown = new Uint8Array(Math.max(needed, this.bytes.length * 2))
    grown.set(this.bytes.subarray(0, this.length))
    this.bytes = grown
  }

  append(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  /** All that was written, for the caller to keep; the buffer is empty then. */
  take(): Uint8Array {
    const { bytes, length } = this
    this.length = 0
    if (length < handOverFrom) return bytes.slice(0, length)
    this.bytes = new Uint8Array(initialCapacity)
    return bytes.subarray(0, length)
  }
}
