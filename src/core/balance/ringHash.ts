/**
 * Ring hash: calls with the same key go to the same endpoint, and most still do when others come and go.
 *
 * Sources: gRPC's proposals A42 and A76; David Karger et al., "Consistent Hashing and Random Trees".
 */
import type { Value } from "../rpc/metadata.ts"
import { hash } from "./hash.ts"
import { anyOf, connectAll, type PolicyOf } from "./policy.ts"
import type { Subchannel } from "./subchannel.ts"

// Points on the ring that each endpoint has: with more of them their shares are more alike.
const points = 256

/** The points of all endpoints, in the order of the ring. */
class Ring {
  private readonly all: ReadonlyArray<Subchannel>
  private readonly hashes: Float64Array

  constructor(all: ReadonlyArray<Subchannel>) {
    this.all = all
    // A point and behind it whose it is, as one number: so they are sorted without a comparison of ours.
    this.hashes = new Float64Array(all.length * points)
    all.forEach(({ address }, at) => {
      const seed = hash(address)
      for (let i = 0; i < points; i++) this.hashes[at * points + i] = hash(`${i}`, seed) * all.length + at
    })
    this.hashes.sort()
  }

  /** The first behind a key that may be picked. There is one. */
  find(key: number, ready: ReadonlySet<Subchannel>): Subchannel {
    const { all, hashes } = this
    const { length } = hashes
    const least = key * all.length
    let low = 0
    let high = length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((hashes[middle] as number) < least) low = middle + 1
      else high = middle
    }
    for (let i = low; ; i++) {
      const one = all[(hashes[i % length] as number) % all.length] as Subchannel
      if (ready.has(one)) return one
    }
  }
}

/** The first value of `key` in a call's metadata decides. */
export const ringHash =
  (key: string): PolicyOf =>
  (random) => {
    const name = key.toLowerCase()
    let ring = new Ring([])
    let listed: ReadonlyArray<Subchannel> = []
    let set: ReadonlySet<Subchannel> = new Set()
    let setOf: ReadonlyArray<Subchannel> = []
    return {
      update: (all, ready) => {
        if (all !== listed) {
          listed = all
          ring = new Ring(all)
        }
        return connectAll(all, ready, true)
      },
      pick: ({ metadata }, ready) => {
        let value: Value | undefined
        for (const [entry, its] of metadata) {
          if (entry !== name) continue
          value = its
          break
        }
        if (value === undefined) return anyOf(ready, random)
        if (setOf !== ready) {
          setOf = ready
          set = new Set(ready)
        }
        return ring.find(hash(value), set)
      },
    }
  }
