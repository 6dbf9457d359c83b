/**
 * Output: the bytes that a connection has to send, in one buffer that is written once a turn.
 *
 * The buffer is on loan: most of a server's connections are idle at any time, and one that has nothing to send holds
 * none.
 */

// A turn's answers fit in a small buffer, and are copied out of it. A large one is given away as it is, and comes back
// when the socket has sent it: to get that much memory anew takes longer than to fill it.
const small = 32_768
const large = 384 * 1024

const none = new Uint8Array(0)

/** Buffers of a size that nobody has on loan; a few serve all connections. */
class Pool {
  private readonly size: number
  private readonly most: number
  private readonly spare: Array<Uint8Array> = []

  constructor(size: number, most: number) {
    this.size = size
    this.most = most
  }

  lend(): Uint8Array {
    return this.spare.pop() ?? new Uint8Array(this.size)
  }

  giveBack(bytes: Uint8Array): void {
    if (bytes.length === this.size && this.spare.length < this.most) this.spare.push(bytes)
  }
}

// A connection gives a small buffer back in the turn it took it in, unless its socket is full. As many connections have one
// at once as get answers out of one turn, such as those that all waited for the same other server.
const smallOnes = new Pool(small, 128)
const largeOnes = new Pool(large, 16)

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

  /** All that was written; the buffer is empty then. Whoever has sent it may `giveBack` it. */
  take(): Uint8Array {
    const { bytes, length } = this
    if (length === 0) return none
    this.length = 0
    this.bytes = none
    if (bytes.length > small) return bytes.subarray(0, length)
    const taken = bytes.slice(0, length)
    smallOnes.giveBack(bytes)
    return taken
  }

  /** Takes back what `take` gave, once nobody reads it any more. */
  static giveBack(taken: Uint8Array): void {
    if (taken.buffer.byteLength === large) largeOnes.giveBack(new Uint8Array(taken.buffer))
  }

  private grow(needed: number): void {
    const { bytes, length } = this
    this.bytes = needed <= small ? smallOnes.lend() : needed <= large ? largeOnes.lend() : new Uint8Array(needed * 2)
    this.bytes.set(bytes.subarray(0, length))
    smallOnes.giveBack(bytes)
  }
}
