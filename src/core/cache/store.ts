/**
 * A store: values by key, the port that the cache's programs stand on.
 */
import type { Duration, Effect, Scope, Stream } from "effect"
import type { RpcError } from "../rpc/error.ts"

export interface Entry {
  readonly key: string
  /** Whoever gets it doesn't write to it: the store may hold it still. */
  readonly value: Uint8Array
  /** Another one after each write of the key. Versions can be told apart, but they have no order. */
  readonly version: bigint
}

/** What must be so for a value to be written: nothing is there, something is, or something of this version. */
export type Condition = "absent" | "present" | { readonly version: bigint }

export interface SetOptions {
  /** How long the value is kept. Default: until it is deleted, or the store needs the room. */
  readonly ttl?: Duration.Input
  /** Default: it is written whatever is there. */
  readonly if?: Condition
}

export interface IncrementOptions {
  /** For a key that isn't there yet; one that is keeps its own. Default: no end. */
  readonly ttl?: Duration.Input
}

/** A key that has changed. */
export interface Change {
  readonly key: string
  /** What is there now; `undefined` where it was deleted, has expired or was evicted. */
  readonly entry: Entry | undefined
}

/**
 * Where values are kept. Keys are texts, values are bytes, and neither is changed on the way.
 *
 * An operation that the store can't do now waits as long as `Deadline.Current` allows, less what it takes to say so, and
 * fails then with `unavailable`: it hasn't been done, and may be tried again. A write whose fate nobody knows, since the
 * store went away before it answered, fails with `unknown`.
 */
export interface Store {
  /** What is there; `undefined` for nothing. */
  readonly get: (key: string) => Effect.Effect<Entry | undefined, RpcError>
  /** The same as `get`, at once: only a store that has all in memory can do it. Who wraps `get` wraps it too, or leaves it out. */
  readonly peek?: (key: string) => Entry | undefined
  /** What is there under each of the keys, in their order. */
  readonly getMany: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Entry | undefined>, RpcError>
  /** Writes a value and gives its version; `undefined` if the condition doesn't hold, and nothing was written. */
  readonly set: (key: string, value: Uint8Array, options?: SetOptions) => Effect.Effect<bigint | undefined, RpcError>
  /** Whether there was anything to delete. */
  readonly delete: (key: string) => Effect.Effect<boolean, RpcError>
  /**
   * Adds to a whole number of 64 bits that is kept as decimal digits, and gives the sum. A key that isn't there counts as 0.
   * Fails with `failed_precondition` where something else is there, and `out_of_range` where the sum has more bits.
   */
  readonly increment: (key: string, by: bigint, options?: IncrementOptions) => Effect.Effect<bigint, RpcError>
  /**
   * The keys that begin with a prefix, in no order, read from the store as they are taken. A key that is there all the time
   * is given once; one that comes or goes meanwhile may be.
   */
  readonly scan: (prefix: string) => Stream.Stream<string, RpcError>
  /**
   * The changes of keys that begin with a prefix, from when the effect ends. Of changes of one key that follow each other
   * faster than they are taken, the last one counts. It fails with `resource_exhausted` if too many different keys change
   * while nobody takes them.
   */
  readonly watch: (prefix: string) => Effect.Effect<Stream.Stream<Change, RpcError>, RpcError, Scope.Scope>
}
