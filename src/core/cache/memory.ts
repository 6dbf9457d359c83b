/**
 * `memory`: a store in the memory of this process.
 */
import { Array as Arr, Cause, Clock, Duration, Effect, type Pull, Random, type Scope, Stream } from "effect"
import { RpcError } from "../rpc/error.ts"
import * as Monotonic from "../rpc/monotonic.ts"
import { Expiring } from "./expiring.ts"
import { Recency, Used } from "./recency.ts"
import type { Change, Condition, Entry, IncrementOptions, SetOptions, Store } from "./store.ts"

export interface MemoryOptions {
  /**
   * How many bytes keys and values may take up, with 512 more for each entry. Past that, the entries that weren't used for
   * longest are evicted. Default: 64 MiB.
   */
  readonly maxBytes?: number
  /** How often expired entries are looked for that nobody asks for. Default: 1 second. */
  readonly sweepEvery?: Duration.Input
  /** How many keys may have changed that a watcher hasn't taken. Default: 10,000. */
  readonly maxWatched?: number
}

/** What an entry takes up beside its key and its value: its places in the map and among others, and its objects. */
export const overhead = 512

/**
 * A store in memory, for one process. It forgets entries when they expire by Effect's `Clock`, and those that weren't used
 * for longest when it is full; a value that is larger than all of it fails with `resource_exhausted`. Watchers see both as
 * deletions, an expiry when it is swept at the latest.
 *
 * It copies the values that are written, since they may lie in the buffer of a connection, and gives out what it holds:
 * nobody writes to that. All operations but `scan` and `watch` end in the turn that they began in. Expired entries are
 * swept until the scope closes.
 *
 * @example
 * const store = yield* memory({ maxBytes: 1_000_000 })
 * yield* store.set("pi", new TextEncoder().encode("3.14"), { ttl: "1 minute" })
 */
export const memory = Effect.fnUntraced(function* (
  options: MemoryOptions = {},
): Effect.fn.Return<Store, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const seed = BigInt(yield* Random.nextInt) * 0x1_0000_0000n + BigInt(yield* Random.nextInt)
  const every = Duration.fromInputUnsafe(options.sweepEvery ?? "1 second")
  const maxWatched = options.maxWatched ?? 10_000
  const entries = new Entries(clock, seed, options.maxBytes ?? 64 * 1024 * 1024, Duration.toMillis(every))

  const sweep: Effect.Effect<void> = Effect.suspend(() =>
    entries.sweep() ? Effect.andThen(Effect.yieldNow, sweep) : Effect.void,
  )
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(every), sweep)))

  return {
    get: (key) => Effect.sync(() => entries.get(key)),
    peek: (key) => entries.get(key),
    getMany: (keys) => Effect.sync(() => keys.map((key) => entries.get(key))),
    set: (key, value, set) => Effect.suspend(() => entries.set(key, value, set)),
    delete: (key) => Effect.sync(() => entries.delete(key)),
    increment: (key, by, increment) => Effect.suspend(() => entries.increment(key, by, increment)),
    scan: (prefix) => Stream.suspend(() => entries.scan(prefix)),
    watch: (prefix) =>
      Effect.acquireRelease(
        Effect.sync(() => entries.watch(prefix, maxWatched)),
        (watcher) => Effect.sync(() => entries.unwatch(watcher)),
      ).pipe(Effect.map((watcher) => Stream.fromPull(Effect.succeed(watcher.take)))),
  }
})

// So many entries are looked at before others have their turn.
const atOnce = 1000

class Item extends Used {
  entry: Entry
  expiresAt: number
  /** How many items there had been when this one came. */
  readonly born: number

  constructor(entry: Entry, expiresAt: number, born: number) {
    super()
    this.entry = entry
    this.expiresAt = expiresAt
    this.born = born
  }
}

const costOf = ({ key, value }: Pick<Entry, "key" | "value">): number => overhead + 2 * key.length + value.length

