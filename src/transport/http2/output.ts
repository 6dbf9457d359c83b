/**
 * Output: the bytes that a connection has to send, in one buffer that is written once a turn.
 *
 * The buffer is on loan: most of a server's connections are idle at any time, and one that has nothing to send holds
 * none.
 */

const initialCapacity = 4096
// From this size on the buffer itself is given away instead of a copy.
const handOverFrom = 32_768

const none = new Uint8Array(0)

// Buffers that nobody has on loan. A connection gives its own back in the turn it took it in, unless its socket is full;
// so a few serve all of them.
const spare: Array<Uint8Array> = []
const maxSpare = 16

export class Output {
  bytes: Uint8Array = none
  length = 0

  /** Makes room for more bytes. Whoever reserves writes at `length` and moves it on. */
  reserve(more: number): void {
    const needed = this.length + more
    if (needed > this.bytes.length) this.grow(needed)
  }

  append(bytes: Uint8Array): void {
    this.reserve(bytes.length)
    this.bytes.set(bytes, this.length)
    this.length += bytes.length
  }

  /** All that was written, for the caller to keep; the buffer is empty then. */
  take(): Uint8Array {
    const { bytes, length } = this
    if (bytes.length === 0) return none
    this.length = 0
    this.bytes = none
    if (length >= handOverFrom) return bytes.subarray(0, length)
    if (spare.length < maxSpare && bytes.length <= handOverFrom) spare.push(bytes)
    return bytes.slice(0, length)
  }

  private grow(needed: number): void {
    const { bytes } = this
    const lent = bytes.length === 0 ? spare.pop() : undefined
    if (lent !== undefined && lent.length >= needed) {
      this.bytes = lent
      return
    }
    this.bytes = new Uint8Array(Math.max(needed, bytes.length * 2, initialCapacity))
    this.bytes.set(bytes.subarray(0, this.length))
  }
}
