/**
 * `prefixed`: a part of a store, which is a store of its own.
 */
import { Effect, Stream } from "effect"
import type { Entry, Store } from "./store.ts"

/**
 * The part of a store whose keys begin with a prefix, which whoever uses it doesn't see. No key of it can reach beyond that.
 *
 * @example
 * const sessions = prefixed(store, "sessions:")
 */
export const prefixed = (store: Store, prefix: string): Store => {
  const outer = (key: string): string => prefix + key
  const inner = (key: string): string => key.slice(prefix.length)
  const entryOf = (entry: Entry | undefined): Entry | undefined => entry && { ...entry, key: inner(entry.key) }
  const { peek } = store
  return {
    get: (key) => Effect.mapEager(store.get(outer(key)), entryOf),
    ...(peek && { peek: (key) => entryOf(peek(outer(key))) }),
    getMany: (keys) => Effect.map(store.getMany(keys.map(outer)), (entries) => entries.map(entryOf)),
    set: (key, value, options) => store.set(outer(key), value, options),
    delete: (key) => store.delete(outer(key)),
    increment: (key, by, options) => store.increment(outer(key), by, options),
    scan: (start) => Stream.map(store.scan(outer(start)), inner),
    watch: (start) =>
      Effect.map(
        store.watch(outer(start)),
        Stream.map(({ key, entry }) => ({ key: inner(key), entry: entryOf(entry) })),
      ),
  }
}
