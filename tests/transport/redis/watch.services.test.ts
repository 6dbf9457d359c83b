import assert from "node:assert/strict"
import { Effect, Fiber, Schedule, Stream } from "effect"
import { redis } from "../../../src/transport/redis/store.ts"
import { test } from "../../effect.ts"
import { redisCluster, redisServer } from "./server.ts"

const value = new Uint8Array([1])

test("Redis is told to tell of changes, beside what it tells of already", () =>
  Effect.gen(function* () {
    const { url, command } = yield* redisServer({ args: ["--notify-keyspace-events", "Elg"] })
    const store = yield* redis(url)
    yield* store.watch("")
    const [, flags = ""] = (yield* command("config", "get", "notify-keyspace-events")).split("\n")
    assert.deepEqual([...flags].toSorted(), [..."EKlg$xe"].toSorted())
  }))

test("where CONFIG is forbidden a watch says what to set, and works where the operator has set it", () =>
  Effect.gen(function* () {
    const args = ["--user", "cache", "on", ">pass", "~*", "&*", "+@all", "-config", "--notify-keyspace-events", "K$gxe"]
    const { port } = yield* redisServer({ args })
    const url = `redis://cache:pass@127.0.0.1:${port}`
    const refused = yield* redis(url)
    const error = yield* Effect.flip(refused.watch(""))
    assert.equal(error.code, "failed_precondition")
    assert.match(error.message, /set notify-keyspace-events to K\$gxe/)
    const store = yield* redis(url, { notifications: "operator" })
    const changes = yield* store.watch("")
    yield* store.set("key", value)
    const [change] = yield* Stream.runCollect(Stream.take(changes, 1))
    assert.deepEqual([change?.key, change?.entry?.value], ["key", value])
  }))

test("a watch sees what is evicted", () =>
  Effect.gen(function* () {
    const { url, command } = yield* redisServer({ args: ["--maxmemory-policy", "allkeys-random"] })
    const store = yield* redis(url)
    yield* store.set("key", value)
    const changes = yield* store.watch("")
    yield* command("config", "set", "maxmemory", "1")
    yield* Effect.ignore(store.set("other", value))
    const gone = yield* Stream.runHead(Stream.filter(changes, ({ key, entry }) => key === "key" && entry === undefined))
    assert.equal(gone._tag, "Some")
  }))

test("a watch whose changes nobody takes fails once there are too many", () =>
  Effect.gen(function* () {
    const { url } = yield* redisServer()
    const store = yield* redis(url, { maxChanges: 10 })
    const changes = yield* store.watch("a")
    const others = yield* store.watch("b")
    for (let index = 0; index < 100; index++) yield* store.set("a", value)
    for (let index = 0; index < 11; index++) yield* store.set(`a${index}`, value)
    yield* store.set("b", value)
    assert.equal((yield* Stream.runHead(others))._tag, "Some")
    const error = yield* Effect.flip(Stream.runDrain(changes))
    assert.equal(error.code, "resource_exhausted")
    assert.match(error.message, /10 different keys have changed that were not taken/)
  }))

test("a lost connection ends watches, since changes may have been missed, and the next ones work", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    const store = yield* redis(server.url)
    const changes = yield* store.watch("")
    yield* server.kill
    yield* server.restart
    const error = yield* Effect.flip(Stream.runDrain(changes))
    assert.equal(error.code, "unavailable")
    assert.match(error.message, /changes may have been missed/)
    const again = yield* store.watch("")
    yield* store.set("key", value)
    assert.equal((yield* Stream.runCollect(Stream.take(again, 1)))[0]?.key, "key")
  }))

test("a Redis that hangs ends watches as well", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    const store = yield* redis(server.url)
    const changes = yield* store.watch("")
    yield* server.pause
    assert.equal((yield* Effect.flip(Stream.runDrain(changes))).code, "unavailable")
    yield* server.resume
  }))

test("all watches share a connection, which goes with the last of them", () =>
  Effect.gen(function* () {
    const { url, command } = yield* redisServer()
    const store = yield* redis(url)
    const subscribers = Effect.map(command("client", "list"), (said) => (said.match(/ psub=[1-9]/g) ?? []).length)
    yield* Effect.scoped(
      Effect.gen(function* () {
        yield* store.watch("a")
        yield* Effect.scoped(store.watch("b"))
        yield* store.watch("b")
        assert.equal(yield* subscribers, 1)
      }),
    )
    yield* Effect.repeat(subscribers, { schedule: Schedule.spaced("50 millis"), until: (count) => count === 0 })
  }))

test("in a cluster a watch sees the keys of every master, and ends when one is lost", () =>
  Effect.gen(function* () {
    const { url, masters } = yield* redisCluster(0)
    const store = yield* redis(url)
    const changes = yield* store.watch("key/")
    const keys = Array.from({ length: 30 }, (_, index) => `key/${index}`)
    yield* Effect.forEach(keys, (key) => store.set(key, value))
    const seen = yield* Stream.runCollect(Stream.take(changes, 30))
    assert.deepEqual(seen.map(({ key }) => key).toSorted(), keys.toSorted())
    const [master] = masters
    assert.ok(master)
    yield* master.kill
    assert.equal((yield* Effect.flip(Stream.runDrain(changes))).code, "unavailable")
  }))

test("a watch waits for a Redis that is away", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    const store = yield* redis(server.url)
    yield* server.kill
    const watching = yield* Effect.forkScoped(store.watch(""), { startImmediately: true })
    yield* server.restart
    const changes = yield* Fiber.join(watching)
    yield* store.set("key", value)
    assert.equal((yield* Stream.runHead(changes))._tag, "Some")
  }))

test("a watch that is interrupted while Redis hangs leaves nothing behind", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    const store = yield* redis(server.url)
    yield* server.pause
    const watching = yield* Effect.forkScoped(Effect.scoped(store.watch("")), { startImmediately: true })
    yield* Effect.sleep("50 millis")
    yield* Fiber.interrupt(watching)
    yield* server.resume
    const others = yield* server.command("client", "list")
    // This store's and redis-cli's.
    assert.equal(others.split("\n").length, 2)
    yield* store.watch("")
  }))
