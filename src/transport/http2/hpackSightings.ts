/**
 * Sightings: the hashes of what came lately, so that what comes once (a trace id, say) is told from what comes again.
 * They can be wrong: nothing but speed may depend on them.
 */

const slots = 64

export class Sightings {
  // Made when the first one comes: most connections are idle, and many never have one.
  private hashes: Int32Array | undefined

  /** Whether the hash was seen before; from now on, it was. */
  again(hash: number): boolean {
    this.hashes ??= new Int32Array(slots)
    const slot = hash & (slots - 1)
    if (this.hashes[slot] === hash) return true
    this.hashes[slot] = hash
    return false
  }
}
