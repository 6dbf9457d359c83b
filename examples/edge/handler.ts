// The calculator as a function from Request to Response: all that the edge needs.
import { Calculator, deadline, Journal } from "basel/core"
import { Service, toFetch } from "basel/transport"
import { Effect, Scope } from "effect"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"

const program = Effect.gen(function* () {
  const journal = yield* Journal.open(({ text }) => Effect.logInfo(text))
  return yield* toFetch(Service.make(PiCalculator, Calculator.make({ journal })).pipe(deadline("30 seconds")))
})

// A scope that never closes: the journal stays open as long as the process lives.
export const handler = await Effect.runPromise(Effect.provideService(program, Scope.Scope, Scope.makeUnsafe()))
