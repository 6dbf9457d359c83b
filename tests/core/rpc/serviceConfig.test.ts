import assert from "node:assert/strict"
import { Duration, Effect, Result } from "effect"
import fc from "fast-check"
import { type MethodConfig, methodConfig, parse, ServiceConfigError } from "../../../src/core/rpc/serviceConfig.ts"
import { test } from "../../effect.ts"
import { method, property } from "../support.ts"

const retryPolicy = {
  maxAttempts: 4,
  initialBackoff: "0.1s",
  maxBackoff: "1s",
  backoffMultiplier: 2,
  retryableStatusCodes: ["UNAVAILABLE"],
}
const hedgingPolicy = { maxAttempts: 4, hedgingDelay: "0.5s", nonFatalStatusCodes: ["UNAVAILABLE", "internal", 10] }

/** What is said of all methods. */
const ofAll = (fields: object): MethodConfig | undefined =>
  methodConfig(Result.getOrThrow(parse({ methodConfig: [{ name: [{}], ...fields }] })), method)

/** Where a config is wrong, and in what words. */
const wrong = (input: string | object) => {
  const parsed = parse(input)
  assert.ok(Result.isFailure(parsed), `${JSON.stringify(input)} was accepted`)
  assert.ok(parsed.failure instanceof ServiceConfigError)
  return [parsed.failure.path, parsed.failure.message]
}

test("a config is read from JSON as it is written", () =>
  Effect.sync(() => {
    const text = JSON.stringify({
      loadBalancingConfig: [{ round_robin: {} }],
      methodConfig: [
        {
          name: [{ service: "pi.PiCalculator" }],
          timeout: "1.5s",
          waitForReady: true,
          retryPolicy,
          maxRequestMessageBytes: 1_000,
          maxResponseMessageBytes: 0,
          later: "unknown",
        },
      ],
      retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
      healthCheckConfig: { serviceName: "pi" },
    })
    const config = Result.getOrThrow(parse(text))
    assert.deepEqual(config.retryThrottling, { maxTokens: 10, tokenRatio: 0.1 })
    assert.deepEqual(methodConfig(config, method), {
      timeout: Duration.millis(1_500),
      waitForReady: true,
      retryPolicy: {
        maxAttempts: 4,
        backoff: { initial: Duration.millis(100), multiplier: 2, max: Duration.seconds(1), jitter: 0.2 },
        codes: ["unavailable"],
      },
      hedgingPolicy: undefined,
      maxRequestMessageBytes: 1_000,
      maxResponseMessageBytes: 0,
    })
    assert.deepEqual(ofAll({ hedgingPolicy })?.hedgingPolicy, {
      maxAttempts: 4,
      delay: Duration.millis(500),
      nonFatal: ["unavailable", "internal", "aborted"],
    })
  }))

test("nothing said, null and an empty config say nothing", () =>
  Effect.sync(() => {
    for (const input of [
      {},
      "{}",
      { methodConfig: null, retryThrottling: null },
      { methodConfig: [{ timeout: "1s" }] },
    ]) {
      const config = Result.getOrThrow(parse(input))
      assert.deepEqual([config.methods.size, config.retryThrottling], [0, undefined])
      assert.equal(methodConfig(config, method), undefined)
    }
    const none = { timeout: null, waitForReady: null, retryPolicy: null, hedgingPolicy: null }
    assert.deepEqual(ofAll(none), ofAll({}))
    assert.equal(ofAll({})?.timeout, undefined)
  }))

test("a method's own config counts before its service's, and that before the one for all", () =>
  Effect.sync(() => {
    const config = Result.getOrThrow(
      parse({
        methodConfig: [
          { name: [{}], timeout: "1s" },
          { name: [{ service: "pi.PiCalculator", method: null }, { service: "other" }], timeout: "2s" },
          { name: [{ service: "pi.PiCalculator", method: "Calc" }], timeout: "3s" },
        ],
      }),
    )
    const seconds = (service: string, name: string) => {
      const timeout = methodConfig(config, { ...method, service, name })?.timeout
      return timeout && Duration.toSeconds(timeout)
    }
    assert.deepEqual(
      [
        seconds("pi.PiCalculator", "Calc"),
        seconds("pi.PiCalculator", "CalcStream"),
        seconds("other", "Calc"),
        seconds("pi", "Calc"),
      ],
      [3, 2, 2, 1],
    )
  }))

test("more than five attempts are five", () =>
  Effect.sync(() => {
    assert.equal(ofAll({ retryPolicy: { ...retryPolicy, maxAttempts: 6 } })?.retryPolicy?.maxAttempts, 5)
    assert.equal(ofAll({ hedgingPolicy: { ...hedgingPolicy, maxAttempts: 1_000 } })?.hedgingPolicy?.maxAttempts, 5)
    assert.equal(ofAll({ hedgingPolicy: { ...hedgingPolicy, maxAttempts: 2 } })?.hedgingPolicy?.maxAttempts, 2)
  }))

test("a hedging policy needs no delay and no codes", () =>
  Effect.sync(() => {
    const { hedgingPolicy: made } = ofAll({ hedgingPolicy: { maxAttempts: 2 } }) ?? {}
    assert.deepEqual(made, { maxAttempts: 2, delay: Duration.zero, nonFatal: [] })
  }))

