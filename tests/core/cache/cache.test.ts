import assert from "node:assert/strict"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { type CacheOptions, make, maxKeyBytes, maxKeys } from "../../../src/core/cache/cache.ts"
import { memory } from "../../../src/core/cache/memory.ts"
import type { Store } from "../../../src/core/cache/store.ts"
import { inMemory } from "../../../src/core/rpc/channel.ts"
import { findDetail } from "../../../src/core/rpc/details.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Client from "../../../src/transport/client.ts"
import { Cache, type SetRequest } from "../../../src/transport/gen/cache_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { testWithClock as test } from "../../effect.ts"
import { settle } from "../support.ts"

const bytes = (text: string) => new TextEncoder().encode(text)
const text = (value: Uint8Array) => new TextDecoder().decode(value)

const clientOf = (store: Store, options?: CacheOptions) =>
  Effect.map(inMemory(Service.make(Cache, make(store, options))), (channel) => Client.make(Cache, channel))
const client = (options?: CacheOptions) => Effect.flatMap(memory(), (store) => clientOf(store, options))

/** The error as a program sees it: code, reason, and the field at fault. */
const refusal = (call: Effect.Effect<unknown, RpcError>) =>
  Effect.map(Effect.flip(call), ({ code, details }) => [
    code,
    findDetail(details, "google.rpc.ErrorInfo")?.reason,
    findDetail(details, "google.rpc.BadRequest")?.fieldViolations[0]?.field,
  ])

test("what was set is there with its version, until it is deleted", () =>
  Effect.gen(function* () {
    const { get, set, delete: remove } = yield* client()
    const { version } = yield* set({ key: "a", value: bytes("1") })
    const entry = yield* get({ key: "a" })
    assert.deepEqual([entry.key, text(entry.value), entry.version], ["a", "1", version])
    assert.deepEqual([(yield* remove({ key: "a" })).deleted, (yield* remove({ key: "a" })).deleted], [true, false])
    assert.deepEqual(yield* refusal(get({ key: "a" })), ["not_found", "KEY_NOT_FOUND", undefined])
  }))

test("each condition that doesn't hold has a code of its own, and names the key", () =>
  Effect.gen(function* () {
    const { set } = yield* client()
    const setIf = (condition: SetRequest["condition"]) => set({ key: "a", value: bytes("1"), condition })
    assert.deepEqual(yield* refusal(setIf({ case: "ifPresent", value: true })), [
      "not_found",
      "KEY_NOT_FOUND",
      undefined,
    ])
    assert.deepEqual(yield* refusal(setIf({ case: "ifVersion", value: 1n })), [
      "aborted",
      "VERSION_MISMATCH",
      undefined,
    ])
    const { version } = yield* setIf({ case: "ifAbsent", value: true })
    assert.deepEqual(yield* refusal(setIf({ case: "ifAbsent", value: true })), [
      "already_exists",
      "KEY_EXISTS",
      undefined,
    ])
    yield* setIf({ case: "ifPresent", value: true })
    assert.deepEqual((yield* refusal(setIf({ case: "ifVersion", value: version })))[0], "aborted")
    const latest = yield* setIf({ case: "ifAbsent", value: false })
    yield* setIf({ case: "ifVersion", value: latest.version })
    const { details } = yield* Effect.flip(setIf({ case: "ifVersion", value: latest.version }))
    assert.deepEqual(findDetail(details, "google.rpc.ErrorInfo"), {
      reason: "VERSION_MISMATCH",
      domain: "cache.Cache",
      metadata: { key: "a" },
    })
  }))

test("a time to live ends", () =>
  Effect.gen(function* () {
    const { get, getMany, set, increment } = yield* client()
    yield* set({ key: "a", value: bytes("1"), ttl: { seconds: 1n, nanos: 500_000_000 } })
    yield* increment({ key: "b", by: 1n, ttl: { seconds: 2n } })
    yield* TestClock.adjust(1499)
    yield* get({ key: "a" })
    yield* TestClock.adjust(1)
    assert.equal((yield* refusal(get({ key: "a" })))[0], "not_found")
    yield* TestClock.adjust(500)
    assert.deepEqual((yield* getMany({ keys: ["a", "b"] })).entries, [])
  }))

test("numbers are added up, and nothing else is", () =>
  Effect.gen(function* () {
    const { increment, set } = yield* client()
    assert.equal((yield* increment({ key: "a", by: 5n })).value, 5n)
    assert.equal((yield* increment({ key: "a", by: -7n })).value, -2n)
    yield* set({ key: "a", value: bytes("x") })
    assert.equal((yield* refusal(increment({ key: "a", by: 1n })))[0], "failed_precondition")
    yield* set({ key: "a", value: bytes("9223372036854775807") })
    assert.equal((yield* refusal(increment({ key: "a", by: 1n })))[0], "out_of_range")
  }))

