import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Fiber, Random, Scheduler, Stream } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { leastRequest } from "../../../src/core/layers/leastRequest.ts"
import { outlierEjection } from "../../../src/core/layers/outlierEjection.ts"
import { pickFirst } from "../../../src/core/layers/pickFirst.ts"
import { ringHash } from "../../../src/core/layers/ringHash.ts"
import { roundRobin } from "../../../src/core/layers/roundRobin.ts"
import { subset } from "../../../src/core/layers/subset.ts"
import type { Kind } from "../../../src/core/rpc/call.ts"
import { type Channel, type ChannelLayer, callStream } from "../../../src/core/rpc/channel.ts"
import type { RpcError } from "../../../src/core/rpc/error.ts"
import { test } from "../../effect.ts"
import { method, property, settle } from "../support.ts"
import { ask, fleet, type Server } from "./fleet.ts"
import { waitForReady } from "./waitForReady.ts"

const layers: ReadonlyArray<ChannelLayer> = [
  pickFirst(),
  roundRobin(),
  leastRequest(),
  ringHash({ key: "x-user" }),
  (channel) => channel.pipe(subset(2), outlierEjection(), leastRequest()),
]

const addresses = ["a", "b", "c", "d"]

/** One of the things that happen. */
const event = fc.oneof(
  fc.record({ what: fc.constant("list" as const), listed: fc.subarray(addresses) }),
  fc.record({
    what: fc.constant("call" as const),
    layer: fc.nat(layers.length - 1),
    kind: fc.constantFrom<Kind>("unary", "server_streaming", "client_streaming", "bidi_streaming"),
    millis: fc.constantFrom(0, 10, 3_000),
    left: fc.boolean(),
  }),
  fc.record({ what: fc.constant("lose" as const), address: fc.constantFrom(...addresses), failing: fc.boolean() }),
  fc.record({ what: fc.constant("pass" as const), millis: fc.constantFrom(5, 1_000, 10_000) }),
)

const askOf = (channel: Channel, kind: Kind): Effect.Effect<unknown, RpcError> =>
  kind === "unary" ? ask(channel) : Stream.runDrain(callStream(channel, { ...method, kind }, Stream.make(1)))

describe("endpoints that come and go under calls", () => {
  test("lose no call, get none that they aren't listed for, and leave nothing open", () =>
    property(
      fc.record({
        seed: fc.string(),
        ops: fc.constantFrom(4, 5, 6, 7, 2048),
        events: fc.array(event, { maxLength: 40 }),
      }),
      ({ seed, ops, events }) =>
        Effect.gen(function* () {
          let listed: ReadonlyArray<string> = []
          let wrong = 0
          const failing = new Set<string>()
          const connect = ({ address, connectivity }: Server) => {
            connectivity.set("connecting")
            connectivity.set(failing.has(address) ? "transient_failure" : "ready")
          }
          const { channel, servers, list, close } = yield* fleet({
            connect,
            grace: "1 minute",
            program: ({ address }, { metadata }) => {
              if (!listed.includes(address)) wrong += 1
              return Effect.as(Effect.sleep(Number(metadata[0]?.[1] ?? 0)), address)
            },
          })
          const channels = layers.map((layer) => channel.pipe(layer, waitForReady))
          const calls: Array<Fiber.Fiber<unknown, RpcError>> = []
          const recover = Effect.suspend(() => {
            for (const { connectivity } of servers) {
              if (connectivity.current === "transient_failure") connectivity.set("idle")
            }
            return settle
          })
          for (const one of events) {
            if (one.what === "list") {
              listed = one.listed
              yield* list(...listed)
              const open = servers.filter(({ closed, running }) => !closed && running === 0)
              assert.ok(open.every(({ address }) => listed.includes(address)))
              assert.equal(new Set(open.map(({ address }) => address)).size, open.length)
            } else if (one.what === "call") {
              const fiber = yield* Effect.forkChild(
                // After so many steps it lets others run, wherever it is.
                Effect.provideService(
                  askOf(channels[one.layer] ?? channel, one.kind),
                  Scheduler.MaxOpsBeforeYield,
                  ops,
                ),
              )
              yield* settle
              if (one.left) yield* Fiber.interrupt(fiber)
              else calls.push(fiber)
            } else if (one.what === "lose") {
              if (one.failing) failing.add(one.address)
              else failing.delete(one.address)
              for (const { address, closed, connectivity } of servers) {
                if (address === one.address && !closed) connectivity.set("idle")
              }
            } else {
              yield* TestClock.adjust(one.millis)
              yield* recover
            }
          }
          failing.clear()
          listed = addresses
          yield* list(...listed)
          for (let i = 0; i < 5; i++) {
            yield* TestClock.adjust("10 seconds")
            yield* Effect.replicateEffect(recover, 4)
          }
          assert.ok(calls.every((call) => call.pollUnsafe()?._tag === "Success"))
          assert.equal(wrong, 0)
          yield* list()
          assert.ok(servers.every(({ closed, running }) => closed && running === 0))
          yield* close
        }).pipe(Random.withSeed(seed), Effect.scoped, Effect.provide(TestClock.layer())),
      { numRuns: 60 },
    ))
})
