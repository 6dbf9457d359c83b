import assert from "node:assert/strict"
import { Cause, Effect, Exit } from "effect"
import { toFetch } from "../../src/transport/fetch.ts"
import { test } from "../effect.ts"
import { pi, start } from "./support.ts"

test("two services of the same name are not served, and the error names them", () =>
  Effect.gen(function* () {
    for (const served of [start([pi, pi]), toFetch([pi, pi])]) {
      const exit = yield* Effect.exit(Effect.asVoid<unknown, unknown, never>(served as Effect.Effect<unknown>))
      assert.ok(Exit.isFailure(exit))
      assert.match(String(Cause.squash(exit.cause)), /^Error: two services are called pi\.PiCalculator: /)
    }
  }))
