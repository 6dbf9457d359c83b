/**
 * `basel report`: a one-way message.
 */
import { timestampNow } from "@bufbuild/protobuf/wkt"
import { Effect, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { levels } from "../core/pi/journal.ts"
import { clientFlags, piClient } from "./client.ts"
import { jsonFlag, printLines } from "./output.ts"

export const report = Command.make(
  "report",
  {
    text: Argument.String("text").pipe(Argument.withDescription("What happened")),
    level: Flag.Literals("level", levels).pipe(Flag.withDescription("How bad it is"), Flag.withDefault("info")),
    ...clientFlags,
    json: jsonFlag,
  },
  Effect.fnUntraced(function* ({ text, level, ...options }) {
    const client = yield* piClient(options)
    yield* client.report({ time: timestampNow(), level, text })
    yield* printLines(Stream.succeed(options.json ? JSON.stringify({ reported: true }) : "reported"))
  }, Effect.scoped),
).pipe(
  Command.withDescription("Hand the server a log entry; it answers before the entry is kept"),
  Command.withExamples([{ command: 'basel report "disk is full" --level warning', description: "One entry" }]),
)
