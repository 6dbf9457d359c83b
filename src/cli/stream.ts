/**
 * `basel stream`: all numbers as one stream of requests, of which the server answers about half.
 */
import { Effect, Stream } from "effect"
import { Command } from "effect/cli"
import { clientFlags, piClient } from "./client.ts"
import { blame, numbersArgument, requests } from "./numbers.ts"
import { jsonFlag, pointLine, printLines } from "./output.ts"

export const stream = Command.make(
  "stream",
  { numbers: numbersArgument, ...clientFlags, json: jsonFlag },
  Effect.fnUntraced(function* (options) {
    const client = yield* piClient(options)
    const points = Stream.mapError(client.calcStream(requests(options.numbers)), blame)
    yield* printLines(Stream.map(points, pointLine(options.json)))
  }, Effect.scoped),
).pipe(
  Command.withDescription("Send numbers as a stream; about half of them are answered"),
  Command.withExamples([
    { command: "basel stream 1..999", description: "999 requests in one call" },
    { command: "seq 1 999 | basel stream", description: "Numbers from standard input, sent as they are read" },
  ]),
)
