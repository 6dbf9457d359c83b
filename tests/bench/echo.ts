/**
 * Echoes messages, as a service of ours with the layers that `basel serve` has.
 */
import process from "node:process"
import { Effect } from "effect"
import { concurrencyLimit, deadline } from "../../src/core/mod.ts"
import { compression, Service, serve } from "../../src/transport/mod.ts"
import { Echo } from "./gen/echo_pb.ts"

const program = Effect.gen(function* () {
  const echo = Service.make(Echo, { echo: (chunks) => chunks }).pipe(
    deadline({ max: "10 minutes" }),
    concurrencyLimit(10_000),
    compression(),
  )
  const { url } = yield* serve(echo, { port: 0, peerShare: 1, memory: { peerShare: 1 } })
  process.stdout.write(`listening on ${url}\n`)
  return yield* Effect.never
})

process.on("SIGTERM", () => process.exit(0))
Effect.runFork(Effect.scoped(program))
