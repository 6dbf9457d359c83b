import assert from "node:assert/strict"
import { Deferred, type Duration, Effect, Exit, Fiber } from "effect"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { findDetail } from "../../../src/core/rpc/details.ts"
import type { RpcError } from "../../../src/core/rpc/error.ts"
import { redis } from "../../../src/transport/redis/store.ts"
import { test } from "../../effect.ts"
import { redisServer } from "./server.ts"

const value = new Uint8Array([1, 2, 3])

/** Within a deadline that would end it with `deadline_exceeded`. */
const within = <A>(effect: Effect.Effect<A, RpcError>, duration: Duration.Input): Effect.Effect<A, RpcError> =>
  Deadline.within(duration)(Effect.flatMap(Deadline.Current, (deadline) => Deadline.enforce(effect, deadline)))

/** How often Redis has run a command since it started. */
const callsOf = (stats: string, command: string) =>
  Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0)

const assertUnknown = (error: RpcError) => {
  assert.equal(error.code, "unknown")
  assert.equal(findDetail(error.details, "google.rpc.ErrorInfo")?.reason, "WRITE_FATE_UNKNOWN")
}

test("while Redis is away operations wait, and are done when it is back", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    const store = yield* redis(server.url)
    yield* store.increment("n", 1n)
    yield* server.kill
    const waiting = yield* Effect.forkChild(
      Effect.all([store.set("a", value), store.increment("n", 1n)], { concurrency: "unbounded" }),
      { startImmediately: true },
    )
    yield* server.restart
    const [version, sum] = yield* Fiber.join(waiting)
    assert.equal((yield* store.get("a"))?.version, version)
    // What was there was nowhere but in memory.
    assert.equal(sum, 1n)
  }))

test("an operation that waits in vain is unavailable before its deadline, and isn't done later", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    const store = yield* redis(server.url)
    yield* server.kill
    const all = [store.set("a", value), store.get("a"), store.increment("a", 1n), store.delete("a")]
    for (const operation of all.map((one) => Effect.asVoid<unknown, RpcError, never>(one))) {
      const error = yield* Effect.flip(within(operation, "1 second"))
      assert.equal(error.code, "unavailable")
      assert.match(error.message, /^redis at 127\.0\.0\.1:\d+ can't be reached: nothing listens there$/)
    }
    const interrupted = yield* Effect.forkChild(store.set("a", value), { startImmediately: true })
    yield* Fiber.interrupt(interrupted)
    yield* server.restart
    assert.equal(yield* within(store.get("a"), "10 seconds"), undefined)
    const stats = yield* server.command("info", "commandstats")
    assert.deepEqual(
      ["set", "evalsha", "eval", "del"].map((command) => callsOf(stats, command)),
      [0, 0, 0, 0],
    )
  }))

test("an operation that is interrupted before it was sent is never sent", () =>
  Effect.gen(function* () {
    const { url, command } = yield* redisServer()
    const store = yield* redis(url)
    yield* store.get("a")
    const interrupted = yield* Effect.forkChild(store.set("a", value), { startImmediately: true })
    yield* Fiber.interrupt(interrupted)
    assert.equal(yield* store.get("a"), undefined)
    assert.equal(callsOf(yield* command("info", "commandstats"), "set"), 0)
  }))

test("a Redis that hangs makes a read unavailable, and a write unknown, before their deadlines", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    const store = yield* redis(server.url)
    yield* store.set("a", value)
    yield* server.pause
    const [read, written] = yield* Effect.all(
      [Effect.flip(within(store.get("a"), "1 second")), Effect.flip(within(store.set("a", value), "1 second"))],
      { concurrency: "unbounded" },
    )
    assert.equal(read.code, "unavailable")
    assertUnknown(written)
    yield* server.resume
    assert.deepEqual((yield* store.get("a"))?.value, value)
  }))

test("a Redis that hangs for long loses its connection, and reads go on with the next one", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    const store = yield* redis(server.url)
    yield* store.set("a", value)
    yield* server.pause
    const reading = yield* Effect.forkChild(within(store.get("a"), "1 minute"), { startImmediately: true })
    assertUnknown(yield* Effect.flip(within(store.set("b", value), "1 minute")))
    yield* server.resume
    assert.deepEqual((yield* Fiber.join(reading))?.value, value)
  }))

