import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import { staticRegistry } from "../../src/core/discovery/static.ts"
import { deadline } from "../../src/core/layers/deadline.ts"
import { outlierEjection } from "../../src/core/layers/outlierEjection.ts"
import { pickFirst } from "../../src/core/layers/pickFirst.ts"
import { roundRobin } from "../../src/core/layers/roundRobin.ts"
import type { ChannelLayer } from "../../src/core/rpc/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { discover } from "../../src/transport/discover.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { test } from "../effect.ts"
import { counting } from "./support.ts"

// With keepalive's usual ten minutes, so that only the deadlines tell that something is wrong.
const ways: ReadonlyArray<readonly [string, ChannelLayer]> = [
  ["pickFirst", pickFirst({ shuffle: false })],
  ["roundRobin", roundRobin()],
  [
    "roundRobin and outlierEjection",
    (channel) => channel.pipe(roundRobin(), outlierEjection({ consecutiveFailures: 1 })),
  ],
]

describe("an endpoint that stands still, as a process does that was stopped", () => {
  for (const [how, layer] of ways) {
    test(`loses its calls to another one once deadlines have passed there: ${how}`, () =>
      Effect.gen(function* () {
        const frozen = yield* counting()
        const well = yield* counting()
        const registry = staticRegistry([{ address: frozen.url }, { address: well.url }])
        const channel = (yield* discover(registry, "pi")).pipe(layer, deadline("1 second"))
        const { calc } = Client.make(PiCalculator, channel)
        yield* calc({ n: 1 })
        // So that both are connected.
        yield* Effect.sleep("1 second")
        yield* Effect.repeat(calc({ n: 1 }), { times: 4 })
        yield* frozen.freeze
        let failures = 0
        let inARow = 0
        // The connection is given up after five seconds. Calls that are sent there until then fail, each after one.
        while (inARow < 10) {
          const began = performance.now()
          const exit = yield* Effect.result(calc({ n: 1 }))
          if (exit._tag === "Success") inARow += 1
          else {
            failures += 1
            inARow = 0
            assert.ok(["deadline_exceeded", "unavailable"].includes(exit.failure.code), exit.failure.message)
          }
          assert.ok(performance.now() - began < 10_000)
          assert.ok(failures < 20, `${failures} calls failed`)
        }
        assert.ok(failures > 0)
      }))
  }
})
