/**
 * A server in a process of its own, that answers each call with how much memory it has resident, in bytes.
 */
import { Console, Effect } from "effect"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { serve } from "../../../src/transport/server.ts"
import * as Service from "../../../src/transport/service.ts"

const service = Service.partial(PiCalculator, { calc: () => Effect.sync(() => ({ value: process.memoryUsage().rss })) })

const program = Effect.gen(function* () {
  const { port } = yield* serve(service, { port: 0, grace: "1 minute", peerShare: 1 })
  yield* Console.log(`port ${port}`)
  process.once("SIGTERM", () => fiber.interruptUnsafe())
  return yield* Effect.never
})

const fiber = Effect.runFork(Effect.scoped(program))
