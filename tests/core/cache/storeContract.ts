/**
 * What every `Store` must do, whatever it keeps its entries in. Versions, conditions, times to live and watchers are the
 * port's promises, so they are tested here and nowhere else.
 */
import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Queue, type Scope, Stream } from "effect"
import fc from "fast-check"
import type { Change, Condition, Entry, Store } from "../../../src/core/cache/store.ts"
import type { RpcError } from "../../../src/core/rpc/error.ts"
import { test } from "../../effect.ts"
import { property } from "../support.ts"

export interface StoreContract<E> {
  readonly name: string
  /** A store with nothing in it. Its watchers hear of what has expired within 300 ms. */
  readonly make: Effect.Effect<Store, E, Scope.Scope>
  /** Lets so many milliseconds pass for the store, or some more. */
  readonly wait: (millis: number) => Effect.Effect<void>
  /** How the tests are run. Default: in real time. */
  readonly test?: typeof test
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (entry: Entry | undefined): string | undefined => entry && new TextDecoder().decode(entry.value)

/** A version, where there must be one. */
const written = (version: bigint | undefined): bigint => version ?? assert.fail("it was not written")

const int64 = { min: -(2n ** 63n), max: 2n ** 63n - 1n }

// Long enough to do something before it is over, on a busy machine too.
const shortly = 500

const strange: Array<[[key: string, value: Uint8Array<ArrayBuffer>]]> = [
  [["*", new Uint8Array(0)]],
  [["[a-z]?\\\0\r\n", Uint8Array.from({ length: 256 }, (_, byte) => byte)]],
]

/** What a watcher sees, from when this ends. */
const watching = Effect.fnUntraced(function* (store: Store, prefix: string) {
  const changes = yield* store.watch(prefix)
  const seen = yield* Queue.unbounded<Change, RpcError>()
  yield* Effect.forkScoped(
    Effect.catch(
      Stream.runForEach(changes, (change) => Queue.offer(seen, change)),
      (error) => Queue.fail(seen, error),
    ),
  )
  /** Ends with the first change of a key that shows this text. A store may tell of one change twice. */
  const until = (key: string, text: string | undefined): Effect.Effect<Change, RpcError> =>
    Effect.flatMap(Queue.take(seen), (change) =>
      change.key === key && textOf(change.entry) === text ? Effect.succeed(change) : until(key, text),
    )
  return { next: Queue.take(seen), until }
})

export const storeContract = <E>({ name, make, wait, test: on = test }: StoreContract<E>): void => {
  const store = (title: string, body: (store: Store) => Effect.Effect<unknown, unknown, Scope.Scope>): void =>
    on(title, () => Effect.asVoid(Effect.flatMap(make, body)))

  describe(`the store ${name}`, () => {
    store("has nothing under a key that was never set", (store) =>
      Effect.gen(function* () {
        assert.equal(yield* store.get("a"), undefined)
        assert.deepEqual(yield* store.getMany(["a", "b"]), [undefined, undefined])
        assert.equal(yield* store.delete("a"), false)
      }),
    )

    store("gives what was set, with the version that the write gave", (store) =>
      Effect.gen(function* () {
        const version = written(yield* store.set("a", bytes("1")))
        const entry = yield* store.get("a")
        assert.deepEqual([entry?.key, textOf(entry), entry?.version], ["a", "1", version])
        yield* store.set("a", bytes("2"))
        assert.equal(textOf(yield* store.get("a")), "2")
        assert.equal(yield* store.delete("a"), true)
        assert.equal(yield* store.get("a"), undefined)
        assert.equal(yield* store.delete("a"), false)
      }),
    )

    store("changes neither keys nor values, whatever is in them", (store) =>
      property(
        fc.tuple(fc.string({ unit: "binary", minLength: 1 }), fc.uint8Array()),
        ([key, value]) =>
          Effect.gen(function* () {
            yield* store.set(key, value)
            const entry = yield* store.get(key)
            assert.equal(entry?.key, key)
            assert.deepEqual([...(entry?.value ?? [])], [...value])
            const keys = yield* Stream.runCollect(store.scan(key))
            assert.ok(keys.includes(key))
          }),
        { examples: strange },
      ),
    )

    store("keeps a value as it was when it was set, whatever becomes of its bytes", (store) =>
      Effect.gen(function* () {
        const buffer = bytes("..kept..")
        yield* store.set("a", buffer.subarray(2, 6))
        buffer.fill(0)
        assert.equal(textOf(yield* store.get("a")), "kept")
      }),
    )

    store("has another version after each write, a deletion between them or not", (store) =>
      Effect.gen(function* () {
        const versions: Array<bigint> = []
        for (let round = 0; round < 3; round += 1) {
          versions.push(written(yield* store.set("a", bytes("1"))))
          versions.push(written(yield* store.set("a", bytes("1"))))
          yield* store.increment("a", 0n)
          versions.push((yield* store.get("a"))?.version ?? 0n)
          yield* store.delete("a")
        }
        assert.equal(new Set(versions).size, versions.length)
      }),
    )

    store("writes only if the condition holds", (store) =>
      Effect.gen(function* () {
        const set = (text: string, condition: Condition) => store.set("a", bytes(text), { if: condition })
        const now = Effect.map(store.get("a"), textOf)
        assert.equal(yield* set("present", "present"), undefined)
        assert.equal(yield* set("version", { version: 1n }), undefined)
        assert.equal(yield* now, undefined)
        const first = written(yield* set("absent", "absent"))
        assert.equal(yield* set("absent again", "absent"), undefined)
        assert.equal(yield* set("version", { version: first + 1n }), undefined)
        assert.equal(yield* now, "absent")
        const second = written(yield* set("version", { version: first }))
        assert.equal(yield* set("version again", { version: first }), undefined)
        assert.equal(yield* now, "version")
        assert.notEqual(written(yield* set("present", "present")), second)
        assert.equal(yield* now, "present")
        yield* store.delete("a")
        assert.equal(yield* set("version", { version: second }), undefined)
        yield* set("absent", "absent")
        assert.equal(yield* now, "absent")
      }),
    )

    store("lets one of those win who write at once under a condition", (store) =>
      Effect.gen(function* () {
        const race = (condition: Condition) =>
          Effect.map(
            Effect.forEach(
              Array.from({ length: 20 }, (_, index) => index),
              (index) => store.set("a", bytes(`${index}`), { if: condition }),
              { concurrency: "unbounded" },
            ),
            (versions) => versions.filter((version) => version !== undefined),
          )
        const [first = 0n, ...others] = yield* race("absent")
        assert.deepEqual(others, [])
        const [second, ...more] = yield* race({ version: first })
        assert.deepEqual(more, [])
        assert.equal((yield* store.get("a"))?.version, second)
      }),
    )

    store("gives many keys in their order, and one as often as it is asked for", (store) =>
      Effect.gen(function* () {
        yield* store.set("a", bytes("1"))
        yield* store.set("b", bytes("2"))
        assert.deepEqual((yield* store.getMany(["b", "none", "a", "b"])).map(textOf), ["2", undefined, "1", "2"])
        assert.deepEqual(yield* store.getMany([]), [])
      }),
    )

    store("adds to a whole number in decimal digits, and to 0 where there is none", (store) =>
      Effect.gen(function* () {
        assert.equal(yield* store.increment("a", 5n), 5n)
        assert.equal(yield* store.increment("a", -7n), -2n)
        assert.equal(textOf(yield* store.get("a")), "-2")
        yield* store.set("a", bytes("40"))
        assert.equal(yield* store.increment("a", 2n), 42n)
        assert.equal(yield* store.increment("zero", 0n), 0n)
        assert.equal(textOf(yield* store.get("zero")), "0")
      }),
    )

    store("adds once for each who adds at once", (store) =>
      Effect.gen(function* () {
        const sums = yield* Effect.replicateEffect(store.increment("a", 1n), 50, { concurrency: "unbounded" })
        assert.deepEqual(
          sums.map(Number).toSorted((a, b) => a - b),
          Array.from({ length: 50 }, (_, index) => index + 1),
        )
      }),
    )

    store("adds within 64 bits, and changes nothing where the sum would have more", (store) =>
      Effect.gen(function* () {
        for (const [at, by] of [
          [int64.max, 1n],
          [int64.min, -1n],
        ] as const) {
          yield* store.delete("a")
          assert.equal(yield* store.increment("a", at), at)
          assert.equal((yield* Effect.flip(store.increment("a", by))).code, "out_of_range")
          assert.equal(textOf(yield* store.get("a")), `${at}`)
          assert.equal(yield* store.increment("a", -by), at - by)
        }
      }),
    )

    store("adds to nothing else, and leaves it as it is", (store) =>
      Effect.forEach(
        ["", " 1", "1 ", "+1", "01", "-0", "1.5", "1e3", "0x1", "one", "-", `${int64.max + 1n}`, `${int64.min - 1n}`],
        (text) =>
          Effect.gen(function* () {
            const version = yield* store.set("a", bytes(text))
            assert.equal((yield* Effect.flip(store.increment("a", 1n))).code, "failed_precondition", text)
            const entry = yield* store.get("a")
            assert.deepEqual([textOf(entry), entry?.version], [text, version])
          }),
      ),
    )

    store("forgets a key when its time to live has passed", (store) =>
      Effect.gen(function* () {
        yield* store.set("a", bytes("1"), { ttl: shortly })
        yield* store.set("stays", bytes("1"), { ttl: "1 hour" })
        assert.equal(textOf(yield* store.get("a")), "1")
        yield* wait(shortly)
        assert.equal(yield* store.get("a"), undefined)
        assert.deepEqual((yield* store.getMany(["a", "stays"])).map(textOf), [undefined, "1"])
        assert.deepEqual(yield* Stream.runCollect(store.scan("")), ["stays"])
        assert.equal(yield* store.delete("a"), false)
        assert.equal(yield* store.set("a", bytes("2"), { if: "present" }), undefined)
        written(yield* store.set("a", bytes("2"), { if: "absent" }))
      }),
    )

    store("counts the time to live from the last write, and ends it with a write that has none", (store) =>
      Effect.gen(function* () {
        yield* store.set("longer", bytes("1"), { ttl: shortly })
        yield* store.set("longer", bytes("2"), { ttl: "1 hour" })
        yield* store.set("forever", bytes("1"), { ttl: shortly })
        yield* store.set("forever", bytes("2"))
        yield* store.set("refused", bytes("1"), { ttl: shortly })
        yield* store.set("refused", bytes("2"), { ttl: "1 hour", if: "absent" })
        yield* wait(shortly)
        const entries = yield* store.getMany(["longer", "forever", "refused"])
        assert.deepEqual(entries.map(textOf), ["2", "2", undefined])
      }),
    )

    store("gives a number's time to live to one that is new, and leaves that of others", (store) =>
      Effect.gen(function* () {
        yield* store.increment("new", 1n, { ttl: shortly })
        yield* store.increment("new", 1n, { ttl: "1 hour" })
        yield* store.set("limited", bytes("1"), { ttl: shortly })
        yield* store.increment("limited", 1n)
        yield* store.set("unlimited", bytes("1"))
        yield* store.increment("unlimited", 1n, { ttl: shortly })
        yield* wait(shortly)
        const entries = yield* store.getMany(["new", "limited", "unlimited"])
        assert.deepEqual(entries.map(textOf), [undefined, undefined, "2"])
        assert.equal(yield* store.increment("new", 1n), 1n)
      }),
    )

    store("finds the keys that begin with a prefix, whatever characters it has", (store) =>
      Effect.gen(function* () {
        const keys = ["a", "a*", "a*b", "a?", "a[b]", "ab", "b", "ä", "\\a"]
        for (const key of keys) yield* store.set(key, bytes("1"))
        for (const prefix of ["", "a", "a*", "a?", "a[", "ab", "ä", "\\", "none"]) {
          assert.deepEqual(
            (yield* Stream.runCollect(store.scan(prefix))).toSorted(),
            keys.filter((key) => key.startsWith(prefix)).toSorted(),
            prefix,
          )
        }
      }),
    )

    store("finds each key once that is there all the time, whatever others do meanwhile", (store) =>
      Effect.gen(function* () {
        const keys = Array.from({ length: 2500 }, (_, index) => `key/${index}`)
        yield* Effect.forEach(keys, (key) => store.set(key, bytes("1")), { concurrency: 100 })
        yield* Effect.forEach(keys, (key) => store.set(`other${key}`, bytes("1")), { concurrency: 100 })
        const found: Array<string> = []
        yield* Stream.runForEach(store.scan("key/"), (key) =>
          Effect.gen(function* () {
            found.push(key)
            const at = found.length
            if (at % 50 !== 0) return
            // Read, written, and others that come and go.
            yield* store.getMany(keys.slice(at - 50, at + 50))
            yield* store.set(keys[at] ?? "key/0", bytes("2"))
            yield* store.set(keys[at - 50] ?? "key/0", bytes("2"))
            yield* store.set(`key/new/${at}`, bytes("1"))
            yield* store.delete(`otherkey/${at}`)
          }),
        )
        const old = found.filter((key) => !key.startsWith("key/new/"))
        assert.deepEqual(old.toSorted(), keys.toSorted())
      }),
    )

    store("tells of each change from when it watches, and of no other prefix", (store) =>
      Effect.gen(function* () {
        yield* store.set("a/before", bytes("1"))
        const { next, until } = yield* watching(store, "a/")
        yield* store.set("b/other", bytes("1"))
        const version = yield* store.set("a/1", bytes("1"))
        const first = yield* next
        assert.deepEqual([first.key, textOf(first.entry), first.entry?.version], ["a/1", "1", version])
        yield* store.set("a/1", bytes("2"))
        yield* until("a/1", "2")
        yield* store.set("a/1", bytes("refused"), { if: "absent" })
        yield* store.increment("a/1", 40n)
        yield* until("a/1", "42")
        yield* store.delete("a/1")
        yield* until("a/1", undefined)
        yield* store.delete("a/before")
        yield* until("a/before", undefined)
      }),
    )

    store("tells of what has expired", (store) =>
      Effect.gen(function* () {
        const { until } = yield* watching(store, "")
        yield* store.set("a", bytes("1"), { ttl: shortly })
        yield* until("a", "1")
        yield* wait(shortly + 300)
        yield* until("a", undefined)
      }),
    )

    store("tells of the last of many changes to those who take them slowly", (store) =>
      Effect.gen(function* () {
        const changes = yield* store.watch("a")
        for (let n = 1; n <= 100; n += 1) yield* store.increment("a", 1n)
        yield* store.set("a last", bytes("1"))
        const last = yield* Stream.runHead(
          Stream.filter(changes, ({ key, entry }) => key === "a" && textOf(entry) === "100"),
        )
        assert.equal(last._tag, "Some")
      }),
    )

    store("has watchers that know nothing of each other", (store) =>
      Effect.gen(function* () {
        const all = yield* watching(store, "")
        yield* Effect.scoped(
          Effect.gen(function* () {
            const some = yield* watching(store, "a")
            yield* store.set("a", bytes("1"))
            yield* some.until("a", "1")
          }),
        )
        yield* all.until("a", "1")
        yield* store.set("b", bytes("1"))
        yield* all.until("b", "1")
      }),
    )
  })
}
