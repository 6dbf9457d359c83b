import assert from "node:assert/strict"
import { Cause, Effect, Exit } from "effect"
import { Call, noResponse, path, sendHeader, sendTrailer } from "../../../src/core/rpc/call.ts"
import { test } from "../../effect.ts"
import { callWith, method } from "../support.ts"

const send = Effect.gen(function* () {
  yield* sendHeader({ "X-First": "1", both: ["2", "3"] })
  yield* sendTrailer({ last: "4" })
  yield* sendHeader([["both", "5"]])
  yield* sendTrailer({ "last-bin": new Uint8Array([6]) })
})

test("a path has the service's full name and the method's", () =>
  Effect.sync(() => assert.equal(path(method), "/pi.PiCalculator/Calc")))

test("metadata that is sent adds up, header and trailer each in order", () =>
  Effect.gen(function* () {
    const call = callWith()
    yield* Effect.provideService(send, Call, call)
    assert.deepEqual(call.response.header, [
      ["x-first", "1"],
      ["both", "2"],
      ["both", "3"],
      ["both", "5"],
    ])
    assert.deepEqual(call.response.trailer, [
      ["last", "4"],
      ["last-bin", new Uint8Array([6])],
    ])
  }))

test("metadata is sent when the effect runs, once each time it runs", () =>
  Effect.gen(function* () {
    const call = callWith()
    const once = Effect.provideService(sendHeader({ a: "1" }), Call, call)
    assert.deepEqual(call.response.header, [])
    yield* once
    yield* once
    assert.deepEqual(call.response.header, [
      ["a", "1"],
      ["a", "1"],
    ])
  }))

test("metadata that can't be sent is a defect of the program, and nothing of it is sent", () =>
  Effect.gen(function* () {
    for (const bad of [sendHeader, sendTrailer]) {
      const call = callWith()
      const exit = yield* Effect.exit(Effect.provideService(bad({ fine: "1", "bad key": "2" }), Call, call))
      assert.ok(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
      assert.deepEqual(call.response, noResponse())
    }
  }))
