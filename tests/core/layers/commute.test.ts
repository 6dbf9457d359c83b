import assert from "node:assert/strict"
import { Effect, Result } from "effect"
import fc from "fast-check"
import { circuitBreaker } from "../../../src/core/layers/circuitBreaker.ts"
import { concurrencyLimit } from "../../../src/core/layers/concurrencyLimit.ts"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { delay } from "../../../src/core/layers/delay.ts"
import { hedge } from "../../../src/core/layers/hedge.ts"
import { type CallLayer, intercept } from "../../../src/core/layers/intercept.ts"
import { metadata } from "../../../src/core/layers/metadata.ts"
import { retry } from "../../../src/core/layers/retry.ts"
import { serviceConfig } from "../../../src/core/layers/serviceConfig.ts"
import { tracing } from "../../../src/core/layers/tracing.ts"
import * as Calculator from "../../../src/core/pi/calculator.ts"
import type { ChannelLayer } from "../../../src/core/rpc/channel.ts"
import { parse } from "../../../src/core/rpc/serviceConfig.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
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

/** All that comes of a call and of a stream: the answers, or the error. */
const outcome = ({ calc, calcRange }: PiClient, n: number) =>
  Effect.forEach(
    [Effect.map(calc({ n }), ({ value }) => [value]), valuesOf(calcRange({ first: n, last: n + 2 }))],
    Effect.match({
      onSuccess: (values): unknown => values,
      onFailure: ({ code, message, details, metadata }) => ({ code, message, details, metadata }),
    }),
  )

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
