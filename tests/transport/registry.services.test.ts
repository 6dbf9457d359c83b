import assert from "node:assert/strict"
import { Duration, Effect } from "effect"
import { openRegistry } from "../../src/transport/registry.ts"
import { test } from "../effect.ts"
import { etcdServer } from "./etcd/server.ts"
import { watching } from "./etcd/watching.ts"

test("a URL of etcd opens it, and names the service", () =>
  Effect.gen(function* () {
    const member = yield* etcdServer()
    const { registry, service } = yield* openRegistry(`${member.url}/pi.PiCalculator`)
    assert.equal(service, "pi.PiCalculator")
    const { until } = yield* watching(registry, service)
    yield* registry.register(service, { address: "a:1" }, Duration.seconds(10))
    yield* until("a:1")
  }))
