/**
 * The calculator without layers.
 */
import process from "node:process"
import { Effect } from "effect"
import { Calculator, Journal } from "../../src/core/mod.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { Service, serve } from "../../src/transport/mod.ts"

const program = Effect.gen(function* () {
  const journal = yield* Journal.open(() => Effect.void)
  const { url } = yield* serve(Service.make(PiCalculator, Calculator.make({ journal })), {
    port: 0,
    peerShare: 1,
    memory: { peerShare: 1 },
  })
  process.stdout.write(`listening on ${url}\n`)
  return yield* Effect.never
})

Effect.runFork(Effect.scoped(program))
