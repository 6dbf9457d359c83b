import assert from "node:assert/strict"
import { inspect } from "node:util"
import { Cause, Effect } from "effect"
import { errorInfo } from "../../../src/core/rpc/details.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { test } from "../../effect.ts"

test("an error has what it was made of", () =>
  Effect.sync(() => {
    const fields = {
      code: "not_found",
      message: "no such user",
      details: [errorInfo({ reason: "NO_USER", domain: "example.org" })],
      metadata: [["x-user", "7"]],
      cause: new Error("no row"),
    } as const
    const { code, message, details, metadata, cause } = new RpcError(fields)
    assert.deepEqual({ code, message, details, metadata, cause }, fields)
  }))

test("details and metadata that are left out are empty", () =>
  Effect.sync(() => {
    const error = new RpcError({ code: "aborted", message: "again" })
    assert.deepEqual([error.details, error.metadata, error.cause], [[], [], undefined])
  }))

test("an error is an Error, is caught by its tag, and fails the program that yields it", () =>
  Effect.gen(function* () {
    const error = new RpcError({ code: "aborted", message: "again" })
    assert.ok(error instanceof Error)
    const program = Effect.gen(function* () {
      return yield* error
    })
    assert.equal(yield* Effect.catchTag(program, "RpcError", (caught) => Effect.succeed(caught)), error)
  }))

test("an error that nobody catches says its code, and on a client its method, and nothing raw", () =>
  Effect.sync(() => {
    const plain = new RpcError({ code: "aborted", message: "again" })
    const ofCall = new RpcError({ code: "aborted", message: "\u001b[2J\nagain", method: "pi.PiCalculator/Calc" })
    assert.equal(`${plain}`, "RpcError [aborted]: again")
    assert.equal(`${ofCall}`, "RpcError [aborted, pi.PiCalculator/Calc]: \\u001b[2J\\nagain")
    assert.match(Cause.pretty(Cause.fail(plain)), /^RpcError \[aborted\]: again\n/)
    const shown = inspect(new RpcError({ code: "aborted", message: "\u001b[2J", metadata: [["x-a", "b"]] }))
    assert.match(shown, /^RpcError \[aborted\]: \\u001b\[2J\n +at .*error\.test.*x-a/s)
    assert.equal(ofCall.message, "\u001b[2J\nagain")
  }))
