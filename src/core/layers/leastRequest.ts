/**
 * `leastRequest`: spreads calls by how many run.
 */
import { balancing } from "../balance/balancer.ts"
import { leastRequest as policy } from "../balance/leastRequest.ts"
import type { ChannelLayer } from "../rpc/channel.ts"

export interface LeastRequestOptions {
  /** How many endpoints are compared for each call. Default: 2, at which most of the gain is had already. */
  readonly choices?: number
}

/**
 * A layer that sends each call of a balanced channel, as `discover` gives one, to the endpoint with the fewest calls that
 * run, of two drawn at random: so slow endpoints get fewer, without anybody measuring how slow they are. What counts are the
 * calls of this client. It connects to all endpoints from the first call on, and again when a connection was lost.
 *
 * On any other channel it does nothing. It has nothing to do with the order of the pipe: of several layers that choose a
 * policy the last one counts.
 *
 * Source: gRPC's proposal A48.
 *
 * @example
 * const channel = (yield* discover(registry, "pi")).pipe(leastRequest(), retry())
 */
export const leastRequest = ({ choices = 2 }: LeastRequestOptions = {}): ChannelLayer =>
  balancing({ policy: policy(choices) })
