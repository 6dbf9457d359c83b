/**
 * Round robin: one endpoint after another.
 */
import { connectAll, type PolicyOf } from "./policy.ts"
import type { Subchannel } from "./subchannel.ts"

export const roundRobin: PolicyOf = (random) => {
  // Clients that start together don't go to the same one.
  let next = Math.floor(random() * 0x1000_0000)
  return {
    update: connectAll,
    pick: (_, ready) => {
      next = (next + 1) % ready.length
      return ready[next] as Subchannel
    },
  }
}
