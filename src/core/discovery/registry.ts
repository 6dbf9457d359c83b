/**
 * A registry: which endpoints a service has now, the port of discovery.
 */
import type { Duration, Effect, Stream } from "effect"
import type { RpcError } from "../rpc/error.ts"

/** Where a server of a service listens. */
export interface Endpoint {
  /** `host:port`, or whatever else a channel can be opened to, such as `unix:/run/pi.sock`. It names the endpoint. */
  readonly address: string
}

/** An endpoint in a registry, for as long as its lease is renewed. */
export interface Registration {
  /** Gives the lease its whole time again. Fails with `not_found` once it has ended: the endpoint is out by then. */
  readonly renew: Effect.Effect<void, RpcError>
  /** Takes the endpoint out at once. It is no error if it is out already. */
  readonly deregister: Effect.Effect<void, RpcError>
}

export interface Registry {
  /** Puts an endpoint in, for as long as a lease of `ttl` and its renewals last. Who is in already is put in anew. */
  readonly register: (
    service: string,
    endpoint: Endpoint,
    ttl: Duration.Duration,
  ) => Effect.Effect<Registration, RpcError>
  /**
   * The endpoints of a service, each of which is there once: all that there are now, and again all of them after each
   * change. Who takes them slowly misses those in between, never the last. A service that nobody knows has none. It fails
   * when the registry can't be asked any more, and may be run again then.
   */
  readonly resolve: (service: string) => Stream.Stream<ReadonlyArray<Endpoint>, RpcError>
  /**
   * Asks anew for a service that is resolved, sooner than it would: a client has lost an endpoint, or can't reach one. How
   * soon is the registry's to say, since many clients may lose one at once. Not there where changes are told as they happen.
   *
   * Source: gRPC's `Resolver.ResolveNow`.
   */
  readonly refresh?: (service: string) => Effect.Effect<void>
}
