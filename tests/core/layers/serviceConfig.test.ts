import assert from "node:assert/strict"
import { Effect, Exit, Result, Stream } from "effect"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { serviceConfig } from "../../../src/core/layers/serviceConfig.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { parse } from "../../../src/core/rpc/serviceConfig.ts"
import { testWithClock } from "../../effect.ts"
import { bidi, call, inTime, outcome, type Step, script, stream, times } from "../attempts.ts"
import { method } from "../support.ts"

const down: Step = { fails: "unavailable" }
const hanging: Step = { millis: Number.POSITIVE_INFINITY }
const up: Step = {}

const retryPolicy = {
  maxAttempts: 3,
  initialBackoff: "1s",
  maxBackoff: "10s",
  backoffMultiplier: 3,
  retryableStatusCodes: ["UNAVAILABLE"],
}

const configured = (config: object) => serviceConfig(Result.getOrThrow(parse(config)))
const forAll = (fields: object) => configured({ methodConfig: [{ name: [{}], ...fields }] })

testWithClock("a retry policy holds for calls and streams, whatever the method's idempotency", () =>
  Effect.gen(function* () {
    const unary = script(down, down, up)
    assert.deepEqual(yield* inTime(call(forAll({ retryPolicy })(unary.channel), method)), Exit.succeed(3))
    assert.deepEqual(times(unary), [0, 1_000, 4_000])
    const streamed = script({ ...down, takes: 1 }, up)
    const requests = Stream.rechunk(Stream.make(1, 2, 3), 1)
    yield* inTime(stream(forAll({ retryPolicy })(streamed.channel), requests, { ...bidi, idempotency: "unknown" }))
    assert.deepEqual(
      streamed.seen.map(({ requests }) => requests),
      [[1], [1, 2, 3]],
    )
  }),
)

testWithClock("a hedging policy too", () =>
  Effect.gen(function* () {
    const played = script(hanging, hanging, up)
    const layer = forAll({ hedgingPolicy: { maxAttempts: 3, hedgingDelay: "0.25s" } })
    assert.deepEqual(yield* inTime(call(layer(played.channel), method)), Exit.succeed(3))
    assert.deepEqual(times(played), [0, 250, 500])
  }),
)

testWithClock("a method that isn't named is called as it was", () =>
  Effect.gen(function* () {
    const layer = configured({
      methodConfig: [{ name: [{ service: "pi.PiCalculator", method: "Calc" }], timeout: "1s", retryPolicy }],
    })
    const other = script(down)
    yield* Effect.exit(call(layer(other.channel), { ...method, name: "Other" }))
    assert.deepEqual([other.seen.length, other.seen[0]?.call.deadline], [1, undefined])
    assert.equal(layer(other.channel).replayBytes({ ...method, name: "Other" }), 0)
    assert.equal(layer(other.channel).replayBytes(method), 256 * 1024)
  }),
)

testWithClock("a timeout holds for all attempts together, and a nearer deadline of the caller before it", () =>
  Effect.gen(function* () {
    const deadlines = (call: Effect.Effect<unknown, unknown>, played: ReturnType<typeof script>) =>
      Effect.map(inTime(Effect.exit(call)), () => played.seen.map(({ call }) => call.deadline))
    const layer = forAll({ timeout: "2.5s", retryPolicy })
    const played = script(down, hanging)
    const ended = yield* inTime(outcome(call(layer(played.channel))))
    assert.deepEqual(ended, Exit.succeed("deadline_exceeded"))
    assert.deepEqual(
      played.seen.map(({ call }) => call.deadline),
      [2_500, 2_500],
    )
    // An hour has passed for the first call, and one passes for each that follows.
    const hour = 3_600_000
    const nearer = script(up)
    assert.deepEqual(yield* deadlines(call(layer(nearer.channel)).pipe(Deadline.within("1 second")), nearer), [
      hour + 1_000,
    ])
    const later = script(up)
    assert.deepEqual(yield* deadlines(call(layer(later.channel)).pipe(Deadline.within("1 day")), later), [
      2 * hour + 2_500,
    ])
  }),
)

testWithClock("a call waits for the server if the config says so and the caller says nothing", () =>
  Effect.gen(function* () {
    const played = script(up)
    const layer = forAll({ waitForReady: true })
    yield* call(layer(played.channel))
    yield* call(layer(played.channel).pipe(intercept((call, next) => next({ ...call, waitForReady: false }))))
    yield* call(forAll({})(played.channel))
    assert.deepEqual(
      played.seen.map(({ call }) => call.waitForReady),
      [true, false, undefined],
    )
  }),
)

testWithClock("retries, hedges and all other calls of a channel share its tokens", () =>
  Effect.gen(function* () {
    const layer = configured({
      methodConfig: [
        { name: [{ service: "pi.PiCalculator", method: "Retried" }], retryPolicy: { ...retryPolicy, maxAttempts: 2 } },
        {
          name: [{ service: "pi.PiCalculator", method: "Hedged" }],
          hedgingPolicy: { maxAttempts: 2, hedgingDelay: "0s", nonFatalStatusCodes: ["UNAVAILABLE"] },
        },
      ],
      retryThrottling: { maxTokens: 4, tokenRatio: 1 },
    })
    const played = script(down, down, down, up, down, up)
    const channel = layer(played.channel)
    const attempts = (name: string) =>
      Effect.gen(function* () {
        const before = played.seen.length
        yield* inTime(Effect.exit(call(channel, { ...method, name })))
        return played.seen.length - before
      })
    assert.equal(yield* attempts("Retried"), 2)
    // Two tokens are left: neither is allowed more than its first attempt, and that takes one more.
    assert.equal(yield* attempts("Hedged"), 1)
    // Any success gives one back, and more than half are needed after the failure that is to be followed.
    assert.equal(yield* attempts("Other"), 1)
    assert.equal(yield* attempts("Retried"), 1)
    assert.equal(played.seen.length, 5)
    for (let n = 0; n < 3; n++) yield* attempts("Other")
    const again = layer(script(down, up).channel)
    assert.deepEqual(yield* inTime(call(again, { ...method, name: "Retried" })), Exit.succeed(2))
  }),
)
