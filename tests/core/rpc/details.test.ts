import assert from "node:assert/strict"
import { test } from "node:test"
import { fromJson, fromJsonString } from "@bufbuild/protobuf"
import { DurationSchema } from "@bufbuild/protobuf/wkt"
import { Duration } from "effect"
import fc from "fast-check"
import { badRequest, type Detail, errorInfo, findDetail, retryInfo } from "../../../src/core/rpc/details.ts"
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../../src/transport/gen/google/rpc/error_details_pb.ts"

const violation = { field: "items[2].n", description: "should be positive", reason: "NUMBER_NOT_POSITIVE" }
const info = { reason: "API_DISABLED", domain: "example.org", metadata: { service: "pi" } }

const delayText = (delay: Duration.Input) => findDetail([retryInfo(delay)], "google.rpc.RetryInfo")?.retryDelay

test("each constructor makes the message of google.rpc that it is named after, in its JSON form", () => {
  const made = [
    [BadRequestSchema, badRequest([violation]), { fieldViolations: [violation] }],
    [ErrorInfoSchema, errorInfo(info), info],
    [RetryInfoSchema, retryInfo("1500 millis"), { retryDelay: "1.5s" }],
  ] as const
  for (const [schema, detail, value] of made) {
    assert.deepEqual(detail, { type: schema.typeName, value })
    // Protobuf refuses fields that it doesn't know.
    assert.doesNotThrow(() => fromJsonString(schema, JSON.stringify(detail.value)))
  }
})

test("a retry's delay is seconds with an s behind", () => {
  for (const [delay, text] of [
    ["0 millis", "0s"],
    ["1 second", "1s"],
    ["10 seconds", "10s"],
    ["1 millis", "0.001s"],
    ["1 hour", "3600s"],
    ["100 nanos", "0.0000001s"],
  ] as const) {
    assert.equal(delayText(delay), text)
  }
})

test("a retry's delay is a duration that protobuf reads as the same, to the nanosecond", () => {
  const tenYears = 10n * 365n * 24n * 3600n * 1_000_000_000n
  const nanos = fc.oneof(fc.bigInt(0n, 1_000n), fc.bigInt(0n, 1_000_000_000n), fc.bigInt(0n, tenYears))
  fc.assert(
    fc.property(nanos, (nanos) => {
      const text = delayText(Duration.nanos(nanos)) ?? ""
      const read = fromJson(DurationSchema, text)
      // A number of seconds has 15 digits to give.
      const off = Number(read.seconds * 1_000_000_000n + BigInt(read.nanos) - nanos)
      assert.ok(Math.abs(off) <= Math.max(1, Number(nanos) * 1e-15), `${text} for ${nanos} ns`)
    }),
  )
})

test("the first detail of a type is found, and none where there is none", () => {
  const details: ReadonlyArray<Detail> = [
    { type: "pi.Other", value: {} },
    errorInfo(info),
    errorInfo({ reason: "SECOND", domain: "example.org" }),
  ]
  assert.deepEqual(findDetail(details, "google.rpc.ErrorInfo"), info)
  assert.equal(findDetail(details, "google.rpc.BadRequest"), undefined)
  assert.equal(findDetail([], "google.rpc.BadRequest"), undefined)
})

test("a detail that came as bytes is passed over: its fields are not known", () => {
  const bytes = { type: "google.rpc.ErrorInfo", value: new Uint8Array([1]) }
  assert.equal(findDetail([bytes], "google.rpc.ErrorInfo"), undefined)
  assert.deepEqual(findDetail([bytes, errorInfo(info)], "google.rpc.ErrorInfo"), info)
})
