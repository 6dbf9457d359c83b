/**
 * Memory: how many bytes may be held for peers, all of a process together, for one peer, and on one connection.
 *
 * Whatever holds bytes for a peer beyond the turn they came in takes them from the budget of its connection, and gives
 * them back: bodies that no program has read, responses that no peer has taken, messages that are gathered, and a flat
 * price for each stream.
 */

/** A budget, which may be a part of a larger one. */
export class MemoryBudget {
  /** Which one it is, for errors and metrics. */
  readonly name: string
  /** In bytes. */
  readonly limit: number
  /** How many bytes are held now. */
  used = 0
  private readonly parent: MemoryBudget | undefined

  constructor(name: string, limit: number, parent?: MemoryBudget) {
    this.name = name
    this.limit = limit
    this.parent = parent
  }

  /** Takes bytes from this budget and from those that it is a part of. Gives the one that hasn't got them; nothing is taken then. */
  take(bytes: number): MemoryBudget | undefined {
    if (this.used + bytes > this.limit) return this
    const short = this.parent?.take(bytes)
    if (short === undefined) this.used += bytes
    return short
  }

  /** How many bytes could be taken now such that half of this budget, and of those that it is a part of, is left. */
  get spare(): number {
    const own = this.limit / 2 - this.used
    return this.parent === undefined ? own : Math.min(own, this.parent.spare)
  }

  /** Gives bytes back. */
  give(bytes: number): void {
    this.used -= bytes
    this.parent?.give(bytes)
  }
}
