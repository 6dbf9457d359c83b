/**
 * grpcio's clients against a server of several processes, which hangs them where grpcio's own is forked, and its client of
 * gRPC's health service.
 */
import assert from "node:assert/strict"
import { Effect } from "effect"
import { grpcio } from "./grpcio.ts"
import { numbersOf, upTo } from "./numbers.ts"
import { runtimes, served } from "./programs.ts"
import { test } from "./support.ts"

test("64 connections to workers get all their answers", () =>
  Effect.gen(function* () {
    const { host } = yield* served(["--workers", "2"])
    const printed = yield* grpcio("channels_client.py", host)
    assert.deepEqual(numbersOf(printed), upTo(640))
  }))

for (const runtime of runtimes) {
  test(`grpcio understands what our server on ${runtime} says of its health`, () =>
    Effect.gen(function* () {
      const { host } = yield* served([], runtime)
      const printed = yield* grpcio("health_client.py", host, "", "pi.PiCalculator", "pi.Nobody")
      assert.deepEqual(printed, [
        "Check  SERVING",
        "Watch  SERVING",
        "Check pi.PiCalculator SERVING",
        "Watch pi.PiCalculator SERVING",
        "Check pi.Nobody NOT_FOUND",
        "Watch pi.Nobody SERVICE_UNKNOWN",
      ])
    }))
}
