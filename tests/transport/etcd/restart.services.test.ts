import assert from "node:assert/strict"
import { Duration, Effect } from "effect"
import { etcd } from "../../../src/transport/etcd/registry.ts"
import { test } from "../../effect.ts"
import { etcdctl, etcdServer } from "./server.ts"
import { watching } from "./watching.ts"

const ttl = Duration.seconds(30)

test("etcd that ends fails who watches, and once it is back with its data registrations go on", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer()
    const registry = yield* etcd(member.url)
    const { renew } = yield* registry.register("pi", { address: "a:1" }, ttl)
    const before = yield* watching(registry, "pi")
    yield* before.until("a:1")
    yield* member.kill
    assert.equal((yield* before.failed).code, "unavailable")
    yield* member.start
    yield* renew
    const after = yield* watching(registry, "pi")
    assert.deepEqual(yield* after.until("a:1"), [["a:1"]])
    yield* etcdctl(member, "del", "pi/a:1")
    yield* after.until()
  }))

test("a registration that etcd has lost with its data isn't found, and can be made anew", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer()
    const registry = yield* etcd(member.url)
    const lost = yield* registry.register("pi", { address: "a:1" }, ttl)
    yield* member.kill
    yield* member.startEmpty
    assert.equal((yield* Effect.flip(lost.renew)).code, "not_found")
    const anew = yield* registry.register("pi", { address: "a:1" }, ttl)
    yield* anew.renew
    const { until } = yield* watching(registry, "pi")
    assert.deepEqual(yield* until("a:1"), [["a:1"]])
  }))

test("an operation waits for etcd to come back as long as its attempts last", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer()
    const registry = yield* etcd(member.url)
    yield* member.kill
    const [{ renew }] = yield* Effect.all([registry.register("pi", { address: "a:1" }, ttl), member.start], {
      concurrency: 2,
    })
    yield* renew
  }))
