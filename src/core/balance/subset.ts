/**
 * Subsets: a client connects to some of a service's endpoints only, the same ones for as long as they are there.
 *
 * Sources: gRPC's proposal A68, "Random subsetting with rendezvous hashing"; David Thaler and Chinya Ravishankar, "Using
 * Name-Based Mappings to Increase Hit Rates".
 */
import type { Endpoint } from "../discovery/registry.ts"
import { hash } from "./hash.ts"

export interface Subset {
  readonly size: number
  /** What tells the client from others; drawn at random where it is `undefined`. */
  readonly client: string | undefined
}

/** The endpoints that score highest with this client. Those that come and go move no others. */
export const choose = (size: number, client: string, endpoints: ReadonlyArray<Endpoint>): ReadonlyArray<Endpoint> => {
  if (endpoints.length <= size) return endpoints
  const seed = hash(client)
  const score = new Map(endpoints.map((endpoint) => [endpoint, hash(endpoint.address, seed)]))
  const of = (endpoint: Endpoint) => score.get(endpoint) ?? 0
  const chosen = new Set([...endpoints].sort((one, other) => of(other) - of(one)).slice(0, size))
  return endpoints.filter((endpoint) => chosen.has(endpoint))
}
