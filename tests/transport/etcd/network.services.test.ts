import assert from "node:assert/strict"
import { Duration, Effect, Random } from "effect"
import { etcd } from "../../../src/transport/etcd/registry.ts"
import { test } from "../../effect.ts"
import { network } from "../../faults/network.ts"
import { contents, etcdServer } from "./server.ts"
import { lasting, watching } from "./watching.ts"

const ttl = Duration.minutes(5)

const portOf = (host: string): number => Number(host.split(":")[1])

test("a network that loses what is sent ends a watch, as if etcd had", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer()
    const between = yield* network({ port: portOf(member.host) })
    const registry = yield* etcd(between.url.replace("http:", "etcd:"))
    const { until, failed } = yield* watching(registry, "pi")
    yield* until()
    yield* between.silence
    assert.equal((yield* failed).code, "unavailable")
    // By another connection.
    const after = yield* watching(registry, "pi")
    yield* registry.register("pi", { address: "a:1" }, ttl)
    yield* after.until("a:1")
  }))

test("registrations and departures through a network that resets connections leave who is there", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer()
    const between = yield* network({ port: portOf(member.host) })
    const registry = yield* etcd(between.url.replace("http:", "etcd:"))
    const { until } = yield* watching(lasting(registry), "pi")
    const left = new Set<string>()
    yield* Effect.forEach(
      Array.from({ length: 300 }, (_, at) => `10.0.${at >> 8}.${at & 255}:80`),
      Effect.fnUntraced(function* (address) {
        const { renew, deregister } = yield* registry.register("pi", { address }, ttl)
        // In the middle of what the others do.
        if ((yield* Random.next) < 0.05) yield* between.reset
        yield* renew
        if ((yield* Random.next) < 0.5) yield* deregister
        else left.add(address)
      }),
      { concurrency: 8 },
    )
    assert.ok(between.made() > 5, `${between.made()} connections`)
    yield* until(...left)
    assert.deepEqual(
      Array.from((yield* contents(member)).keys()),
      Array.from(left, (address) => `pi/${address}`).sort(),
    )
  }).pipe(Random.withSeed("resets")))