test("many keys are given in their order, without those that aren't there", () =>
  Effect.gen(function* () {
    const { getMany, set } = yield* client()
    for (const key of "abc") yield* set({ key, value: bytes(key) })
    const { entries } = yield* getMany({ keys: ["c", "none", "a"] })
    assert.deepEqual(
      entries.map(({ key, value }) => [key, text(value)]),
      [
        ["c", "c"],
        ["a", "a"],
      ],
    )
  }))

test("wrong requests are refused, and say which field is wrong", () =>
  Effect.gen(function* () {
    const { get, set, delete: remove, increment, getMany, setMany, scan, watch } = yield* client({ maxValueBytes: 10 })
    const value = bytes("1")
    const long = "a".repeat(maxKeyBytes + 1)
    // In UTF-8 two bytes and four.
    for (const key of [long, "ä".repeat(maxKeyBytes / 2 + 1), `a${"\u{1F600}".repeat(maxKeyBytes / 4)}`]) {
      const wrong = ["invalid_argument", "KEY_TOO_LONG", "key"]
      assert.deepEqual(yield* refusal(get({ key })), wrong)
      assert.deepEqual(yield* refusal(set({ key, value })), wrong)
      assert.deepEqual(yield* refusal(remove({ key })), wrong)
      assert.deepEqual(yield* refusal(increment({ key, by: 1n })), wrong)
      assert.deepEqual(yield* refusal(setMany(Stream.make({ key, value }))), wrong)
      const inPlace = (field: string) => ["invalid_argument", "KEY_TOO_LONG", field]
      assert.deepEqual(yield* refusal(getMany({ keys: ["a", key] })), inPlace("keys[1]"))
      assert.deepEqual(yield* refusal(Stream.runDrain(scan({ prefix: key }))), inPlace("prefix"))
      assert.deepEqual(yield* refusal(Stream.runDrain(watch({ prefix: key }))), inPlace("prefix"))
    }
    for (const key of ["a".repeat(maxKeyBytes), "ä".repeat(maxKeyBytes / 2), "\u{1F600}".repeat(maxKeyBytes / 4)]) {
      yield* set({ key, value })
      assert.deepEqual((yield* Stream.runCollect(scan({ prefix: key }))).length, 1)
    }
    assert.deepEqual(yield* refusal(get({})), ["invalid_argument", "KEY_EMPTY", "key"])
    assert.deepEqual(yield* refusal(getMany({ keys: ["a", ""] })), ["invalid_argument", "KEY_EMPTY", "keys[1]"])
    assert.deepEqual(yield* refusal(getMany({ keys: Array.from({ length: maxKeys + 1 }, () => "a") })), [
      "invalid_argument",
      "TOO_MANY_KEYS",
      "keys",
    ])
    yield* getMany({ keys: Array.from({ length: maxKeys }, () => "a") })
    yield* set({ key: "a", value: new Uint8Array(10) })
    assert.deepEqual(yield* refusal(set({ key: "a", value: new Uint8Array(11) })), [
      "invalid_argument",
      "VALUE_TOO_LONG",
      "value",
    ])
    for (const ttl of [{}, { seconds: -1n }, { nanos: -1 }, { seconds: 1n, nanos: -1 }, { seconds: 2n ** 62n }]) {
      const wrong = ["invalid_argument", "TTL_OUT_OF_RANGE", "ttl"]
      assert.deepEqual(yield* refusal(set({ key: "a", value, ttl })), wrong)
      assert.deepEqual(yield* refusal(increment({ key: "a", by: 1n, ttl })), wrong)
    }
    yield* set({ key: "a", value, ttl: { seconds: 315_575_999_999n } })
    yield* get({ key: "a" })
  }))

test("an answer of many values is limited", () =>
  Effect.gen(function* () {
    const { getMany, set } = yield* client({ maxManyBytes: 1000 })
    for (const key of "ab") yield* set({ key, value: new Uint8Array(600) })
    assert.equal((yield* getMany({ keys: ["a"] })).entries.length, 1)
    assert.equal((yield* refusal(getMany({ keys: ["a", "b"] })))[0], "resource_exhausted")
  }))

