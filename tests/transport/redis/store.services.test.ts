import assert from "node:assert/strict"
import { after } from "node:test"
import { Effect, Exit, Scope, Stream } from "effect"
import { redis } from "../../../src/transport/redis/store.ts"
import { storeContract } from "../../core/cache/storeContract.ts"
import { test } from "../../effect.ts"
import { redisCluster, redisServer } from "./server.ts"

const wait = (millis: number) => Effect.sleep(millis + 50)

// One of each for all tests, with a prefix a test: a cluster takes seconds to find itself.
const scope = Scope.makeUnsafe()
after(() => Effect.runPromise(Scope.close(scope, Exit.void)))
const once = <A>(effect: Effect.Effect<A, never, Scope.Scope>): Effect.Effect<A> => {
  let running: Promise<A> | undefined
  return Effect.promise(() => (running ??= Effect.runPromise(Scope.provide(effect, scope))))
}
const server = once(redisServer())
const cluster = once(redisCluster(0))

let prefixes = 0
const emptyOn = (to: Effect.Effect<{ readonly url: string }>) =>
  Effect.flatMap(to, ({ url }) => redis(url, { prefix: `[${prefixes++}*]` }))

storeContract({ name: "on Redis", make: emptyOn(server), wait })

storeContract({ name: "on a cluster of Redis", make: emptyOn(cluster), wait })

const value = new Uint8Array([1, 2, 3])

test("of 50 who compare and set at once none loses what another has added", () =>
  Effect.gen(function* () {
    const store = yield* emptyOn(server)
    const add: Effect.Effect<void, unknown> = Effect.gen(function* () {
      const before = yield* store.get("sum")
      const sum = new Uint8Array([(before?.value[0] ?? 0) + 1])
      const version = yield* store.set("sum", sum, { if: before ?? "absent" })
      if (version === undefined) yield* add
    })
    yield* Effect.replicateEffect(add, 50, { concurrency: "unbounded" })
    assert.equal((yield* store.get("sum"))?.value[0], 50)
  }))

test("what another program has put under a key is no value, and is told so", () =>
  Effect.gen(function* () {
    const { url, command } = yield* server
    const store = yield* redis(url, { prefix: "foreign:" })
    const fails = <A, E>(effect: Effect.Effect<A, E>) => Effect.map(Effect.flip(effect), String)
    yield* command("set", "foreign:text", "a text of another program")
    yield* command("sadd", "foreign:set", "member")
    for (const key of ["text", "set"]) {
      assert.match(yield* fails(store.get(key)), /another program keeps something else/)
      assert.equal((yield* Effect.flip(store.increment(key, 1n))).code, "failed_precondition")
    }
    assert.match(yield* fails(store.getMany(["none", "text"])), /"text"/)
    assert.equal(yield* store.set("text", value, { if: { version: 1n } }), undefined)
    assert.equal(yield* command("get", "foreign:text"), "a text of another program")
  }))

test("another prefix is another store", () =>
  Effect.gen(function* () {
    const { url } = yield* server
    const one = yield* redis(url, { prefix: "a" })
    const other = yield* redis(url, { prefix: "a*" })
    yield* other.set("key", value)
    assert.equal(yield* one.get("key"), undefined)
    assert.deepEqual(yield* Stream.runCollect(other.scan("")), ["key"])
    yield* one.set("bc", value)
    assert.deepEqual(yield* Stream.runCollect(other.scan("")), ["key"])
  }))

test("commands that are given in one turn go to Redis in one write", () =>
  Effect.gen(function* () {
    const { url, command } = yield* redisServer()
    const store = yield* redis(url)
    yield* store.get("key")
    const reads = Effect.map(command("info", "stats"), (said) => Number(/total_reads_processed:(\d+)/.exec(said)?.[1]))
    const before = yield* reads
    const itself = (yield* reads) - before
    yield* Effect.replicateEffect(store.get("key"), 50, { concurrency: "unbounded" })
    const after = yield* reads
    // One, and perhaps one of the connection's own.
    assert.ok(after - before - 2 * itself <= 2, `${after - before - 2 * itself} reads for 50 commands`)
    assert.match(yield* command("info", "commandstats"), /cmdstat_get:calls=51/)
  }))
