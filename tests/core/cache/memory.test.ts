import assert from "node:assert/strict"
import { Duration, Effect, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { memory, overhead } from "../../../src/core/cache/memory.ts"
import type { Condition, Store } from "../../../src/core/cache/store.ts"
import { testWithClock } from "../../effect.ts"
import { property } from "../support.ts"
import { storeContract } from "./storeContract.ts"

storeContract({
  name: "in memory",
  make: memory({ sweepEvery: "100 millis" }),
  wait: (millis) => TestClock.adjust(millis),
  test: testWithClock,
})

const value = new Uint8Array(100)
// Keys of one letter.
const cost = overhead + 2 + value.length

const keysOf = (store: Store) => Effect.map(Stream.runCollect(store.scan("")), (keys) => keys.toSorted().join(""))

testWithClock("when it is full, those go that weren't used for longest", () =>
  Effect.gen(function* () {
    const store = yield* memory({ maxBytes: 4 * cost })
    for (const key of "abcd") yield* store.set(key, value)
    yield* store.get("a")
    yield* store.set("e", value)
    assert.equal(yield* keysOf(store), "acde")
    yield* store.getMany(["c", "none"])
    yield* store.set("d", value)
    yield* store.set("f", value)
    assert.equal(yield* keysOf(store), "cdef")
    yield* store.set("g", new Uint8Array(value.length + 2 * cost))
    assert.equal(yield* keysOf(store), "fg")
  }),
)

testWithClock("what was deleted, overwritten or has expired makes room", () =>
  Effect.gen(function* () {
    const store = yield* memory({ maxBytes: 3 * cost })
    yield* store.set("a", value)
    for (let round = 0; round < 10; round += 1) {
      yield* store.set("b", value)
      yield* store.set("b", value)
      yield* store.delete("b")
      yield* store.set("c", value, { ttl: "1 second" })
      yield* store.set("d", value, { ttl: "1 hour" })
      // Nobody asks for what has expired.
      yield* TestClock.adjust("2 seconds")
      yield* store.set("e", value)
      yield* store.delete("e")
    }
    assert.equal(yield* keysOf(store), "ad")
  }),
)

testWithClock("a value that is larger than all of it is refused, and the one before it stays", () =>
  Effect.gen(function* () {
    const store = yield* memory({ maxBytes: cost })
    const version = yield* store.set("a", value)
    const error = yield* Effect.flip(store.set("a", new Uint8Array(value.length + 1)))
    assert.equal(error.code, "resource_exhausted")
    assert.equal((yield* store.get("a"))?.version, version)
  }),
)

testWithClock("a watcher sees an eviction", () =>
  Effect.gen(function* () {
    const store = yield* memory({ maxBytes: 2 * cost })
    const changes = yield* store.watch("")
    for (const key of "abc") yield* store.set(key, value)
    const seen = yield* Stream.runCollect(Stream.take(changes, 3))
    assert.deepEqual(
      seen.map(({ key, entry }) => [key, entry?.key]),
      [
        ["a", undefined],
        ["b", "b"],
        ["c", "c"],
      ],
    )
  }),
)

testWithClock("a watcher fails when more keys have changed than may wait for it, and others go on", () =>
  Effect.gen(function* () {
    const store = yield* memory({ maxWatched: 3 })
    const slow = yield* store.watch("")
    const narrow = yield* store.watch("c")
    for (const key of "abcabcabc") yield* store.set(key, value)
    assert.equal((yield* Stream.runCollect(Stream.take(slow, 3))).length, 3)
    for (const key of "abcd") yield* store.set(key, value)
    assert.equal((yield* Effect.flip(Stream.runDrain(slow))).code, "resource_exhausted")
    assert.equal((yield* Stream.runCollect(Stream.take(narrow, 1)))[0]?.key, "c")
    const next = yield* store.watch("")
    yield* store.set("e", value)
    assert.equal((yield* Stream.runCollect(Stream.take(next, 1)))[0]?.key, "e")
  }),
)

testWithClock("two stores don't begin with the same versions", () =>
  Effect.gen(function* () {
    const versions = yield* Effect.forEach(["one", "two", "one"], (seed) =>
      Effect.flatMap(Random.withSeed(memory(), seed), (store) => store.set("a", value)),
    )
    assert.notEqual(versions[0], versions[1])
    assert.equal(versions[0], versions[2])
  }),
)

// ---- Against a simple model: a map, and when what is in it ends.

interface Modelled {
  readonly text: string
  readonly until: number
}

type Command =
  | { readonly do: "get" | "delete"; readonly key: string }
  | { readonly do: "set"; readonly key: string; readonly text: string; readonly ttl?: number; readonly if?: string }
  | { readonly do: "increment"; readonly key: string; readonly by: bigint; readonly ttl?: number }
  | { readonly do: "wait"; readonly millis: number }

const key = fc.constantFrom("a", "b", "c", "d")
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ do: fc.constantFrom("get" as const, "delete" as const), key }),
  fc.record(
    {
      do: fc.constant("set" as const),
      key,
      text: fc.constantFrom("", "x", "12", "9223372036854775807"),
      ttl: fc.integer({ min: 1, max: 300 }),
      if: fc.constantFrom("absent", "present", "version", "old version"),
    },
    { requiredKeys: ["do", "key", "text"] },
  ),
  fc.record(
    {
      do: fc.constant("increment" as const),
      key,
      by: fc.bigInt({ min: -5n, max: 5n }),
      ttl: fc.integer({ min: 1, max: 300 }),
    },
    { requiredKeys: ["do", "key", "by"] },
  ),
  fc.record({ do: fc.constant("wait" as const), millis: fc.integer({ min: 1, max: 400 }) }),
)

