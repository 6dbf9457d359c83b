/**
 * Sightings: the hashes of what came lately, so that what comes once (a trace id, say) is told from what comes again.
 * They can be wrong: nothing but speed may depend on them.
 */

export class Sightings {
  private readonly hashes = new Int32Array(64)

  /** Whether the hash was seen before; from now on, it was. */
  again(hash: number): boolean {
    const slot = hash & (this.hashes.length - 1)
    if (this.hashes[slot] === hash) return true
    this.hashes[slot] = hash
    return false
  }
}
