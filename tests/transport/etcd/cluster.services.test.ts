import assert from "node:assert/strict"
import { Duration, Effect } from "effect"
import { etcd } from "../../../src/transport/etcd/registry.ts"
import { test } from "../../effect.ts"
import { cluster, ranked, urlOf } from "./server.ts"
import { lasting, watching } from "./watching.ts"

const ttl = Duration.seconds(60)

test("when the leader of three dies, which is the member that is asked, the registry goes on with the others", () =>
  Effect.gen(function* () {
    const members = yield* cluster(3)
    const { leader, others } = yield* ranked(members)
    const registry = yield* etcd(urlOf([leader, ...others]))
    const kept = yield* registry.register("pi", { address: "kept:1" }, ttl)
    const before = yield* watching(registry, "pi")
    yield* before.until("kept:1")
    yield* leader.kill
    assert.equal((yield* before.failed).code, "unavailable")
    const after = yield* watching(lasting(registry), "pi")
    assert.deepEqual(yield* after.until("kept:1"), [["kept:1"]])
    yield* kept.renew
    yield* registry.register("pi", { address: "new:1" }, ttl)
    yield* after.until("kept:1", "new:1")
    yield* kept.deregister
    yield* after.until("new:1")
  }))

test("when the leader dies and another member is asked, who watches learns of what follows", () =>
  Effect.gen(function* () {
    const members = yield* cluster(3)
    const { leader, others } = yield* ranked(members)
    const registry = yield* etcd(urlOf([...others, leader]))
    const { until } = yield* watching(lasting(registry), "pi")
    yield* until()
    yield* leader.kill
    yield* registry.register("pi", { address: "new:1" }, ttl)
    yield* until("new:1")
  }))

test("a member that is cut off from the others ends its watches and isn't asked any more, and another is", () =>
  Effect.gen(function* () {
    const members = yield* cluster(3)
    const [alone, second, third] = members
    if (alone === undefined || second === undefined || third === undefined) return assert.fail("three members")
    const registry = yield* etcd(urlOf(members))
    yield* registry.register("pi", { address: "a:1" }, ttl)
    const before = yield* watching(registry, "pi")
    yield* before.until("a:1")
    yield* second.kill
    yield* third.kill
    const ended = yield* before.failed
    assert.equal(ended.code, "unavailable")
    assert.match(ended.message, /no leader/)
    // It runs, but there is nobody who could answer.
    const error = yield* Effect.flip(registry.register("pi", { address: "b:1" }, ttl))
    assert.equal(error.code, "unavailable")
    yield* Effect.all([second.start, third.start], { concurrency: 2 })
    yield* alone.suspend
    yield* registry.register("pi", { address: "b:1" }, ttl)
    const after = yield* watching(lasting(registry), "pi")
    yield* after.until("a:1", "b:1")
  }))

test("a member that says nothing is left for the next one", () =>
  Effect.gen(function* () {
    const members = yield* cluster(3)
    const { leader, others } = yield* ranked(members)
    const registry = yield* etcd(urlOf([...others, leader]), { timeout: "1 second" })
    yield* registry.register("pi", { address: "a:1" }, ttl)
    const [asked] = others
    yield* asked?.suspend ?? assert.fail("no member")
    yield* registry.register("pi", { address: "b:1" }, ttl)
    const { until } = yield* watching(lasting(registry), "pi")
    yield* until("a:1", "b:1")
  }))
