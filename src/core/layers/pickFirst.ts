/**
 * `pickFirst`: sends all calls to one endpoint.
 */
import { balancing } from "../balance/balancer.ts"
import { pickFirst as policy } from "../balance/pickFirst.ts"
import type { ChannelLayer } from "../rpc/channel.ts"

export interface PickFirstOptions {
  /**
   * Whether each channel has an order of its own, so that not all clients go to the same endpoint; else it is the list's.
   * Default: true, other than gRPC's, since a registry's list has no order of preference.
   */
  readonly shuffle?: boolean
}

/**
 * A layer that sends the calls of a balanced channel, as `discover` gives one, to one endpoint: the first of the list that
 * can be connected to, one tried after another. It stays with that one while it is connected and listed; when that is over
 * the next call begins again with the first. What a balanced channel does without a layer.
 *
 * On any other channel it does nothing. It has nothing to do with the order of the pipe: of several layers that choose a
 * policy the last one counts.
 *
 * Sources: gRPC's proposals A61 and A62.
 *
 * @example
 * const channel = (yield* discover(registry, "pi")).pipe(pickFirst({ shuffle: false }))
 */
export const pickFirst = ({ shuffle = true }: PickFirstOptions = {}): ChannelLayer =>
  balancing({ policy: policy(shuffle) })