class Entries {
  private readonly clock: Clock.Clock
  private readonly maxBytes: number
  private readonly items = new Map<string, Item>()
  private readonly recency = new Recency<Item>()
  private readonly expiring: Expiring<Item>
  private readonly watchers = new Set<Watcher>()
  private bytes = 0
  private born = 0
  // Begins anywhere, so that nobody takes an entry for one of an earlier process.
  private version: bigint

  constructor(clock: Clock.Clock, version: bigint, maxBytes: number, stepMillis: number) {
    this.clock = clock
    this.version = version
    this.maxBytes = maxBytes
    this.expiring = new Expiring(stepMillis)
  }

  get(key: string): Entry | undefined {
    const item = this.find(key)
    if (item === undefined) return undefined
    this.recency.use(item)
    return item.entry
  }

  set(
    key: string,
    value: Uint8Array,
    { ttl, if: condition }: SetOptions = {},
  ): Effect.Effect<bigint | undefined, RpcError> {
    const item = this.find(key)
    if (!holds(condition, item?.entry)) return Effect.undefined
    return this.write(key, new Uint8Array(value), this.expiryOf(ttl))
  }

  delete(key: string): boolean {
    const item = this.find(key)
    if (item === undefined) return false
    this.remove(item)
    return true
  }

  increment(key: string, by: bigint, { ttl }: IncrementOptions = {}): Effect.Effect<bigint, RpcError> {
    const item = this.find(key)
    const before = item === undefined ? 0n : numberOf(item.entry.value)
    if (before === undefined) return Effect.fail(noNumber())
    const sum = before + by
    if (!isInt64(sum)) return Effect.fail(outOfRange())
    const value = new TextEncoder().encode(`${sum}`)
    return Effect.as(this.write(key, value, item?.expiresAt ?? this.expiryOf(ttl)), sum)
  }

  /** An item keeps its place in the map as long as it lives, so that a walk meets it once. Later ones are left out. */
  scan(prefix: string): Stream.Stream<string> {
    const until = this.born
    const items = this.items.values()
    const next: Pull.Pull<Arr.NonEmptyReadonlyArray<string>> = Effect.suspend(() => {
      const now = Monotonic.nowUnsafe(this.clock)
      const found: Array<string> = []
      for (let looked = 0; looked < atOnce; looked += 1) {
        const { value: item } = items.next()
        if (item === undefined || item.born >= until)
          return Arr.isArrayNonEmpty(found) ? Effect.succeed(found) : Cause.done()
        if (item.expiresAt > now && item.entry.key.startsWith(prefix)) found.push(item.entry.key)
      }
      return Arr.isArrayNonEmpty(found) ? Effect.succeed(found) : Effect.andThen(Effect.yieldNow, next)
    })
    return Stream.fromPull(Effect.succeed(next))
  }

  watch(prefix: string, most: number): Watcher {
    const watcher = new Watcher(prefix, most, (key) => this.find(key)?.entry)
    this.watchers.add(watcher)
    return watcher
  }

  unwatch(watcher: Watcher): void {
    this.watchers.delete(watcher)
  }

  /** Removes what has expired; true if there may be more of that. */
  sweep(): boolean {
    const due = this.expiring.take(Monotonic.nowUnsafe(this.clock), atOnce)
    for (const item of due) this.remove(item)
    return due.length === atOnce
  }

  private find(key: string): Item | undefined {
    const item = this.items.get(key)
    if (item === undefined || item.expiresAt > Monotonic.nowUnsafe(this.clock)) return item
    this.remove(item)
    return undefined
  }

  private write(key: string, value: Uint8Array, expiresAt: number): Effect.Effect<bigint, RpcError> {
    const cost = costOf({ key, value })
    if (cost > this.maxBytes) return Effect.fail(tooLarge(cost, this.maxBytes))
    this.version = BigInt.asUintN(64, this.version + 1n)
    const entry: Entry = { key, value, version: this.version }
    let item = this.items.get(key)
    if (item === undefined) {
      item = new Item(entry, expiresAt, this.born++)
      this.items.set(key, item)
    } else {
      this.bytes -= costOf(item.entry)
      this.expiring.remove(item, item.expiresAt)
      item.entry = entry
      item.expiresAt = expiresAt
    }
    this.bytes += cost
    this.expiring.add(item, expiresAt)
    this.recency.use(item)
    this.tell(key)
    for (let { oldest } = this.recency; this.bytes > this.maxBytes && oldest !== undefined; { oldest } = this.recency) {
      this.remove(oldest)
    }
    return Effect.succeed(entry.version)
  }

