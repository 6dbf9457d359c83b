/**
 * `concurrencyLimit`: bounds how many calls run at once.
 */
import { Effect } from "effect"
import { hostOf } from "../rpc/call.ts"
import { RpcError } from "../rpc/error.ts"
import { type CallLayer, intercept } from "./intercept.ts"

export interface ConcurrencyLimitOptions {
  /**
   * Which share of the places the calls from one address may have, from 0 to 1, and one place in any case: then a few
   * clients can't take all of them. Calls whose address nobody knows, as those of a channel or at the edge, have no share.
   * Give 1 behind a proxy, where all clients come from one address. Default: 0.25.
   *
   * @example
   * const pi = Service.make(PiCalculator, calculator).pipe(concurrencyLimit(1000, { peerShare: 1 })) // behind a proxy
   */
  readonly peerShare?: number
}

/**
 * A layer that lets at most `limit` calls run at the same time and fails each further one at once with
 * `resource_exhausted`: a queue would only move the overload into memory. One peer has a quarter of these places at most. A
 * stream counts until its last message was taken. Metadata is left alone. Each target that the layer is put on counts for
 * itself.
 *
 * It commutes with all other layers, but what stands behind it in the pipe runs for refused calls too.
 *
 * @example
 * const pi = Service.make(PiCalculator, calculator).pipe(concurrencyLimit(1000))
 */
export const concurrencyLimit =
  (limit: number, { peerShare = 0.25 }: ConcurrencyLimitOptions = {}): CallLayer =>
  (target) => {
    const mostPerPeer = Math.max(1, Math.floor(limit * peerShare))
    let running = 0
    // Those of addresses that have calls which run.
    const peers = new Map<string, { calls: number }>()
    return intercept((call, next) =>
      Effect.suspend(() => {
        const host = hostOf(call.peer)
        let counted: { calls: number } | undefined
        return Effect.onExitPrimitive(
          // Counted in here, so that no interrupt and no throw comes between that and the promise to count it out.
          Effect.suspend(() => {
            const peer = (host === undefined ? undefined : peers.get(host)) ?? { calls: 0 }
            if (running >= limit) return refused(`${limit} calls run already, no more are taken`)
            if (host !== undefined && peer.calls >= mostPerPeer)
              return refused(`${peer.calls} calls from one address run already, no more are taken from it`)
            running += 1
            peer.calls += 1
            if (host !== undefined && peer.calls === 1) peers.set(host, peer)
            counted = peer
            return next(call)
          }),
          () => {
            if (counted === undefined) return undefined
            running -= 1
            counted.calls -= 1
            if (host !== undefined && counted.calls === 0) peers.delete(host)
            return undefined
          },
        )
      }),
    )(target)
  }

const refused = (message: string) => Effect.fail(new RpcError({ code: "resource_exhausted", message }))
