import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Stream } from "effect"
import { retry } from "../../../src/core/layers/retry.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { protocols } from "../../../src/transport/channel.ts"
import { test } from "../../effect.ts"
import { dial, start } from "../../transport/support.ts"
import { clientOf, echo, type PiClient } from "../support.ts"

const boom = new TypeError("boom")
const requests = Stream.concat(Stream.make({ n: 1 }), Stream.die(boom))

const calls = ({ summarize, calcStream }: PiClient) => [
  ["Summarize", Effect.flip(summarize(requests))] as const,
  ["CalcStream", Effect.flip(Stream.runDrain(calcStream(requests)))] as const,
]

describe("a call whose own stream of requests dies", () => {
  const clients = {
    "in memory": clientOf(echo),
    "with retries": clientOf(echo, retry({ methods: "all" })),
    ...Object.fromEntries(
      protocols.map((protocol) => [protocol, Effect.flatMap(start(echo), (server) => dial(server, { protocol }))]),
    ),
  }
  for (const [where, made] of Object.entries(clients)) {
    test(`fails with that defect, and says whose it is: ${where}`, () =>
      Effect.gen(function* () {
        for (const [name, call] of calls(yield* made)) {
          const { code, message, cause } = yield* call
          assert.equal(code, "internal")
          assert.equal(
            message,
            `the stream of requests that /pi.PiCalculator/${name} was called with died: TypeError: boom`,
          )
          assert.equal(cause, boom)
        }
      }))
  }

  test("and one that fails with an error of its own has that error", () =>
    Effect.gen(function* () {
      const mine = new RpcError({ code: "aborted", message: "mine" })
      const { summarize } = yield* clientOf(echo)
      assert.equal((yield* Effect.flip(summarize(Stream.fail(mine)))).message, "mine")
    }))
})
