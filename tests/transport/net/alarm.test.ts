import assert from "node:assert/strict"
import { Effect } from "effect"
import { Alarm } from "../../../src/transport/net/alarm.ts"
import { test } from "../../effect.ts"

test("an alarm that is set to a time that is long gone rings at once, and the runtime warns of nothing", () =>
  Effect.gen(function* () {
    const warnings: Array<Error> = []
    const warned = (warning: Error) => void warnings.push(warning)
    process.on("warning", warned)
    yield* Effect.addFinalizer(() => Effect.sync(() => process.off("warning", warned)))
    // It is the only thing that there is to wait for, and keeps nothing running.
    const waits = setInterval(() => {}, 1000)
    yield* Effect.addFinalizer(() => Effect.sync(() => clearInterval(waits)))
    yield* Effect.callback<void>((resume) => {
      const alarm = new Alarm({
        ring: () => {
          resume(Effect.void)
          return Number.POSITIVE_INFINITY
        },
      })
      alarm.set(performance.now() - 5000)
    })
    // Warnings are told in a later turn.
    yield* Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))
    assert.deepEqual(warnings, [])
  }))