testWithClock("it does what a map with times does, whatever it is asked", () =>
  property(
    fc.array(command, { maxLength: 60 }),
    (commands) =>
      Effect.gen(function* () {
        const store = yield* memory({ sweepEvery: "70 millis" })
        const model = new Map<string, Modelled>()
        const versions = new Map<string, bigint>()
        let now = 0
        const at = (key: string): Modelled | undefined => {
          const found = model.get(key)
          return found !== undefined && found.until > now ? found : undefined
        }
        const untilOf = (ttl: number | undefined) => (ttl === undefined ? Number.POSITIVE_INFINITY : now + ttl)
        const version = (key: string, which: string): bigint =>
          (versions.get(key) ?? 0n) + (which === "version" ? 0n : 1n)

        for (const one of commands) {
          switch (one.do) {
            case "wait": {
              now += one.millis
              yield* TestClock.adjust(one.millis)
              break
            }
            case "get": {
              const entry = yield* store.get(one.key)
              assert.equal(entry && new TextDecoder().decode(entry.value), at(one.key)?.text)
              assert.equal(entry?.version, at(one.key) && versions.get(one.key))
              break
            }
            case "delete": {
              assert.equal(yield* store.delete(one.key), at(one.key) !== undefined)
              model.delete(one.key)
              break
            }
            case "set": {
              const condition: Condition | undefined =
                one.if === undefined || one.if === "absent" || one.if === "present"
                  ? one.if
                  : { version: version(one.key, one.if) }
              const holds =
                one.if === undefined ||
                (one.if === "absent" && at(one.key) === undefined) ||
                (one.if !== "absent" && one.if !== "old version" && at(one.key) !== undefined)
              const written = yield* store.set(one.key, new TextEncoder().encode(one.text), {
                ...(one.ttl === undefined ? {} : { ttl: Duration.millis(one.ttl) }),
                ...(condition === undefined ? {} : { if: condition }),
              })
              assert.equal(written !== undefined, holds)
              if (written === undefined) break
              assert.notEqual(written, versions.get(one.key))
              versions.set(one.key, written)
              model.set(one.key, { text: one.text, until: untilOf(one.ttl) })
              break
            }
            case "increment": {
              const before = at(one.key)
              const sum = /^-?\d+$/.test(before?.text ?? "0") ? BigInt(before?.text ?? 0) + one.by : undefined
              const exit = yield* Effect.exit(
                store.increment(one.key, one.by, one.ttl === undefined ? {} : { ttl: Duration.millis(one.ttl) }),
              )
              const possible = sum !== undefined && sum < 2n ** 63n
              assert.equal(exit._tag, possible ? "Success" : "Failure")
              if (!possible) break
              model.set(one.key, { text: `${sum}`, until: before?.until ?? untilOf(one.ttl) })
              versions.set(one.key, (yield* store.get(one.key))?.version ?? 0n)
            }
          }
          const present = Array.from(model.keys()).filter((key) => at(key) !== undefined)
          assert.equal(yield* keysOf(store), present.toSorted().join(""))
        }
      }).pipe(Effect.scoped, Effect.provide(TestClock.layer())),
    { numRuns: 300 },
  ),
)
