import assert from "node:assert/strict"
import { Deferred, Effect, Fiber, Stream } from "effect"
import type { Store } from "../../../src/core/cache/store.ts"
import { redis } from "../../../src/transport/redis/store.ts"
import { test } from "../../effect.ts"
import { redisServer } from "./server.ts"

const value = new Uint8Array([1])

const fill = (store: Store, prefix: string, count: number) =>
  Effect.forEach(Array.from({ length: count }), (_, index) => store.set(`${prefix}${index}`, value), {
    concurrency: 500,
    discard: true,
  })

test("keys are read from Redis as they are taken", () =>
  Effect.gen(function* () {
    const { url, command } = yield* redisServer()
    const store = yield* redis(url)
    yield* fill(store, "key/", 10_000)
    const pages = Effect.map(command("info", "commandstats"), (said) =>
      Number(/cmdstat_scan:calls=(\d+)/.exec(said)?.[1] ?? 0),
    )
    assert.equal((yield* Stream.runCollect(Stream.take(store.scan("key/"), 10))).length, 10)
    assert.equal(yield* pages, 1)
    const all = yield* Stream.runCollect(store.scan("key/"))
    assert.equal(new Set(all).size, 10_000)
    assert.equal(all.length, 10_000)
  }))

test("a key is given once though the table shrinks that SCAN walks through", () =>
  Effect.gen(function* () {
    const { url, command } = yield* redisServer({ args: ["--enable-debug-command", "local"] })
    const store = yield* redis(url)
    yield* fill(store, "goes/", 15_000)
    yield* fill(store, "stays/", 1000)
    const buckets = Effect.map(command("debug", "htstats", "0"), (said) => Number(/table size: (\d+)/.exec(said)?.[1]))
    const before = yield* buckets
    const shrunk = yield* Deferred.make<void>()
    // Each stands at another place then, and at some of these it matters.
    const scans = yield* Effect.forEach(
      Array.from({ length: 19 }, (_, index) => 50 * (index + 1)),
      Effect.fnUntraced(function* (place) {
        const there = yield* Deferred.make<void>()
        const found: Array<string> = []
        const scanning = Stream.runForEach(store.scan("stays/"), (key) =>
          found.push(key) === place
            ? Effect.andThen(Deferred.succeed(there, undefined), Deferred.await(shrunk))
            : Effect.void,
        )
        const fiber = yield* Effect.forkChild(Effect.as(scanning, found))
        yield* Deferred.await(there)
        return fiber
      }),
    )
    const gone = Array.from({ length: 15_000 }, (_, index) => `goes/${index}`)
    yield* Effect.forEach(gone, (key) => store.delete(key), { concurrency: 500 })
    // It shrinks by and by.
    yield* Effect.repeat(buckets, { until: (now) => now <= before / 8 })
    yield* Deferred.succeed(shrunk, undefined)
    for (const scan of scans) {
      const found = yield* Fiber.join(scan)
      assert.equal(new Set(found).size, 1000)
      assert.equal(found.length, 1000)
    }
  }))

test("a scan ends with the process of Redis that it read from", () =>
  Effect.gen(function* () {
    const server = yield* redisServer({ args: ["--appendonly", "yes"] })
    const store = yield* redis(server.url)
    yield* fill(store, "", 3000)
    let taken = 0
    const error = yield* Effect.flip(
      Stream.runForEach(store.scan(""), () =>
        taken++ === 10 ? Effect.andThen(server.kill, server.restart) : Effect.void,
      ),
    )
    assert.equal(error.code, "unavailable")
    assert.match(error.message, /was lost while its keys were read/)
    assert.equal((yield* Stream.runCollect(store.scan(""))).length, 3000)
  }))
