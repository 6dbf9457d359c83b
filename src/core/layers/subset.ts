/**
 * `subset`: connects to some of many endpoints.
 */
import { balancing } from "../balance/balancer.ts"
import type { ChannelLayer } from "../rpc/channel.ts"

export interface SubsetOptions {
  /** What tells this client from others, such as the name of its host. Default: drawn at random for each channel. */
  readonly client?: string
}

/**
 * A layer that has a balanced channel, as `discover` gives one, use at most `size` of the endpoints, so that of many clients
 * and many servers not all connect to all. Which ones depends on the client and on the endpoints' names alone: it is the
 * same after each start if the client has a name, and of endpoints that come and go only those are changed. With 20 or more
 * the servers' shares are much alike.
 *
 * On any other channel it does nothing. It has nothing to do with the order of the pipe.
 *
 * Source: gRPC's proposal A68.
 *
 * @example
 * const channel = (yield* discover(registry, "pi")).pipe(subset(20, { client: hostname }), leastRequest())
 */
export const subset = (size: number, { client }: SubsetOptions = {}): ChannelLayer =>
  balancing({ subset: { size, client } })
