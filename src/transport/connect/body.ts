/**
 * A body: what arrives on a stream of our HTTP/2, as Connect-ES reads it.
 */

/**
 * Pieces that have arrived and not been read. The flow-control windows bound them: `taken` is told of a piece when it is
 * read, and only that opens the windows again.
 */
export class Body implements AsyncIterable<Uint8Array> {
  private arrived: Array<Uint8Array> = []
  private ended = false
  private error: unknown
  private wake: (() => void) | undefined
  private readonly taken: (length: number) => void

  constructor(taken: (length: number) => void) {
    this.taken = taken
  }

  /** The bytes are the socket's, and they are read later: they are copied. */
  push(bytes: Uint8Array, start: number, end: number): void {
    this.arrived.push(bytes.slice(start, end))
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
      const { arrived } = this
      this.arrived = []
      for (const piece of arrived) {
        this.taken(piece.length)
        yield piece
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
