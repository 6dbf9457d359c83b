/**
 * `basel summarize`: a stream of requests, one answer.
 */
import { Effect, Stream } from "effect"
import { Command } from "effect/cli"
import { clientFlags, piClient } from "./client.ts"
import { blame, numbersArgument, requests } from "./numbers.ts"
import { jsonFlag, printLines } from "./output.ts"

export const summarize = Command.make(
  "summarize",
  { numbers: numbersArgument, ...clientFlags, json: jsonFlag },
  Effect.fnUntraced(function* (options) {
    const client = yield* piClient(options)
    const { count, min, max, meanError } = yield* Effect.mapError(client.summarize(requests(options.numbers)), blame)
    yield* printLines(
      Stream.succeed(
        options.json
          ? JSON.stringify({ count, min, max, meanError })
          : `count ${count}, min ${min}, max ${max}, mean error ${meanError}`,
      ),
    )
  }, Effect.scoped),
).pipe(
  Command.withDescription("Send numbers as a stream and get one answer about all of them"),
  Command.withExamples([{ command: "basel summarize 1..999", description: "Count, least, greatest, mean error" }]),
)
