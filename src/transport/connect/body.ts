/**
 * A body: what arrives on a stream of our HTTP/2, as Connect-ES reads it.
 */
import { Gathering } from "./gathering.ts"

/**
 * Bytes that have arrived and not been read. The flow-control windows bound them: `taken` is told of them when they are
 * read, and only that opens the windows again.
 */
export class Body implements AsyncIterable<Uint8Array> {
  private readonly arrived = new Gathering()
  private ended = false
  private error: unknown
  private wake: (() => void) | undefined
  private readonly taken: (length: number) => void

  constructor(taken: (length: number) => void) {
    this.taken = taken
  }

  /** The bytes are the socket's, and they are read later: they are copied. */
  push(bytes: Uint8Array, start: number, end: number): void {
    this.arrived.add(bytes.subarray(start, end))
    this.wakeUp()
  }

  end(): void {
    this.ended = true
    this.wakeUp()
  }

  fail(error: unknown): void {
    this.error ??= error
    this.end()
  }

  private wakeUp(): void {
    const { wake } = this
    this.wake = undefined
    wake?.()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const bytes = this.arrived.take(this.arrived.length)
      if (bytes.length > 0) {
        this.taken(bytes.length)
        yield bytes
      }
      if (this.error !== undefined) throw this.error
      if (this.arrived.length > 0) continue
      if (this.ended) return
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
  }
}
