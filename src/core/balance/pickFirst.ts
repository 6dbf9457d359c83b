/**
 * Pick first: all calls go to one endpoint, the first that could be connected to.
 *
 * Sources: grpc/doc/load-balancing.md, "pick_first"; gRPC's proposals A61 and A62.
 */
import type { PolicyOf } from "./policy.ts"
import type { Subchannel } from "./subchannel.ts"

export const pickFirst =
  (shuffle: boolean): PolicyOf =>
  (random) => {
    // Where an endpoint stands in the order, for as long as it is listed.
    let ranks = new Map<Subchannel, number>()
    let listed: ReadonlyArray<Subchannel> = []
    let order: ReadonlyArray<Subchannel> = []
    let chosen: Subchannel | undefined

    const arrange = (all: ReadonlyArray<Subchannel>) => {
      if (all === listed) return
      listed = all
      ranks = new Map(all.map((one, at) => [one, shuffle ? (ranks.get(one) ?? random()) : at]))
      const rank = (one: Subchannel) => ranks.get(one) ?? 0
      order = [...all].sort((one, other) => rank(one) - rank(other))
    }

    /**
     * Connects to the next that may be tried, one after another; to the one behind it too where one takes long, as a server
     * does that stands still; to all that rest once each has failed.
     */
    const connect = () => {
      let tried = false
      for (const one of order) {
        if (one.failed || one.state === "shutdown") continue
        one.connect()
        tried = true
        if (!one.slow) return
      }
      if (!tried) for (const one of order) one.connect()
    }

    return {
      update: (all, ready, wanted) => {
        arrange(all)
        // It stays with one for as long as that is there.
        if (chosen !== undefined && !ready.includes(chosen)) {
          chosen = undefined
          // Those that failed before are tried as if for the first time.
          for (const one of all) one.forgive()
        }
        chosen ??= order.find((one) => ready.includes(one))
        if (chosen !== undefined) return [chosen]
        if (wanted) connect()
        return []
      },
      pick: (_, [first]) => first as Subchannel,
    }
  }