test("what is wrong is named with its place and what is allowed there", () =>
  Effect.sync(() => {
    assert.deepEqual(wrong({ methodConfig: [{ name: [{}], retryPolicy: { ...retryPolicy, maxAttempts: 1 } }] }), [
      "methodConfig[0].retryPolicy.maxAttempts",
      "methodConfig[0].retryPolicy.maxAttempts is 1: give an integer greater than 1",
    ])
    assert.deepEqual(wrong({ methodConfig: [{}, { name: [{ service: "a" }, { method: "b" }] }] }), [
      "methodConfig[1].name[1]",
      "methodConfig[1].name[1] has a method but no service: give both, only the service, or neither",
    ])
    assert.deepEqual(wrong({ retryThrottling: { maxTokens: 10 } }), [
      "retryThrottling.tokenRatio",
      "retryThrottling.tokenRatio is missing: give a number greater than 0",
    ])
    const [path, message] = wrong("{")
    assert.equal(path, "")
    assert.match(message ?? "", /^the service config is no JSON: /)
    assert.deepEqual(wrong("[]"), ["", "the service config is []: give an object"])
    const [, long] = wrong({ methodConfig: [{ timeout: "x".repeat(1_000) }] })
    assert.ok((long ?? "").length < 150)
  }))

test("a name that comes twice is refused", () =>
  Effect.sync(() => {
    const twice = { methodConfig: [{ name: [{ service: "a" }] }, { name: [{}, { service: "a", method: "" }] }] }
    assert.deepEqual(wrong(twice), [
      "methodConfig[1].name[1]",
      "methodConfig[1].name[1] was there before: give each name only once",
    ])
  }))

test("a method is retried or hedged, not both", () =>
  Effect.sync(() => assert.equal(wrong({ methodConfig: [{ retryPolicy, hedgingPolicy }] })[0], "methodConfig[0]")))

const durations = ["", "1", "1s ", "-1s", "1ms", "1.s", ".5s", "1.0000000001s", "1e3s", 1, true, {}]

const refused: ReadonlyArray<readonly [where: string, field: object, key: string, values: ReadonlyArray<unknown>]> = [
  ["retryPolicy", retryPolicy, "maxAttempts", [undefined, null, 0, 1, -3, 2.5, "3"]],
  ["retryPolicy", retryPolicy, "initialBackoff", [undefined, null, "0s", "0.0s", ...durations]],
  ["retryPolicy", retryPolicy, "maxBackoff", [undefined, null, "0s", ...durations]],
  ["retryPolicy", retryPolicy, "backoffMultiplier", [undefined, null, 0, -1, "2"]],
  ["retryPolicy", retryPolicy, "retryableStatusCodes", [undefined, null, [], "UNAVAILABLE", {}]],
  ["hedgingPolicy", hedgingPolicy, "maxAttempts", [undefined, null, 1, "2"]],
  ["hedgingPolicy", hedgingPolicy, "hedgingDelay", durations],
  ["hedgingPolicy", hedgingPolicy, "nonFatalStatusCodes", ["UNAVAILABLE", 14, {}]],
]

test("each rule for policies is kept", () =>
  Effect.sync(() => {
    for (const [where, policy, key, values] of refused) {
      for (const value of values) {
        const at = `methodConfig[0].${where}.${key}`
        assert.equal(wrong({ methodConfig: [{ [where]: { ...policy, [key]: value } }] })[0], at, String(value))
      }
    }
    for (const code of [17, -1, 1.5, "GONE", "", null]) {
      const at = "methodConfig[0].retryPolicy.retryableStatusCodes[1]"
      assert.equal(
        wrong({ methodConfig: [{ retryPolicy: { ...retryPolicy, retryableStatusCodes: [14, code] } }] })[0],
        at,
      )
    }
  }))

test("each rule for the rest is kept", () =>
  Effect.sync(() => {
    const fields: Record<string, ReadonlyArray<unknown>> = {
      name: ["a", {}, [1]],
      timeout: durations,
      waitForReady: ["true", 1],
      retryPolicy: [1, [], "no"],
      hedgingPolicy: [1, []],
      maxRequestMessageBytes: [-1, 1.5, "1"],
      maxResponseMessageBytes: [-1, 1.5, "1"],
    }
    for (const [field, values] of Object.entries(fields)) {
      for (const value of values) {
        const [path] = wrong({ methodConfig: [{ [field]: value }] })
        assert.ok(path?.startsWith(`methodConfig[0].${field}`), `${path} for ${JSON.stringify(value)}`)
      }
    }
    assert.equal(wrong({ methodConfig: [{ name: [{ service: 1 }] }] })[0], "methodConfig[0].name[0].service")
    assert.equal(wrong({ methodConfig: {} })[0], "methodConfig")
    for (const maxTokens of [undefined, 0, -1, 1_001, "10"]) {
      assert.equal(wrong({ retryThrottling: { maxTokens, tokenRatio: 1 } })[0], "retryThrottling.maxTokens")
    }
    for (const tokenRatio of [undefined, 0, -1, "1"]) {
      assert.equal(wrong({ retryThrottling: { maxTokens: 10, tokenRatio } })[0], "retryThrottling.tokenRatio")
    }
  }))

test("whatever JSON is given, it is read or refused, never thrown at", () =>
  property(
    fc.oneof(fc.jsonValue(), fc.record({ methodConfig: fc.array(fc.jsonValue()), retryThrottling: fc.jsonValue() })),
    (json) =>
      Effect.sync(() => {
        const parsed = parse(JSON.stringify(json))
        assert.ok(Result.isSuccess(parsed) || parsed.failure.message.startsWith(parsed.failure.path))
      }),
  ))
