/**
 * The store that `serve` keeps answers and the cache in: its flags, and what they open.
 */
import { Duration, Effect, identity, Option, type Scope } from "effect"
import { Flag } from "effect/cli"
import * as Cache from "../core/cache/cache.ts"
import { memory } from "../core/cache/memory.ts"
import { prefixed } from "../core/cache/prefixed.ts"
import type { Store } from "../core/cache/store.ts"
import { cached } from "../core/layers/cached.ts"
import type { Call } from "../core/rpc/call.ts"
import { Cache as CacheService } from "../transport/gen/cache_pb.ts"
import type { RedisError } from "../transport/redis/error.ts"
import * as Service from "../transport/service.ts"
import { positiveDurationFlag } from "./duration.ts"

const redisUrl = /^redis(?:s|-cluster)?:\/\//

export const cacheFlags = {
  cache: Flag.String("cache").pipe(
    Flag.withMetavar("memory|redis://host:port"),
    Flag.withDescription("Keep answers in memory or in Redis, and serve cache.Cache too, proto/cache.proto"),
    Flag.filter(
      (where) => where === "memory" || redisUrl.test(where),
      () => 'Expected "memory", or the address of a Redis such as redis://127.0.0.1:6379',
    ),
    Flag.optional,
  ),
  cacheTtl: positiveDurationFlag("cache-ttl").pipe(
    Flag.withDescription("How long an answer is kept in it"),
    Flag.withDefault(Duration.minutes(1)),
  ),
} as const

export interface CacheFlags {
  readonly cache: Option.Option<string>
  readonly cacheTtl: Duration.Duration
}

export const uncached: CacheFlags = { cache: Option.none(), cacheTtl: Duration.minutes(1) }

const open = (where: string): Effect.Effect<Store, RedisError, Scope.Scope> =>
  where === "memory"
    ? memory()
    : // Loaded where it is asked for alone: other servers start without Redis's client.
      Effect.flatMap(
        Effect.promise(() => import("../transport/redis/store.ts")),
        ({ redis }) => redis(where),
      )

/** What a cache adds to a server: a layer for the services whose answers it keeps, and a service of its own. */
export interface Caching {
  readonly layer: <D, R>(service: Service.Service<D, R>) => Service.Service<D, R | Call>
  readonly services: ReadonlyArray<Service.Service<typeof CacheService, Call>>
}

/**
 * Opens the cache that the flags name. `variant` names a server that answers otherwise than others do: they may share a
 * Redis, and not their answers. Nor do those who write to the cache reach them.
 */
export const caching = Effect.fnUntraced(function* ({ cache, cacheTtl }: CacheFlags, variant: string) {
  if (Option.isNone(cache)) return { layer: identity, services: [] } satisfies Caching
  const store = yield* open(cache.value)
  return {
    layer: cached(prefixed(store, `answers${variant}:`), { ttl: cacheTtl }),
    services: [Service.make(CacheService, Cache.make(prefixed(store, "cache:")))],
  } satisfies Caching
})
