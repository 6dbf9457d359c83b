import assert from "node:assert/strict"
import { describe } from "node:test"
import { Duration, Effect, Queue, Random, Result, Stream } from "effect"
import { etcd } from "../../../src/transport/etcd/registry.ts"
import { test } from "../../effect.ts"
import { shared } from "../../interop/support.ts"
import { withLog } from "../support.ts"
import { contents, etcdctl, etcdServer } from "./server.ts"
import { addresses, watching } from "./watching.ts"

const long = Duration.minutes(5)

describe("etcd", () => {
  const member = shared(etcdServer())

  test("keeps an endpoint under the key and with the value that grpc-go's resolver knows, for as long as its lease", () =>
    Effect.gen(function* () {
      const registry = yield* etcd(member().url)
      const { deregister } = yield* registry.register("keys", { address: "127.0.0.1:8080" }, Duration.seconds(61.5))
      const printed = yield* etcdctl(member(), "get", "--prefix", "keys/")
      assert.equal(printed, 'keys/127.0.0.1:8080\n{"Op":0,"Addr":"127.0.0.1:8080","Metadata":null}\n')
      const json = yield* etcdctl(member(), "get", "--prefix", "keys/", "-w", "json")
      const lease = BigInt(/"lease":(\d+)/.exec(json)?.[1] ?? 0).toString(16)
      assert.match(yield* etcdctl(member(), "lease", "timetolive", lease), / granted with TTL\(62s\)/)
      yield* deregister
      assert.equal(yield* etcdctl(member(), "get", "--prefix", "keys/"), "")
      assert.match(yield* etcdctl(member(), "lease", "timetolive", lease), /already expired/)
    }))

  test("an endpoint whose lease isn't renewed goes, and one whose lease is stays", () =>
    Effect.gen(function* () {
      const registry = yield* etcd(member().url)
      const { until } = yield* watching(registry, "leases")
      const ttl = Duration.seconds(2)
      const kept = yield* registry.register("leases", { address: "kept:1" }, ttl)
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(kept.renew, Effect.sleep("300 millis"))))
      yield* registry.register("leases", { address: "first:1" }, ttl)
      yield* until("first:1", "kept:1")
      yield* until("kept:1")
      // Twice as long.
      const second = yield* registry.register("leases", { address: "second:1" }, ttl)
      yield* until("kept:1", "second:1")
      yield* until("kept:1")
      const error = yield* Effect.flip(second.renew)
      assert.equal(error.code, "not_found")
      assert.equal(error.message, "the lease of second:1 has ended")
    }))

  test("deregistering takes an endpoint out at once, and is no error when it is out", () =>
    Effect.gen(function* () {
      const registry = yield* etcd(member().url)
      const { until } = yield* watching(registry, "out")
      const { renew, deregister } = yield* registry.register("out", { address: "a:1" }, long)
      yield* until("a:1")
      yield* deregister
      yield* until()
      yield* deregister
      assert.equal((yield* Effect.flip(renew)).code, "not_found")
    }))

  test("an endpoint that was put in anew stays when its first registration leaves", () =>
    Effect.gen(function* () {
      const registry = yield* etcd(member().url)
      const first = yield* registry.register("anew", { address: "a:1" }, long)
      const second = yield* registry.register("anew", { address: "a:1" }, long)
      yield* first.deregister
      const { until } = yield* watching(registry, "anew")
      assert.deepEqual(yield* until("a:1"), [["a:1"]])
      yield* second.renew
      yield* second.deregister
      yield* until()
    }))

  test("a service that nobody knows has no endpoints, and another whose name begins alike gives it none", () =>
    Effect.gen(function* () {
      const registry = yield* etcd(member().url)
      yield* registry.register("alike2", { address: "a:1" }, long)
      yield* registry.register("alike", { address: "b:1" }, long)
      yield* registry.register("alik", { address: "c:1" }, long)
      const { until } = yield* watching(registry, "alike")
      assert.deepEqual(yield* until("b:1"), [["b:1"]])
      const nobody = yield* watching(registry, "nobody")
      assert.deepEqual(yield* nobody.until(), [[]])
    }))

  test("reads what others put there, with metadata and without, once for each address", () =>
    Effect.gen(function* () {
      const registry = yield* etcd(member().url)
      yield* etcdctl(member(), "put", "others/1", '{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"zone":"a"}}')
      yield* etcdctl(member(), "put", "others/2", '{"Addr":"10.0.0.1:80"}')
      const { until } = yield* watching(registry, "others")
      assert.deepEqual(yield* until("10.0.0.1:80"), [["10.0.0.1:80"]])
      yield* etcdctl(member(), "put", "others/3", '{"Addr":"unix:/run/pi.sock","Metadata":"m"}')
      yield* until("10.0.0.1:80", "unix:/run/pi.sock")
      yield* etcdctl(member(), "del", "others/1")
      yield* etcdctl(member(), "put", "others/3", '{"Addr":"10.0.0.3:80"}')
      yield* until("10.0.0.1:80", "10.0.0.3:80")
      yield* etcdctl(member(), "del", "--prefix", "others/")
      yield* until()
    }))

  test("ignores values that name no endpoint, and says so", () =>
    withLog((log) =>
      Effect.gen(function* () {
        const registry = yield* etcd(member().url)
        const bad = [
          "",
          "{",
          "null",
          "[]",
          '{"Op":0}',
          '{"Addr":1}',
          '{"Addr":""}',
          '{"Addr":"a b"}',
          '{"Addr":"\\u001b"}',
        ]
        for (const [at, value] of bad.entries()) yield* etcdctl(member(), "put", "--", `bad/${at}`, value)
        yield* etcdctl(member(), "put", "bad/long", JSON.stringify({ Addr: "long:1", Metadata: "m".repeat(65536) }))
        yield* etcdctl(member(), "put", "bad/good", '{"Addr":"good:1"}')
        const { until } = yield* watching(registry, "bad")
        assert.deepEqual(yield* until("good:1"), [["good:1"]])
        assert.equal(log.length, bad.length + 1)
        assert.match(log[0] ?? "", /the value of the key "bad\/0" in etcd names no endpoint/)
        // One that can't be read any more is out.
        yield* etcdctl(member(), "put", "bad/good", "gone")
        yield* until()
      }),
    ))

  test("who takes lists slowly misses some in between, and gets the last", () =>
    Effect.gen(function* () {
      const registry = yield* etcd(member().url)
      const ahead = yield* watching(registry, "slow")
      const lists: Array<ReadonlyArray<string>> = []
      const taken = yield* Queue.unbounded<void>()
      const goOn = yield* Queue.unbounded<void>()
      yield* Effect.forkScoped(
        Stream.runForEach(registry.resolve("slow"), (list) => {
          lists.push(addresses(list))
          return Effect.andThen(Queue.offer(taken, undefined), Queue.take(goOn))
        }),
      )
      yield* Queue.take(taken)
      const all = Array.from({ length: 20 }, (_, at) => `a:${10 + at}`)
      for (const address of all) yield* registry.register("slow", { address }, long)
      yield* ahead.until(...all)
      while (lists.at(-1)?.length !== all.length) {
        yield* Queue.offer(goOn, undefined)
        yield* Queue.take(taken)
      }
      assert.deepEqual(lists[0], [])
      assert.deepEqual(lists.at(-1), all)
      assert.ok(lists.length < all.length / 2, `${lists.length} lists`)
      // Nor does what was missed come later.
      yield* registry.register("slow", { address: "a:99" }, long)
      yield* ahead.until(...all, "a:99")
      yield* Queue.offer(goOn, undefined)
      yield* Queue.take(taken)
      assert.deepEqual(lists.at(-1), [...all, "a:99"])
    }))

  test("a thousand registrations and departures leave who is there, for who watched and for who comes later", () =>
    Effect.gen(function* () {
      const registry = yield* etcd(member().url)
      const { until } = yield* watching(registry, "many")
      const left = new Set<string>()
      // More than a page is left: most stay.
      yield* Effect.forEach(
        Array.from({ length: 1_600 }, (_, at) => `10.0.${at >> 8}.${at & 255}:80`),
        Effect.fnUntraced(function* (address) {
          const { deregister } = yield* registry.register("many", { address }, long)
          if ((yield* Random.next) < 0.3) yield* deregister
          else left.add(address)
        }),
        { concurrency: 64 },
      )
      assert.ok(left.size > 1_000)
      const keys = Array.from((yield* contents(member())).keys()).filter((key) => key.startsWith("many/"))
      assert.deepEqual(keys, Array.from(left, (address) => `many/${address}`).sort())
      yield* until(...left)
      const late = yield* watching(registry, "many")
      const [first] = yield* late.until(...left)
      assert.equal(first?.length, left.size)
    }).pipe(Random.withSeed("many")))

  test("no member that can be reached fails with unavailable and its address", () =>
    Effect.gen(function* () {
      const registry = yield* etcd("etcd://127.0.0.1:1,127.0.0.1:2")
      const resolved = yield* Effect.result(Stream.runHead(registry.resolve("pi")))
      assert.ok(Result.isFailure(resolved))
      assert.equal(resolved.failure.code, "unavailable")
      assert.match(resolved.failure.message, /127\.0\.0\.1:[12]/)
    }))
})
