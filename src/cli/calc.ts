/**
 * `basel calc`: a unary call a number.
 */
import { Effect, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { clientFlags, piClient } from "./client.ts"
import { numberFlag } from "./number.ts"
import { numbers, numbersArgument } from "./numbers.ts"
import { jsonFlag, pointLine, printLines } from "./output.ts"

export const calc = Command.make(
  "calc",
  {
    numbers: numbersArgument,
    ...clientFlags,
    json: jsonFlag,
    concurrency: numberFlag("concurrency", { min: 1, max: 10_000 }).pipe(
      Flag.withDescription("How many calls may run at once; answers keep their order"),
      Flag.withDefault(1),
    ),
  },
  Effect.fnUntraced(function* (options) {
    const client = yield* piClient(options)
    const points = Stream.mapEffect(
      numbers(options.numbers),
      (n) => Effect.map(client.calc({ n }), ({ value }) => ({ n, value })),
      { concurrency: options.concurrency },
    )
    yield* printLines(Stream.map(points, pointLine(options.json)))
  }, Effect.scoped),
).pipe(
  Command.withDescription("Ask for pi(n), a call for each number"),
  Command.withExamples([
    { command: "basel calc 999", description: "One call" },
    { command: "basel calc 1..999 --concurrency 4", description: "999 calls, four at a time" },
    { command: "seq 1 999 | basel calc --json", description: "Numbers from standard input" },
  ]),
)