test("many sets run at once, and of those of one key the last wins", () =>
  Effect.gen(function* () {
    const store = yield* memory()
    let running = 0
    let most = 0
    let done = 0
    // The later ones would be the quicker.
    const slow: Store = {
      ...store,
      set: (key, value, options) =>
        Effect.gen(function* () {
          running += 1
          most = Math.max(most, running)
          yield* Effect.sleep(1000 - Number(text(value)))
          running -= 1
          done += 1
          return yield* store.set(key, value, options)
        }),
    }
    const { getMany, setMany } = yield* clientOf(slow)
    const requests = Array.from({ length: 200 }, (_, n) => ({ key: `key${n % 80}`, value: bytes(`${n}`) }))
    const setting = yield* Effect.forkChild(setMany(Stream.fromIterable(requests)))
    while (done < 200) yield* Effect.andThen(TestClock.adjust(1000), settle)
    assert.equal((yield* Fiber.join(setting)).count, 200)
    assert.equal(most, 64)
    const { entries } = yield* getMany({ keys: ["key0", "key39", "key40", "key79"] })
    assert.deepEqual(
      entries.map(({ value }) => text(value)),
      ["160", "199", "120", "159"],
    )
  }))

test("the first set that fails ends the call, and those that run with it", () =>
  Effect.gen(function* () {
    const { getMany, setMany } = yield* client()
    const failing = setMany(
      Stream.make(
        { key: "a", value: bytes("1") },
        { key: "a", value: bytes("2"), condition: { case: "ifAbsent" as const, value: true } },
        { key: "b", value: bytes("1") },
      ).pipe(Stream.concat(Stream.never)),
    )
    assert.deepEqual((yield* refusal(failing))[0], "already_exists")
    const requests = Stream.concat(
      Stream.make({ key: "c", value: bytes("1") }),
      Stream.fail(new RpcError({ code: "aborted", message: "no" })),
    )
    assert.equal((yield* refusal(setMany(requests)))[0], "aborted")
    assert.deepEqual(
      (yield* getMany({ keys: ["a"] })).entries.map(({ value }) => text(value)),
      ["1"],
    )
    assert.equal((yield* setMany(Stream.empty)).count, 0)
  }))

test("a scan finds the keys of a prefix", () =>
  Effect.gen(function* () {
    const { scan, setMany } = yield* client()
    const keys = ["a/1", "a/2", "b/1"]
    yield* setMany(Stream.fromIterable(keys.map((key) => ({ key, value: bytes("1") }))))
    const found = (prefix: string) =>
      Effect.map(Stream.runCollect(scan({ prefix })), (some) => some.map(({ key }) => key).toSorted())
    assert.deepEqual([yield* found(""), yield* found("a/"), yield* found("c")], [keys, ["a/1", "a/2"], []])
  }))

test("a watcher sees what is set, and what goes", () =>
  Effect.gen(function* () {
    const store = yield* memory()
    const watching = yield* Deferred.make<void>()
    const {
      set,
      delete: remove,
      watch,
    } = yield* clientOf({
      ...store,
      watch: (prefix) => Effect.tap(store.watch(prefix), Deferred.succeed(watching, undefined)),
    })
    const seen: Array<[string, string | undefined]> = []
    const two = yield* Deferred.make<void>()
    const watcher = yield* Effect.forkChild(
      Stream.runForEach(watch({ prefix: "a" }), ({ key, entry }) => {
        seen.push([key, entry && text(entry.value)])
        return seen.length === 2 ? Deferred.succeed(two, undefined) : Effect.void
      }),
    )
    yield* Deferred.await(watching)
    yield* set({ key: "b", value: bytes("1") })
    yield* set({ key: "a", value: bytes("1") })
    yield* settle
    yield* remove({ key: "a" })
    yield* Deferred.await(two)
    assert.deepEqual(seen, [
      ["a", "1"],
      ["a", undefined],
    ])
    yield* Fiber.interrupt(watcher)
  }))

test("what a store fails with reaches the client as it is", () =>
  Effect.gen(function* () {
    const failing = Effect.fail(new RpcError({ code: "unavailable", message: "the store is away" }))
    const { get, set, watch, scan } = yield* clientOf({
      get: () => failing,
      getMany: () => failing,
      set: () => failing,
      delete: () => failing,
      increment: () => failing,
      scan: () => Stream.fromEffect(failing),
      watch: () => failing,
    })
    for (const call of [get({ key: "a" }), set({ key: "a" }), Stream.runDrain(watch({})), Stream.runDrain(scan({}))]) {
      assert.deepEqual(yield* refusal(call), ["unavailable", undefined, undefined])
    }
  }))
