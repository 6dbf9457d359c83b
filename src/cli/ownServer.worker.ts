/**
 * The thread of `ownServer`: serves what `basel serve` does, on any free port, and tells its starter where.
 */
import { parentPort, workerData } from "node:worker_threads"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Duration, Effect, Option } from "effect"
import { defaults, listening } from "./serve.ts"

const delayMillis = Number(workerData)

Effect.runFork(
  listening({
    ...defaults,
    port: 0,
    delay: delayMillis > 0 ? Option.some(Duration.millis(delayMillis)) : Option.none(),
  }).pipe(
    Effect.match({ onSuccess: ({ url }) => ({ url }), onFailure: ({ message }) => ({ message }) }),
    Effect.andThen((outcome) => Effect.sync(() => parentPort?.postMessage(outcome))),
    Effect.andThen(Effect.never),
    Effect.scoped,
    Effect.provide(NodeServices.layer),
  ),
)
