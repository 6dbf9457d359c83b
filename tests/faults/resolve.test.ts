import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Exit, Scope } from "effect"
import { pickFirst } from "../../src/core/layers/pickFirst.ts"
import { roundRobin } from "../../src/core/layers/roundRobin.ts"
import * as Client from "../../src/transport/client.ts"
import { discover } from "../../src/transport/discover.ts"
import { dns } from "../../src/transport/dns/registry.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { test } from "../effect.ts"
import { dnsServer } from "../transport/dns/server.ts"
import { ownScope, pi, start } from "../transport/support.ts"

describe("a service in DNS whose only server is replaced by one at another address", () => {
  for (const [how, layer] of [
    ["pickFirst", pickFirst()],
    ["roundRobin", roundRobin()],
  ] as const) {
    test(`is found again long before DNS would be asked by itself: ${how}`, () =>
      Effect.gen(function* () {
        const scope = yield* ownScope
        const { port } = yield* Scope.provide(start(pi, { host: "127.0.0.1", grace: 0 }), scope)
        yield* start(pi, { host: "127.0.0.2", port })
        const server = yield* dnsServer({ "pi.test": ["127.0.0.1"] })
        // Asked every 30 seconds, as by default.
        const registry = dns({ servers: [server.host] })
        const { calc } = Client.make(PiCalculator, (yield* discover(registry, `pi.test:${port}`)).pipe(layer))
        yield* calc({ n: 1 })
        server.answer("pi.test", ["127.0.0.2"])
        yield* Scope.close(scope, Exit.void)
        const began = performance.now()
        while ((yield* Effect.exit(calc({ n: 1 })))._tag === "Failure") {
          yield* Effect.sleep("10 millis")
          assert.ok(performance.now() - began < 15_000, "no call goes well")
        }
      }))
  }
})
