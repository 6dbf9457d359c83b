import assert from "node:assert/strict"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { Effect, Exit, Fiber, Schedule, Scope } from "effect"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { redis } from "../../../src/transport/redis/store.ts"
import { test } from "../../effect.ts"
import { type RedisServer, redisCluster, redisServer } from "./server.ts"

const value = new Uint8Array([1, 2, 3])

const certificates = join(import.meta.dirname, "..", "certificates")
const pem = (name: string) => Effect.promise(() => readFile(join(certificates, name), "utf8"))
const path = (name: string) => join(certificates, name)

/** A server with TLS that asks for certificates and for a user's password. */
const secured = redisServer({
  tls: true,
  args: [
    ...[
      "--tls-cert-file",
      path("server.pem"),
      "--tls-key-file",
      path("server.key"),
      "--tls-ca-cert-file",
      path("ca.pem"),
    ],
    ...["--user", "cache", "on", ">s3cret:@/%", "~basel:*", "&*", "+@all", "--user", "default", "off"],
  ],
  cli: [
    ...["--tls", "--cacert", path("ca.pem"), "--cert", path("client.pem"), "--key", path("client.key")],
    ...["--user", "cache", "--pass", "s3cret:@/%", "--no-auth-warning"],
  ],
})

/** How many others are connected. */
const connections = (server: RedisServer) =>
  Effect.map(server.command("client", "list"), (said) => said.split("\n").length - 1)

const until = (server: RedisServer, count: number) =>
  Effect.repeat(connections(server), { schedule: Schedule.spaced("50 millis"), until: (now) => now === count })

test("a store speaks TLS with certificates, logs in, and keeps to its database", () =>
  Effect.gen(function* () {
    const { port, command } = yield* secured
    const tls = { ca: yield* pem("ca.pem"), cert: yield* pem("client.pem"), key: yield* pem("client.key") }
    const url = `rediss://cache:s3cret%3A%40%2F%25@127.0.0.1:${port}/3`
    const store = yield* redis(url, { tls })
    yield* store.set("key", value)
    assert.equal(yield* command("-n", "3", "exists", "basel:key"), "1")
    const other = yield* redis(url.replace("/3", ""), { tls })
    assert.equal(yield* other.get("key"), undefined)
  }))

test("what waiting doesn't mend is told at once, without the password", () =>
  Effect.gen(function* () {
    const { port } = yield* secured
    const open = yield* redisServer()
    const ca = yield* pem("ca.pem")
    const tls = { ca, cert: yield* pem("client.pem"), key: yield* pem("client.key") }
    const at = `127.0.0.1:${port}`
    const faults = [
      [`rediss://cache:secret-thing@${at}`, { tls }, /refuses the user or the password/],
      [`rediss://secret-thing@${at}`, { tls }, /asks for a password|refuses the user/],
      [`rediss://${at}`, { tls }, /asks for a password/],
      [`rediss://cache:secret-thing@${at}`, {}, /give the one that signed it as tls\.ca/],
      [
        `redis://cache:secret-thing@127.0.0.1:${open.port}`,
        { tls },
        /no TLS: give an address that begins with rediss:/,
      ],
      [`rediss://${at}`, { tls: { ...tls, ca: "none" } }, /tls\.ca is no certificate/],
      [`redis://127.0.0.1:${open.port}/99`, {}, /no database of this number/],
      [`redis-cluster://127.0.0.1:${open.port}`, {}, /is no cluster/],
    ] as const
    for (const [url, options, pattern] of faults) {
      const error = yield* Effect.flip(redis(url, options))
      assert.equal(error._tag, "RedisError")
      assert.match(error.message, pattern, url)
      assert.ok(!JSON.stringify([error.message, error.address]).includes("secret-thing"), error.message)
    }
  }))

test("what its user may not do is told without a word of who it is", () =>
  Effect.gen(function* () {
    const { port } = yield* redisServer({
      args: ["--user", "reader", "on", ">pass", "~*", "&*", "+@read", "+@connection"],
    })
    const store = yield* redis(`redis://reader:pass@127.0.0.1:${port}`)
    assert.equal(yield* store.get("key"), undefined)
    const error = yield* Effect.flip(store.set("key", value))
    assert.equal(error.code, "internal")
    assert.match(error.message, /its user may not do this/)
    assert.ok(!/reader|pass\b/.test(error.message))
  }))

