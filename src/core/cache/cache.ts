/**
 * The cache: the eight programs of `cache.Cache`, on any store.
 */
import { Deferred, Duration, Effect, Stream } from "effect"
import { type Call, flushHeader } from "../rpc/call.ts"
import { badRequest, errorInfo } from "../rpc/details.ts"
import { RpcError } from "../rpc/error.ts"
import type { Condition, IncrementOptions, SetOptions, Store, Entry as StoreEntry } from "./store.ts"

// The messages of proto/cache.proto as far as the programs look at them.
interface ProtoDuration {
  readonly seconds: bigint
  readonly nanos: number
}
export interface Entry {
  readonly key: string
  readonly value: Uint8Array
  readonly version: bigint
}
export interface KeyRequest {
  readonly key: string
}
export interface SetRequest {
  readonly key: string
  readonly value: Uint8Array
  readonly ttl?: ProtoDuration | undefined
  readonly condition:
    | { readonly case: "ifAbsent" | "ifPresent"; readonly value: boolean }
    | { readonly case: "ifVersion"; readonly value: bigint }
    | { readonly case: undefined; readonly value?: undefined }
}
export interface IncrementRequest {
  readonly key: string
  readonly by: bigint
  readonly ttl?: ProtoDuration | undefined
}
export interface GetManyRequest {
  readonly keys: ReadonlyArray<string>
}
export interface PrefixRequest {
  readonly prefix: string
}
export interface Change {
  readonly key: string
  readonly entry?: Entry
}

export interface CacheOptions {
  /** How many bytes a value may have; a longer one is `invalid_argument`. Default: 1 MiB. */
  readonly maxValueBytes?: number
  /**
   * How many bytes the values and keys of a `GetMany` may have together; more are `resource_exhausted`. Default: 4 MiB, which
   * is what gRPC's clients take in a message unless they are told otherwise.
   */
  readonly maxManyBytes?: number
}

const domain = "cache.Cache"

/** How many bytes a key or a prefix may have in UTF-8. */
export const maxKeyBytes = 1024
/** How many keys one `GetMany` may ask for. */
export const maxKeys = 1000
// protobuf's own limit of a duration, which is 10,000 years.
const maxSeconds = 315_576_000_000n
// How many sets of one stream run at once.
const setsAtOnce = 64

const invalid = (field: string, message: string, reason: string): RpcError =>
  new RpcError({
    code: "invalid_argument",
    message,
    details: [badRequest([{ field, description: message, reason }]), errorInfo({ reason, domain })],
  })

/** What stands against the request for this key, and would not against another or at another time. */
const refused = (code: RpcError["code"], message: string, reason: string, key: string): RpcError =>
  new RpcError({ code, message, details: [errorInfo({ reason, domain, metadata: { key } })] })

const encoder = new TextEncoder()

// No character has more bytes than three for each of its units in a string, nor fewer than one.
const isLong = (text: string): boolean =>
  text.length > maxKeyBytes || (3 * text.length > maxKeyBytes && encoder.encode(text).length > maxKeyBytes)

const wrongLength = (text: string, field: string): RpcError | undefined =>
  isLong(text) ? invalid(field, `${field} should have at most ${maxKeyBytes} bytes`, "KEY_TOO_LONG") : undefined

const wrongKey = (key: string, field = "key"): RpcError | undefined =>
  key === "" ? invalid(field, `${field} should not be empty`, "KEY_EMPTY") : wrongLength(key, field)

const wrongTtl = (ttl: ProtoDuration | undefined): RpcError | undefined =>
  ttl === undefined || (isPositive(ttl) && ttl.seconds < maxSeconds)
    ? undefined
    : invalid("ttl", "ttl should be above zero, and below 10,000 years", "TTL_OUT_OF_RANGE")

const isPositive = ({ seconds, nanos }: ProtoDuration): boolean =>
  seconds >= 0n && nanos >= 0 && nanos < 1e9 && (seconds > 0n || nanos > 0)

const durationOf = ({ seconds, nanos }: ProtoDuration): Duration.Duration =>
  Duration.nanos(seconds * 1_000_000_000n + BigInt(nanos))

const lifetime = (ttl: ProtoDuration | undefined): IncrementOptions =>
  ttl === undefined ? {} : { ttl: durationOf(ttl) }

const conditionOf = ({ condition }: SetRequest): Condition | undefined => {
  if (condition.case === "ifVersion") return { version: condition.value }
  // One that is there and false asks for nothing.
  if (condition.case === undefined || !condition.value) return undefined
  return condition.case === "ifAbsent" ? "absent" : "present"
}

const unmet = (condition: Condition | undefined, key: string): RpcError => {
  if (condition === "absent") return refused("already_exists", "there is a value under the key", "KEY_EXISTS", key)
  if (condition === "present") return nothing(key)
  return refused("aborted", "what is under the key doesn't have that version", "VERSION_MISMATCH", key)
}

const nothing = (key: string): RpcError => refused("not_found", "there is nothing under the key", "KEY_NOT_FOUND", key)

/**
 * The programs of the cache.
 *
 * - `get`: what is under a key; `not_found` for nothing.
 * - `set`: writes a value under a condition or none, and gives its version. What stands in the way is `already_exists`,
 *   `not_found` or `aborted`, for each of the three conditions.
 * - `delete`: whether there was anything.
 * - `increment`: the sum.
 * - `getMany`: what is there of many keys, in their order.
 * - `setMany`: how many were set. Up to 64 of them run at once; of two sets of one key the later one wins. The first that
 *   fails ends the call, and of those around it nobody knows which were done.
 * - `scan`: the keys that begin with a prefix, as they are found.
 * - `watch`: their changes. The header is sent as soon as it watches, where the transport can send it alone.
 *
 * A key has 1 to 1024 bytes of UTF-8, and a prefix has no more; a time to live is above zero. All else is
 * `invalid_argument`. Failures of the store are given as they are.
 *
 * @example
 * const cache = Service.make(Cache, make(yield* memory()))
 */
