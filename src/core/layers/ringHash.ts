/**
 * `ringHash`: sends calls that belong together to the same endpoint.
 */
import { balancing } from "../balance/balancer.ts"
import { ringHash as policy } from "../balance/ringHash.ts"
import type { ChannelLayer } from "../rpc/channel.ts"

export interface RingHashOptions {
  /** The key of the request's metadata whose first value decides. Calls without it go to any endpoint. */
  readonly key: string
}

/**
 * A layer that sends calls of a balanced channel, as `discover` gives one, that have the same value in their metadata to the
 * same endpoint: for servers that keep something of a user, or that cache. All clients agree which one it is. When one of N
 * endpoints leaves, its values move to the others, about 1/N of all, and the rest stay; while one isn't connected, its values
 * go to others. It connects to all endpoints from the first call on, and again when a connection was lost.
 *
 * On any other channel it does nothing. It has nothing to do with the order of the pipe, and sees the metadata that other
 * layers set: of several layers that choose a policy the last one counts.
 *
 * Sources: gRPC's proposals A42 and A76.
 *
 * @example
 * const channel = (yield* discover(registry, "pi")).pipe(ringHash({ key: "x-user" }))
 */
export const ringHash = ({ key }: RingHashOptions): ChannelLayer => balancing({ policy: policy(key) })
