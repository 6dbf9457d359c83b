import assert from "node:assert/strict"
import { describe } from "node:test"
import { Cause, Effect, Exit, Option, Stream } from "effect"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { Call } from "../../../src/core/rpc/call.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import type { Metadata } from "../../../src/core/rpc/metadata.ts"
import { test } from "../../effect.ts"
import { clientOf, echo, kinds, type Logged, logInto, serving, testEachKind } from "../support.ts"

const unsendable: ReadonlyArray<readonly [string, Metadata]> = [
  ["a line break in a value", [["x-a", "b\r\nx-evil: 1"]]],
  ["NUL in a value", [["x-a", "\0"]]],
  ["upper case in a key", [["X-A", "b"]]],
  ["a line break in a key", [["x-a\r\nx-evil", "b"]]],
  ["a key of HTTP/1.1's connection", [["connection", "close"]]],
  ["te", [["te", "trailers"]]],
  ["a key of gRPC", [["grpc-status", "0"]]],
  ["a pseudo-header", [[":path", "/"]]],
  ["text under a key for bytes", [["x-bin", "text"]]],
]

const errorOf = (exit: Exit.Exit<unknown, RpcError>): RpcError => {
  assert.ok(Exit.isFailure(exit))
  return Option.getOrThrow(Cause.findErrorOption(exit.cause))
}

describe("a client's call with metadata that can't be sent", () => {
  for (const [what, metadata] of unsendable) {
    testEachKind(`fails with internal, names the key and reaches nobody: ${what}`, ({ ask }) =>
      Effect.gen(function* () {
        let reached = 0
        const service = echo.pipe(
          intercept((call, next) =>
            Effect.suspend(() => {
              reached += 1
              return next(call)
            }),
          ),
        )
        const client = yield* clientOf(
          service,
          intercept((call, next) => next({ ...call, metadata })),
        )
        const error = errorOf(yield* Effect.exit(ask(client)))
        assert.equal(error.code, "internal")
        assert.match(error.message, /^pi\.PiCalculator|^\/pi\.PiCalculator/)
        assert.match(error.message, /^[\x20-\x7e]*$/)
        assert.doesNotMatch(error.message, /x-evil: 1/)
        assert.equal(reached, 0)
      }),
    )
  }
})

describe("a response in memory with metadata that can't be sent", () => {
  const evil: Metadata = [["x-a", "b\r\nx-evil: 1"]]
  const programs = {
    header: Effect.map(Call, ({ response }) => {
      response.header = evil
    }),
    trailer: Effect.map(Call, ({ response }) => {
      response.trailer = evil
    }),
    error: Effect.fail(new RpcError({ code: "not_found", message: "no", metadata: evil })),
  }
  for (const [where, first] of Object.entries(programs)) {
    testEachKind(`is internal to the client, and the log names the key: ${where}`, ({ ask }) =>
      Effect.gen(function* () {
        const lines: Array<Logged> = []
        yield* Effect.gen(function* () {
          const client = yield* clientOf(serving<Call>(first))
          const error = errorOf(yield* Effect.exit(ask(client)))
          assert.deepEqual([error.code, error.message], ["internal", "internal error"])
          assert.deepEqual([error.header, error.metadata], [[], []])
        }).pipe(Effect.provide(logInto(lines)))
        assert.equal(lines.length, 1)
        assert.match(lines[0]?.text ?? "", /pi\.PiCalculator\/\w+ .*"x-a"/)
        assert.doesNotMatch(lines[0]?.text ?? "", /evil/)
      }),
    )
  }
})

test("metadata that was found to be sendable once may go with any number of calls", () =>
  Effect.gen(function* () {
    const metadata: Metadata = [["x-a", "b"]]
    const client = yield* clientOf(
      echo,
      intercept((call, next) => next({ ...call, metadata })),
    )
    for (const { ask, answers } of [...kinds, ...kinds]) assert.deepEqual(yield* ask(client), answers)
    assert.equal(yield* Stream.runCount(client.calcRange({ first: 1, last: 2 })), 2)
  }))
