/**
 * `discover`: a channel to all endpoints of a service.
 */
import { type Duration, Effect, Queue, type Scope } from "effect"
import { balanced } from "../core/balance/balancer.ts"
import { endpoints } from "../core/discovery/endpoints.ts"
import type { Registry } from "../core/discovery/registry.ts"
import type { Channel } from "../core/rpc/channel.ts"
import { AddressError, type ConnectOptions, connect } from "./channel.ts"
import { clientTlsFault } from "./net/tls.ts"

export interface DiscoverOptions extends ConnectOptions {
  /** How long calls may go on at an endpoint that the registry no longer has. Default: 30 seconds. */
  readonly grace?: Duration.Input
}

/**
 * Opens a channel to the endpoints that a registry has of a service, and follows it as they come and go. Layers say how
 * calls are spread over them: `roundRobin`, `leastRequest`, `ringHash`, `outlierEjection`, `subset`; all go to one of them
 * without (`pickFirst`). Nothing connects before the first call.
 *
 * An endpoint's address is one that `connect` takes; one that is only `host:port` gets `https://` in front where there are
 * options for `tls`, else `http://`. One that is no address is logged and left out. Calls fail and wait as it is said of
 * `balanced`: those that no server has taken go to another endpoint, so a server that drains, or has left, fails none of
 * them. A registry that doesn't tell of changes by itself, as DNS, is asked again when an endpoint is lost. Fails with an
 * `AddressError` where `tls` can't be used.
 *
 * @example
 * const channel = (yield* discover(registry, "pi")).pipe(leastRequest(), retry(), deadline("5 seconds"))
 * const { value } = yield* Client.make(PiCalculator, channel).calc({ n: 999 })
 */
export const discover = Effect.fnUntraced(function* (
  registry: Registry,
  service: string,
  { grace = "30 seconds", waitForReady = false, ...options }: DiscoverOptions = {},
): Effect.fn.Return<Channel, AddressError, Scope.Scope> {
  const { tls } = options
  const fault = tls === undefined ? undefined : clientTlsFault(tls)
  if (fault !== undefined) {
    const message = `cannot connect to endpoints of ${JSON.stringify(service)}: tls.${fault.option} ${fault.message}`
    return yield* new AddressError({ address: service, message })
  }
  const lost = yield* Queue.sliding<void>(1)
  const scheme = tls === undefined ? "http" : "https"
  return yield* balanced({
    service,
    endpoints: endpoints(registry, service, undefined, Queue.take(lost)),
    lost: Effect.asVoid(Queue.offer(lost, undefined)),
    open: ({ address }) => Effect.map(connect(withScheme(address, scheme), options), ({ connector }) => connector),
    waitForReady,
    grace,
  })
})

const withScheme = (address: string, scheme: string): string =>
  /^([a-z][a-z0-9+.-]*:\/\/|unix:)/i.test(address) ? address : `${scheme}://${address}`
