/**
 * Least request: of a few endpoints drawn at random, the one with the fewest calls that run.
 *
 * Sources: gRPC's proposal A48; Michael Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing".
 */
import { connectAll, type PolicyOf } from "./policy.ts"
import type { Subchannel } from "./subchannel.ts"

export const leastRequest =
  (choices: number): PolicyOf =>
  (random) => ({
    update: connectAll,
    pick: (_, ready) => {
      const { length } = ready
      let at = Math.floor(random() * length)
      let best = ready[at] as Subchannel
      if (length === 1) return best
      for (let drawn = 1; drawn < choices; drawn++) {
        // Any but the best so far, which it needn't be compared with. Of equals the first drawn stays: each is that as often.
        const other = (at + 1 + Math.floor(random() * (length - 1))) % length
        const one = ready[other] as Subchannel
        if (one.active >= best.active) continue
        best = one
        at = other
      }
      return best
    },
  })