  private remove(item: Item): void {
    const { key } = item.entry
    this.items.delete(key)
    this.bytes -= costOf(item.entry)
    this.expiring.remove(item, item.expiresAt)
    this.recency.remove(item)
    this.tell(key)
  }

  private tell(key: string): void {
    for (const watcher of this.watchers) watcher.changed(key)
  }

  private expiryOf(ttl: Duration.Input | undefined): number {
    return ttl === undefined
      ? Number.POSITIVE_INFINITY
      : Monotonic.nowUnsafe(this.clock) + Math.ceil(Duration.toMillis(ttl))
  }
}

const holds = (condition: Condition | undefined, entry: Entry | undefined): boolean => {
  if (condition === undefined) return true
  if (condition === "absent") return entry === undefined
  if (condition === "present") return entry !== undefined
  return entry?.version === condition.version
}

const digits = /^(?:0|-?[1-9]\d{0,18})$/

const isInt64 = (number: bigint): boolean => BigInt.asIntN(64, number) === number

/** The whole number that a value is; `undefined` for any other value. */
const numberOf = (value: Uint8Array): bigint | undefined => {
  if (value.length > 20) return undefined
  const text = String.fromCharCode(...value)
  if (!digits.test(text)) return undefined
  const number = BigInt(text)
  return isInt64(number) ? number : undefined
}

// So many changes are taken at once at most, and so many bytes of values but for one.
const changesAtOnce = 64
const bytesAtOnce = 65_536

/**
 * The keys that have changed since somebody took them last. What is there is looked up when it is taken: of changes that
 * follow each other faster than that the last one counts, and no value is held for those who take slowly.
 */
class Watcher {
  private readonly prefix: string
  private readonly most: number
  private readonly find: (key: string) => Entry | undefined
  private readonly keys = new Set<string>()
  private overrun = false
  private wake: (() => void) | undefined

  constructor(prefix: string, most: number, find: (key: string) => Entry | undefined) {
    this.prefix = prefix
    this.most = most
    this.find = find
  }

  changed(key: string): void {
    if (this.overrun || !key.startsWith(this.prefix)) return
    this.keys.add(key)
    if (this.keys.size > this.most) {
      this.overrun = true
      this.keys.clear()
    }
    this.wake?.()
  }

  readonly take: Effect.Effect<Arr.NonEmptyReadonlyArray<Change>, RpcError> = Effect.suspend(() => {
    if (this.overrun) return Effect.fail(tooManyChanges(this.most))
    const changes: Array<Change> = []
    let bytes = 0
    for (const key of this.keys) {
      const entry = this.find(key)
      // Only now, since looking for it may have removed it.
      this.keys.delete(key)
      changes.push({ key, entry })
      bytes += entry?.value.length ?? 0
      if (changes.length === changesAtOnce || bytes > bytesAtOnce) break
    }
    return Arr.isArrayNonEmpty(changes) ? Effect.succeed(changes) : Effect.andThen(this.change, this.take)
  })

  private readonly change: Effect.Effect<void> = Effect.callback((resume) => {
    this.wake = () => {
      this.wake = undefined
      resume(Effect.void)
    }
  })
}

const noNumber = () =>
  new RpcError({
    code: "failed_precondition",
    message: "the value is no whole number of 64 bits in decimal digits, so nothing can be added to it",
  })

const outOfRange = () =>
  new RpcError({ code: "out_of_range", message: "the sum would have more than 64 bits: nothing was added" })

const tooLarge = (bytes: number, maxBytes: number) =>
  new RpcError({
    code: "resource_exhausted",
    message: `an entry of ${bytes} bytes is larger than all of the store, which has ${maxBytes}`,
  })

const tooManyChanges = (most: number) =>
  new RpcError({
    code: "resource_exhausted",
    message: `more than ${most} keys changed before their changes were taken: watch again, and read what there is now`,
  })
