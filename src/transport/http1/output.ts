/**
 * Output: bytes that wait for the socket, in order. They are given to it in pieces of a bounded length, so that one which
 * goes through shows that the peer reads.
 */
const longest = 131_072
// Shorter ones are copied together: a write costs more than the copy.
const shortest = 16_384

export class Output {
  /** How many bytes wait. */
  length = 0
  private readonly pieces: Array<Uint8Array> = []

  push(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    this.pieces.push(bytes)
    this.length += bytes.length
  }

  /** Takes what is to be written next. */
  take(): Uint8Array | undefined {
    const first = this.pieces[0]
    if (first === undefined) return undefined
    const taken = first.length >= shortest || this.pieces.length === 1 ? this.some(first) : this.joined()
    this.length -= taken.length
    return taken
  }

  clear(): void {
    this.pieces.length = 0
    this.length = 0
  }

  private some(first: Uint8Array): Uint8Array {
    if (first.length <= longest) this.pieces.shift()
    else this.pieces[0] = first.subarray(longest)
    return first.subarray(0, longest)
  }

  private joined(): Uint8Array {
    let count = 0
    let length = 0
    for (const { length: one } of this.pieces) {
      if (length + one > longest) break
      count += 1
      length += one
    }
    const bytes = new Uint8Array(length)
    let at = 0
    for (const piece of this.pieces.splice(0, count)) {
      bytes.set(piece, at)
      at += piece.length
    }
    return bytes
  }
}
