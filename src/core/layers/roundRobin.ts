/**
 * `roundRobin`: spreads calls evenly.
 */
import { balancing } from "../balance/balancer.ts"
import { roundRobin as policy } from "../balance/roundRobin.ts"
import type { ChannelLayer } from "../rpc/channel.ts"

/**
 * A layer that sends the calls of a balanced channel, as `discover` gives one, to one endpoint after another. It connects to
 * all of them from the first call on, and again when a connection was lost; those that are connected take turns. A stream is
 * one call.
 *
 * On any other channel it does nothing. It has nothing to do with the order of the pipe: of several layers that choose a
 * policy the last one counts.
 *
 * Source: grpc/doc/load-balancing.md, "round_robin".
 *
 * @example
 * const channel = (yield* discover(registry, "pi")).pipe(roundRobin(), retry())
 */
export const roundRobin = (): ChannelLayer => balancing({ policy })
