/**
 * grpc-js as a client of our server.
 */
import assert from "node:assert/strict"
import { Effect } from "effect"
import { cases } from "./clients/grpcJs.ts"
import { describeCases, pairs } from "./clients.ts"
import { lines, run } from "./processes.ts"
import { ca, program, secureName, testServed } from "./programs.ts"
import { test } from "./support.ts"
import { hasGzip, wiretap } from "./wiretap.ts"

const file = "tests/interop/clients/grpcJs.ts"

for (const pair of pairs) {
  describeCases("grpc-js", file, cases, pair, ({ host }) => (pair.secure ? [host, ca, secureName] : [host]))
}

test("what grpc-js compresses is gzip on the wire, and so is what it gets", () =>
  Effect.gen(function* () {
    const { host, sent, received } = yield* wiretap(yield* testServed("bun"))
    const only = { ONLY_CASE: "messages compressed with gzip" }
    const printed = lines(yield* run({ ...program("bun", file, [host]), env: only }))
    assert.equal(printed.length, 1)
    assert.ok(hasGzip(sent()))
    assert.ok(hasGzip(received()))
  }))
