import assert from "node:assert/strict"
import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf"
import { Duration, Effect, Queue, Stream } from "effect"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { connect } from "../../../src/transport/channel.ts"
import * as Client from "../../../src/transport/client.ts"
import { keyOf, valueFor } from "../../../src/transport/etcd/endpoints.ts"
import { etcd, mostEndpoints } from "../../../src/transport/etcd/registry.ts"
import {
  KV,
  type RangeRequestSchema,
  type RangeResponseSchema,
  Watch,
  type WatchResponseSchema,
} from "../../../src/transport/gen/etcd/rpc_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { start } from "../support.ts"
import { etcdctl, etcdServer } from "./server.ts"
import { watching } from "./watching.ts"

type RangeRequest = MessageShape<typeof RangeRequestSchema>
type RangeResponse = MessageInitShape<typeof RangeResponseSchema>
type WatchResponse = MessageInitShape<typeof WatchResponseSchema>

const kv = (address: string) => ({ key: keyOf("pi", address), value: valueFor(address) })
const put = (address: string) => ({ type: 0, kv: kv(address) })
const gone = (address: string) => ({ type: 1, kv: { key: keyOf("pi", address) } })
const created = { created: true }

/** A server that stands where etcd would, and answers what the test says. */
const instead = (
  range: (request: RangeRequest) => Effect.Effect<RangeResponse, RpcError>,
  watch: Stream.Stream<WatchResponse, RpcError> = Stream.make(created).pipe(Stream.concat(Stream.never)),
) =>
  Effect.gen(function* () {
    const unserved = () => Effect.fail(new RpcError({ code: "unimplemented", message: "not in this test" }))
    const server = yield* start([
      Service.make(KV, { range, put: unserved }),
      Service.make(Watch, { watch: () => watch }),
    ])
    return yield* etcd(server.url.replace("http:", "etcd:"))
  })

const one = () => Effect.succeed({ header: { revision: 7n }, kvs: [kv("a:1")] })

test("changes that etcd has forgotten before it is asked for them are made up for by reading all anew", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer()
    const direct = yield* etcd(member.url)
    const channel = yield* connect(`http://${member.host}`)
    const { range } = Client.make(KV, channel)
    const { watch } = Client.make(Watch, channel)
    const unserved = () => Effect.fail(new RpcError({ code: "unimplemented", message: "not in this test" }))
    let watches = 0
    const compact = Effect.gen(function* () {
      watches++
      if (watches > 1) return
      yield* etcdctl(member, "del", "pi/a:1")
      yield* direct.register("pi", { address: "b:1" }, Duration.seconds(60))
      const [, revision = ""] = /"revision":(\d+)/.exec(yield* etcdctl(member, "get", "x", "-w", "json")) ?? []
      yield* etcdctl(member, "compact", revision)
    })
    // Between what is there and what changes then, etcd forgets.
    const between = yield* start([
      Service.make(KV, { range, put: unserved }),
      Service.make(Watch, { watch: (requests) => Stream.unwrap(Effect.as(compact, watch(requests))) }),
    ])
    yield* direct.register("pi", { address: "a:1" }, Duration.seconds(60))
    const registry = yield* etcd(between.url.replace("http:", "etcd:"))
    const { until } = yield* watching(registry, "pi")
    assert.deepEqual(yield* until("b:1"), [["a:1"], ["b:1"]])
    yield* direct.register("pi", { address: "c:1" }, Duration.seconds(60))
    yield* until("b:1", "c:1")
    assert.equal(watches, 2)
  }))

test("answers without a change tell nothing, and a change in pieces is told as it comes", () =>
  Effect.gen(function* () {
    const answers = yield* Queue.unbounded<WatchResponse>()
    const registry = yield* instead(one, Stream.fromQueue(answers))
    const { until } = yield* watching(registry, "pi")
    yield* Queue.offerAll(answers, [created, { header: { revision: 9n } }, { events: [put("a:1")] }])
    yield* Queue.offerAll(answers, [{ events: [put("b:1"), gone("a:1")] }, { events: [put("c:1")] }])
    const lists = yield* until("b:1", "c:1")
    assert.deepEqual(lists[0], ["a:1"])
    assert.ok(lists.length <= 3, JSON.stringify(lists))
  }))

test("the keys of more endpoints than a page has are read as they were at one moment", () =>
  Effect.gen(function* () {
    const all = Array.from({ length: 2_500 }, (_, at) => `${10_000 + at}:1`)
    const asked: Array<RangeRequest> = []
    const registry = yield* instead((request) => {
      asked.push(request)
      const from = all.findIndex((address) => Buffer.compare(keyOf("pi", address), request.key) >= 0)
      const page = all.slice(from, from + Number(request.limit))
      return Effect.succeed({
        header: { revision: 7n + BigInt(asked.length) },
        kvs: page.map(kv),
        more: from + page.length < all.length,
      })
    })
    const { until } = yield* watching(registry, "pi")
    assert.deepEqual(yield* until(...all), [all])
    assert.deepEqual(
      asked.map(({ revision }) => revision),
      [0n, 8n, 8n],
    )
  }))

test("more endpoints than may be are refused", () =>
  Effect.gen(function* () {
    let sent = 0
    const registry = yield* instead(({ limit }) => {
      const kvs = Array.from({ length: Number(limit) }, () => kv(`${sent++}:1`))
      return Effect.succeed({ header: { revision: 7n }, kvs, more: true })
    })
    const error = yield* Effect.flip(Stream.runDrain(registry.resolve("pi")))
    assert.equal(error.code, "resource_exhausted")
    assert.equal(error.message, "pi has more than 100000 endpoints in etcd")
    assert.equal(sent, mostEndpoints + 1000)
  }))

for (const { name, watch, code, message } of [
  {
    name: "a watch that etcd ends",
    watch: Stream.make<Array<WatchResponse>>(created, { canceled: true, cancelReason: "etcdserver: no leader" }),
    code: "unavailable",
    message: "etcd has ended the watch: etcdserver: no leader",
  },
  {
    name: "a watch that etcd ends without a reason",
    watch: Stream.make<Array<WatchResponse>>({ created: true, canceled: true }),
    code: "unavailable",
    message: "etcd has ended the watch: it gives no reason",
  },
  {
    name: "a watch that isn't allowed",
    watch: Stream.make<Array<WatchResponse>>({ canceled: true, cancelReason: "etcdserver: permission denied" }),
    code: "permission_denied",
    message: "etcd has ended the watch: etcdserver: permission denied",
  },
  {
    name: "a watch that just ends",
    watch: Stream.make<Array<WatchResponse>>(created),
    code: "unavailable",
    message: "etcd has ended the call to watch without an answer",
  },
]) {
  test(`${name} fails who watches`, () =>
    Effect.gen(function* () {
      const registry = yield* instead(one, watch)
      const { until, failed } = yield* watching(registry, "pi")
      yield* until("a:1")
      const error = yield* failed
      assert.equal(error.code, code)
      assert.equal(error.message, message)
    }))
}
