/**
 * `basel range`: one request, a stream of answers.
 */
import { Effect, Stream } from "effect"
import { Command } from "effect/cli"
import { clientFlags, piClient } from "./client.ts"
import { rangeArgument } from "./numbers.ts"
import { jsonFlag, pointLine, printLines } from "./output.ts"

export const range = Command.make(
  "range",
  { range: rangeArgument, ...clientFlags, json: jsonFlag },
  Effect.fnUntraced(function* (options) {
    const client = yield* piClient(options)
    yield* printLines(Stream.map(client.calcRange(options.range), pointLine(options.json)))
  }, Effect.scoped),
).pipe(
  Command.withDescription("Ask once for every pi(n) of a range; each comes as soon as it is ready"),
  Command.withExamples([{ command: "basel range 1..999", description: "One request, 999 answers" }]),
)