test("a store that is there before its Redis works once that is there", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    yield* server.kill
    const store = yield* redis(server.url)
    const writing = yield* Effect.forkChild(store.set("key", value), { startImmediately: true })
    yield* server.restart
    assert.equal((yield* Effect.andThen(Fiber.join(writing), store.get("key")))?.key, "key")
  }))

test("a store that is closed leaves no connection, also while it makes one", () =>
  Effect.gen(function* () {
    const server = yield* redisServer()
    yield* Effect.scoped(Effect.flatMap(redis(server.url), (store) => store.get("key")))
    yield* until(server, 0)
    yield* server.pause
    const scope = yield* Scope.make()
    const opening = yield* Effect.forkChild(Scope.provide(redis(server.url), scope), { startImmediately: true })
    yield* Effect.sleep("100 millis")
    yield* Fiber.interrupt(opening)
    yield* Scope.close(scope, Exit.void)
    yield* server.resume
    yield* until(server, 0)
  }))

// Each of the masters has some of them.
const keys = Array.from({ length: 30 }, (_, index) => `${index}`)

const long = Deadline.within("40 seconds")

test("a cluster's replica takes the place of a master that is killed, and all goes on", () =>
  Effect.gen(function* () {
    const { url, masters, replicas } = yield* redisCluster(1)
    const store = yield* redis(url)
    const setAll = Effect.forEach(keys, (key) => store.set(key, value), { concurrency: "unbounded" })
    yield* setAll
    const [master] = masters
    const [replica] = replicas
    assert.ok(master && replica)
    // Both have seen all.
    yield* master.command("wait", "1", "1000")
    yield* master.kill
    const entries = yield* long(store.getMany(keys))
    assert.ok(entries.every((entry) => entry !== undefined))
    yield* long(setAll)
    assert.match(yield* replica.command("role"), /^master/)
    const later = yield* redis(url)
    assert.equal((yield* long(later.getMany(keys))).filter((entry) => entry !== undefined).length, keys.length)
  }))

test("so does the replica of one that hangs, and a store that is opened meanwhile finds it", () =>
  Effect.gen(function* () {
    const { url, masters, replicas } = yield* redisCluster(1)
    const store = yield* redis(url)
    yield* Effect.forEach(keys, (key) => store.set(key, value), { concurrency: "unbounded" })
    const [, master] = masters
    const [, replica] = replicas
    assert.ok(master && replica)
    yield* master.command("wait", "1", "1000")
    yield* master.pause
    const meanwhile = yield* redis(url)
    for (const one of [store, meanwhile]) {
      const entries = yield* long(one.getMany(keys))
      assert.ok(entries.every((entry) => entry !== undefined))
    }
    assert.match(yield* replica.command("role"), /^master/)
    yield* master.resume
  }))

test("a key is found while it moves from one master of a cluster to another, and where it has moved", () =>
  Effect.gen(function* () {
    const { url, masters } = yield* redisCluster(0)
    const store = yield* redis(url)
    yield* store.increment("key", 1n)
    const [first] = masters
    assert.ok(first)
    const slot = yield* first.command("cluster", "keyslot", "basel:key")
    const counts = yield* Effect.forEach(masters, ({ command }) => command("cluster", "countkeysinslot", slot))
    const from = masters[counts.indexOf("1")]
    const to = masters[counts.indexOf("0")]
    assert.ok(from && to)
    yield* to.command("cluster", "setslot", slot, "importing", yield* from.command("cluster", "myid"))
    yield* from.command("cluster", "setslot", slot, "migrating", yield* to.command("cluster", "myid"))
    assert.equal(yield* store.increment("key", 1n), 2n)
    assert.equal(yield* from.command("migrate", "127.0.0.1", `${to.port}`, "basel:key", "0", "5000"), "OK")
    assert.equal(yield* store.increment("key", 1n), 3n)
    for (const server of masters) {
      yield* server.command("cluster", "setslot", slot, "node", yield* to.command("cluster", "myid"))
    }
    assert.equal(yield* store.increment("key", 1n), 4n)
    assert.deepEqual((yield* store.get("key"))?.value, new TextEncoder().encode("4"))
  }))