test("of a Redis that is killed under load no acknowledged write is lost, and no other fate is left open than it is told", () =>
  Effect.gen(function* () {
    const server = yield* redisServer({ args: ["--appendonly", "yes", "--appendfsync", "always"] })
    const store = yield* redis(server.url)
    const enough = yield* Deferred.make<void>()
    const versions = new Map<string, bigint>()
    const errors: Array<RpcError> = []
    const writing = (writer: number) =>
      Effect.forEach(Array.from({ length: 60 }), (_, index) => {
        const key = `${writer}/${index}`
        return store.set(key, value).pipe(
          Effect.flatMap((version = 0n) => {
            versions.set(key, version)
            return versions.size === 500 ? Deferred.succeed(enough, undefined) : Effect.void
          }),
          Effect.catch((error) => Effect.sync(() => errors.push(error))),
        )
      })
    const all = yield* Effect.forkChild(
      Effect.forEach(Array.from({ length: 50 }), (_, writer) => writing(writer), { concurrency: "unbounded" }),
      { startImmediately: true },
    )
    yield* Deferred.await(enough)
    yield* server.kill
    yield* server.restart
    yield* Fiber.join(all)
    assert.equal(versions.size + errors.length, 3000)
    // One of each writer at most was on its way.
    assert.ok(errors.length <= 50)
    for (const error of errors) assertUnknown(error)
    const entries = yield* store.getMany([...versions.keys()])
    assert.deepEqual(
      entries.map((entry) => entry?.version),
      [...versions.values()],
    )
  }))

test("more operations than may wait are turned away, and those that were interrupted make room", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    const store = yield* redis(server.url, { maxPending: 2 })
    yield* store.get("a")
    yield* server.pause
    const two = yield* Effect.forEach([1, 2], () => Effect.forkChild(store.get("a"), { startImmediately: true }))
    const error = yield* Effect.flip(store.get("a"))
    assert.equal(error.code, "resource_exhausted")
    assert.match(error.message, /2 commands wait for it already/)
    yield* Fiber.interruptAll(two)
    const third = yield* Effect.forkChild(store.get("a"), { startImmediately: true })
    yield* server.resume
    assert.equal(yield* Fiber.join(third), undefined)
  }))

test("a store that is closed ends what waits for it", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    const [reading, writing] = yield* Effect.scoped(
      Effect.gen(function* () {
        const store = yield* redis(server.url)
        yield* server.kill
        const read = yield* Effect.forkDetach(store.get("a"), { startImmediately: true })
        yield* server.restart
        yield* server.pause
        const write = yield* Effect.forkDetach(store.set("a", value), { startImmediately: true })
        return [read, write] as const
      }),
    )
    assert.ok(Exit.isFailure(yield* Fiber.await(reading)))
    assert.ok(Exit.isFailure(yield* Fiber.await(writing)))
    yield* server.resume
  }))

test("scripts that Redis has forgotten are given to it again", () =>
  Effect.gen(function* () {
    const { url, command } = yield* redisServer()
    const store = yield* redis(url)
    assert.equal(yield* store.increment("n", 1n), 1n)
    yield* command("script", "flush")
    const sums = yield* Effect.replicateEffect(store.increment("n", 1n), 3, { concurrency: "unbounded" })
    assert.deepEqual(sums.map(Number).toSorted(), [2, 3, 4])
  }))

test("a master that is made a replica is waited for, and its errors are told in the codes of gRPC", () =>
  Effect.gen(function* () {
    const other = yield* redisServer()
    const { url, command } = yield* redisServer()
    const store = yield* redis(url)
    yield* store.set("a", value)
    yield* command("replicaof", "127.0.0.1", `${other.port}`)
    const writing = yield* Effect.forkChild(within(store.set("a", value), "20 seconds"), { startImmediately: true })
    const error = yield* Effect.flip(within(store.set("b", value), "1 second"))
    assert.equal(error.code, "unavailable")
    assert.match(error.message, /it has become a replica/)
    yield* command("replicaof", "no", "one")
    const version = yield* Fiber.join(writing)
    assert.equal((yield* store.get("a"))?.version, version)

    yield* command("config", "set", "maxmemory", "1")
    const full = yield* Effect.flip(store.set("c", value))
    assert.equal(full.code, "resource_exhausted")
    assert.match(full.message, /no memory left/)
  }))
