import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Random, Result } from "effect"
import fc from "fast-check"
import { circuitBreaker } from "../../../src/core/layers/circuitBreaker.ts"
import { concurrencyLimit } from "../../../src/core/layers/concurrencyLimit.ts"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { delay } from "../../../src/core/layers/delay.ts"
import { hedge } from "../../../src/core/layers/hedge.ts"
import { type CallLayer, intercept } from "../../../src/core/layers/intercept.ts"
import { interceptMessages, type MessageInterceptor } from "../../../src/core/layers/interceptMessages.ts"
import { leastRequest } from "../../../src/core/layers/leastRequest.ts"
import { metadata } from "../../../src/core/layers/metadata.ts"
import { outlierEjection } from "../../../src/core/layers/outlierEjection.ts"
import { pickFirst } from "../../../src/core/layers/pickFirst.ts"
import { retry } from "../../../src/core/layers/retry.ts"
import { ringHash } from "../../../src/core/layers/ringHash.ts"
import { roundRobin } from "../../../src/core/layers/roundRobin.ts"
import { serviceConfig } from "../../../src/core/layers/serviceConfig.ts"
import { subset } from "../../../src/core/layers/subset.ts"
import { tracing } from "../../../src/core/layers/tracing.ts"
import * as Calculator from "../../../src/core/pi/calculator.ts"
import type { ChannelLayer } from "../../../src/core/rpc/channel.ts"
import { parse } from "../../../src/core/rpc/serviceConfig.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test, testWithClock } from "../../effect.ts"
import { ask, counts, fleet, type Program, unavailable } from "../balance/fleet.ts"
import { clientOf, type PiClient, piped, property, valuesOf } from "../support.ts"

const layers: ReadonlyArray<CallLayer> = [
  deadline("1 hour"),
  metadata({ "x-client": "test" }),
  concurrencyLimit(1_000),
  delay(0),
  intercept((call, next) => next(call)),
  tracing(),
]

const calculator = Service.make(PiCalculator, Calculator.make({ journal: { report: () => Effect.succeed(true) } }))

const channelLayers: ReadonlyArray<ChannelLayer> = [
  ...layers,
  retry(),
  hedge({ delay: "1 hour" }),
  circuitBreaker(),
  serviceConfig(Result.getOrThrow(parse({ methodConfig: [{ name: [{}], timeout: "3600s", waitForReady: true }] }))),
]

const permutation = <A>(all: ReadonlyArray<A>) => fc.shuffledSubarray([...all], { minLength: all.length })

const piped2 =
  (inner: ChannelLayer, outer: ChannelLayer): ChannelLayer =>
  (channel) =>
    outer(inner(channel))

/** All that comes of a call and of a stream: the answers, or the error. */
const outcome = ({ calc, calcRange }: PiClient, n: number) =>
  Effect.forEach(
    [Effect.map(calc({ n }), ({ value }) => [value]), valuesOf(calcRange({ first: n, last: n + 2 }))],
    Effect.match({
      onSuccess: (values): unknown => values,
      onFailure: ({ code, message, details, metadata }) => ({ code, message, details, metadata }),
    }),
  )

// Where calls go, layer by layer; each has to have its say wherever it stands.
const balancingLayers: Readonly<Record<string, ChannelLayer>> = {
  roundRobin: roundRobin(),
  leastRequest: leastRequest(),
  ringHash: ringHash({ key: "x-key" }),
  pickFirst: pickFirst({ shuffle: false }),
  subset: subset(2, { client: "me" }),
  outlierEjection: outlierEjection({ consecutiveFailures: 1, maxEjectedPercent: 100, codes: ["unavailable"] }),
}

const pass: MessageInterceptor = (message) => Effect.succeed(message)
const others: Readonly<Record<string, ChannelLayer>> = {
  interceptMessages: interceptMessages({ request: pass, response: pass }),
  intercept: intercept((call, next) => next(call)),
  metadata: metadata({ "x-client": "test" }),
  deadline: deadline("1 hour"),
  tracing: tracing(),
  concurrencyLimit: concurrencyLimit(1_000),
  retry: retry(),
  hedge: hedge({ delay: "1 hour" }),
  circuitBreaker: circuitBreaker({ minimumCalls: 1_000 }),
  subset: subset(3, { client: "me" }),
}

/** How many of 60 calls each of three endpoints got, the most first; one of them fails all that it gets. */
const shares = Effect.fnUntraced(function* (layer: ChannelLayer) {
  const program: Program = (server) =>
    server.address === "b" ? Effect.fail(unavailable("b is ill")) : Effect.succeed(server.address)
  const { channel, servers, close } = yield* fleet({ listed: ["a", "b", "c"], program })
  const layered = layer(channel)
  for (let i = 0; i < 60; i++) yield* Effect.exit(ask(layered))
  yield* close
  return servers.map(({ address, taken }) => [address, taken] as const).sort()
})

describe("a layer that says how calls are spread has nothing to do with the order of the pipe", () => {
  for (const [name, spreading] of Object.entries(balancingLayers)) {
    for (const [otherName, other] of Object.entries(others)) {
      if (name === otherName) continue
      testWithClock(`${name} and ${otherName}`, () =>
        Effect.gen(function* () {
          const seeded = (layer: ChannelLayer) => Random.withSeed(shares(layer), "commute")
          const before = yield* seeded((channel) => channel.pipe(spreading, other))
          const behind = yield* seeded((channel) => channel.pipe(other, spreading))
          assert.deepEqual(behind, before)
        }),
      )
    }
  }

  testWithClock("roundRobin behind interceptMessages spreads calls evenly", () =>
    Effect.gen(function* () {
      const { channel } = yield* fleet({ listed: ["a", "b", "c"] })
      const layered = roundRobin()(interceptMessages({ request: pass })(channel))
      assert.deepEqual(new Set((yield* counts(layered, 30)).values()), new Set([10]))
    }),
  )
})

test("layers of a service and of a channel commute with interceptMessages, each with each", () =>
  Effect.gen(function* () {
    const messages = interceptMessages({ request: pass, response: pass })
    const bare = yield* outcome(yield* clientOf(calculator), 7)
    for (const layer of layers) {
      for (const layered of [messages(layer(calculator)), layer(messages(calculator))]) {
        assert.deepEqual(yield* outcome(yield* clientOf(layered), 7), bare)
      }
    }
    for (const layer of channelLayers) {
      for (const both of [piped2(layer, messages), piped2(messages, layer)]) {
        assert.deepEqual(yield* outcome(yield* clientOf(calculator, both), 7), bare)
      }
    }
  }))

test("layers that have nothing to do with each other give the same answers and the same errors in any order", () =>
  property(
    fc.tuple(permutation(layers), permutation(channelLayers), fc.integer({ min: -3, max: 1_000 })),
    ([inside, outside, n]) =>
      Effect.gen(function* () {
        const bare = yield* clientOf(calculator)
        const layered = yield* clientOf(calculator.pipe(piped(...inside)), (channel) =>
          outside.reduce((inner, layer) => layer(inner), channel),
        )
        assert.deepEqual(yield* outcome(layered, n), yield* outcome(bare, n))
      }),
  ))