export const make = (
  store: Store,
  { maxValueBytes = 1024 * 1024, maxManyBytes = 4 * 1024 * 1024 }: CacheOptions = {},
) => {
  const wrongValue = (value: Uint8Array): RpcError | undefined =>
    value.length > maxValueBytes
      ? invalid("value", `value should have at most ${maxValueBytes} bytes`, "VALUE_TOO_LONG")
      : undefined

  const get = ({ key }: KeyRequest): Effect.Effect<Entry, RpcError> => {
    const wrong = wrongKey(key)
    return wrong === undefined
      ? Effect.flatMapEager(store.get(key), (entry) =>
          entry === undefined ? Effect.fail(nothing(key)) : Effect.succeed(entry),
        )
      : Effect.fail(wrong)
  }

  const set = (request: SetRequest): Effect.Effect<{ readonly version: bigint }, RpcError> => {
    const { key, value, ttl } = request
    const wrong = wrongKey(key) ?? wrongValue(value) ?? wrongTtl(ttl)
    if (wrong !== undefined) return Effect.fail(wrong)
    const condition = conditionOf(request)
    const options: SetOptions = condition === undefined ? lifetime(ttl) : { ...lifetime(ttl), if: condition }
    return Effect.flatMap(store.set(key, value, options), (version) =>
      version === undefined ? Effect.fail(unmet(condition, key)) : Effect.succeed({ version }),
    )
  }

  const remove = ({ key }: KeyRequest): Effect.Effect<{ readonly deleted: boolean }, RpcError> => {
    const wrong = wrongKey(key)
    return wrong === undefined ? Effect.map(store.delete(key), (deleted) => ({ deleted })) : Effect.fail(wrong)
  }

  const increment = ({ key, by, ttl }: IncrementRequest): Effect.Effect<{ readonly value: bigint }, RpcError> => {
    const wrong = wrongKey(key) ?? wrongTtl(ttl)
    return wrong === undefined
      ? Effect.map(store.increment(key, by, lifetime(ttl)), (value) => ({ value }))
      : Effect.fail(wrong)
  }

  const getMany = ({ keys }: GetManyRequest): Effect.Effect<{ readonly entries: Array<Entry> }, RpcError> => {
    if (keys.length > maxKeys) {
      return Effect.fail(invalid("keys", `keys should be at most ${maxKeys} at once`, "TOO_MANY_KEYS"))
    }
    for (const [index, key] of keys.entries()) {
      const wrong = wrongKey(key, `keys[${index}]`)
      if (wrong !== undefined) return Effect.fail(wrong)
    }
    return Effect.flatMap(store.getMany(keys), (found) => {
      const entries = found.filter((entry): entry is StoreEntry => entry !== undefined)
      let bytes = 0
      for (const { key, value } of entries) bytes += key.length + value.length
      return bytes > maxManyBytes ? Effect.fail(tooMuch(bytes, maxManyBytes)) : Effect.succeed({ entries })
    })
  }

  const setMany = (
    requests: Stream.Stream<SetRequest, RpcError>,
  ): Effect.Effect<{ readonly count: number }, RpcError> =>
    Effect.map(
      Stream.runCount(
        Stream.suspend(() => Stream.mapEffect(requests, inTurn(set), { concurrency: setsAtOnce, unordered: true })),
      ),
      (count) => ({ count }),
    )

  const scan = ({ prefix }: PrefixRequest): Stream.Stream<{ readonly key: string }, RpcError> => {
    const wrong = wrongLength(prefix, "prefix")
    return wrong === undefined ? Stream.map(store.scan(prefix), (key) => ({ key })) : Stream.fail(wrong)
  }

  const watch = ({ prefix }: PrefixRequest): Stream.Stream<Change, RpcError, Call> => {
    const wrong = wrongLength(prefix, "prefix")
    if (wrong !== undefined) return Stream.fail(wrong)
    const watched = Effect.tap(store.watch(prefix), flushHeader)
    return Stream.map(Stream.unwrap(watched), ({ key, entry }) => (entry === undefined ? { key } : { key, entry }))
  }

  return { get, set, delete: remove, increment, getMany, setMany, scan, watch }
}

/** Lets a set wait for those of the same key that were before it. */
const inTurn = <A>(set: (request: SetRequest) => Effect.Effect<A, RpcError>) => {
  // As many as run.
  const running = new Map<string, Deferred.Deferred<void>>()
  return (request: SetRequest): Effect.Effect<A, RpcError> => {
    const { key } = request
    const before = running.get(key)
    const done = Deferred.makeUnsafe<void>()
    running.set(key, done)
    const mine = Effect.ensuring(
      set(request),
      Effect.sync(() => {
        if (running.get(key) === done) running.delete(key)
        Deferred.doneUnsafe(done, Effect.void)
      }),
    )
    return before === undefined ? mine : Effect.andThen(Deferred.await(before), mine)
  }
}

const tooMuch = (bytes: number, maxBytes: number): RpcError =>
  new RpcError({
    code: "resource_exhausted",
    message: `the values of these keys have ${bytes} bytes, more than the ${maxBytes} of an answer: ask for fewer at once`,
  })
