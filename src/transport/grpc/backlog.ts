/**
 * A backlog: bytes that wait, as few buffers as possible. It takes at most twice the room of what is in it, were that to come
 * byte by byte.
 */
const none = new Uint8Array(0)
const least = 1024

export class Backlog {
  private bytes = none
  private start = 0
  private end = 0

  get length(): number {
    return this.end - this.start
  }

  /** Copies bytes[from, to) behind what waits. */
  add(bytes: Uint8Array, from: number, to: number): void {
    const length = to - from
    if (this.end + length > this.bytes.length) {
      // A new buffer each time: who has taken bytes of the old one may still read them.
      const larger = new Uint8Array(Math.max(least, 2 * (this.length + length)))
      larger.set(this.waiting)
      this.end = this.length
      this.start = 0
      this.bytes = larger
    }
    this.bytes.set(bytes.subarray(from, to), this.end)
    this.end += length
  }

  /** What waits, valid until more is added. */
  get waiting(): Uint8Array {
    return this.bytes.subarray(this.start, this.end)
  }

  /** Takes the first so many bytes, which nobody writes to any more. */
  take(length: number): Uint8Array {
    const taken = this.bytes.subarray(this.start, this.start + length)
    this.start += length
    if (this.start === this.end) this.clear()
    return taken
  }

  clear(): void {
    this.bytes = none
    this.start = 0
    this.end = 0
  }
}
