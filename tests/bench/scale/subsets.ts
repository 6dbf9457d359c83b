/**
 * Subsets: how even they make the load of the endpoints, and what they cost when endpoints come and go.
 */
import { Effect, Random } from "effect"
import { choose } from "../../../src/core/balance/subset.ts"
import type { Endpoint } from "../../../src/core/discovery/registry.ts"
import { address } from "./population.ts"

export interface Spread {
  readonly clients: number
  readonly size: number
  /** The connections of the endpoint that has most of them, and of that which has fewest, for each that the mean one has. */
  readonly most: number
  readonly least: number
}

/** A service of so many endpoints. */
export const service = (count: number): ReadonlyArray<Endpoint> =>
  Array.from({ length: count }, (_, i) => ({ address: address(i) }))

/** Who has a subset: a name that tells it from others. */
const name = (client: number): string => `client-${client}`

const spreadOf = (connections: Int32Array, clients: number, size: number): Spread => {
  const mean = (clients * size) / connections.length
  let most = 0
  let least = Number.POSITIVE_INFINITY
  for (const count of connections) {
    most = Math.max(most, count)
    least = Math.min(least, count)
  }
  return { clients, size, most: most / mean, least: least / mean }
}

/** With the subsets that our clients choose. */
export const chosen = (endpoints: ReadonlyArray<Endpoint>, clients: number, size: number): Spread => {
  const at = new Map(endpoints.map((endpoint, i) => [endpoint, i]))
  const connections = new Int32Array(endpoints.length)
  for (let client = 0; client < clients; client++) {
    for (const endpoint of choose(size, name(client), endpoints)) {
      const i = at.get(endpoint)
      if (i !== undefined) connections[i] = (connections[i] ?? 0) + 1
    }
  }
  return spreadOf(connections, clients, size)
}

/**
 * With subsets drawn at random, each endpoint at most once in each: what ours are as good as, if their hash is good. They are
 * many times faster to draw than to choose, so that a million clients can have theirs.
 */
export const drawn = (endpoints: number, clients: number, size: number, seed: string): Spread => {
  const random = Effect.runSync(Random.withSeed(Effect.service(Random.Random), seed))
  const connections = new Int32Array(endpoints)
  const all = Int32Array.from({ length: endpoints }, (_, i) => i)
  for (let client = 0; client < clients; client++) {
    // The first steps of a shuffle.
    for (let i = 0; i < size; i++) {
      const other = i + Math.floor(random.nextDoubleUnsafe() * (endpoints - i))
      const endpoint = all[other] ?? 0
      all[other] = all[i] ?? 0
      all[i] = endpoint
      connections[endpoint] = (connections[endpoint] ?? 0) + 1
    }
  }
  return spreadOf(connections, clients, size)
}

/**
 * The subsets of Google's SRE book, "Load Balancing in the Datacenter": clients have numbers, the endpoints are shuffled for
 * each round of them, and the clients of a round share that shuffle out. Their load is even, if clients have numbers at all.
 */
export const dealt = (
  endpoints: ReadonlyArray<Endpoint>,
  client: number,
  size: number,
): Effect.Effect<ReadonlyArray<Endpoint>> => {
  const subsets = Math.floor(endpoints.length / size)
  const round = Math.floor(client / subsets)
  const first = (client % subsets) * size
  return Random.shuffle(endpoints).pipe(
    Effect.map((shuffled) => shuffled.slice(first, first + size)),
    Random.withSeed(`round ${round}`),
  )
}

export interface Churn {
  readonly scheme: string
  /** How many endpoints leave. */
  readonly leaving: number
  /** The part of the clients' connections to endpoints that stay which they close nonetheless. */
  readonly moved: number
}

/** How many connections to those that stay are closed when some leave. */
export const churn = (endpoints: ReadonlyArray<Endpoint>, clients: number, size: number): ReadonlyArray<Churn> => {
  const schemes: Readonly<Record<string, (of: ReadonlyArray<Endpoint>, client: number) => ReadonlyArray<Endpoint>>> = {
    "rendezvous (ours)": (of, client) => choose(size, name(client), of),
    "dealt by number (SRE book)": (of, client) => Effect.runSync(dealt(of, client, size)),
  }
  return Object.entries(schemes).flatMap(([scheme, subset]) =>
    [1, 10, 100, 1000].map((leaving) => {
      // Those that leave are all over the list.
      const every = endpoints.length / leaving
      const stay = endpoints.filter((_, i) => i % every !== 0)
      const staying = new Set(stay)
      let had = 0
      let moved = 0
      for (let client = 0; client < clients; client++) {
        const after = new Set(subset(stay, client))
        for (const endpoint of subset(endpoints, client)) {
          if (!staying.has(endpoint)) continue
          had += 1
          if (!after.has(endpoint)) moved += 1
        }
      }
      return { scheme, leaving, moved: moved / had }
    }),
  )
}
