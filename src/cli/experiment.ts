/**
 * `basel experiment`: the tutorial's experiment, one after another against several at a time.
 */
import { Console, Duration, Effect, Option, type PlatformError, Stdio, Stream, Terminal } from "effect"
import { Command, Flag, TerminalCapabilities } from "effect/cli"
import { maxCalls, measure } from "../core/pi/experiment.ts"
import { type ClientOptions, clientFlags, piClient } from "./client.ts"
import { type Measurement, measurementJson, measurementLines, type Paper } from "./measurements.ts"
import { numberFlag } from "./number.ts"
import { jsonFlag, printLines, showProgress } from "./output.ts"
import { ownServer } from "./ownServer.ts"

const atATimes = [1, 4, 16, 64] as const
const mostAtATime = Math.max(...atATimes)

const usualColumns = 80

const paperInUse = Effect.gen(function* () {
  const terminal = yield* Terminal.Terminal
  const { canColor } = yield* Effect.catchDefect(TerminalCapabilities.TerminalCapabilities, () =>
    // Deno asks for a permission to look at NO_COLOR, which nobody must give.
    Effect.succeed({ canColor: false }),
  )
  // A file has no columns.
  return { columns: (yield* terminal.columns) || usualColumns, colors: canColor } satisfies Paper
})

interface ExperimentOptions extends ClientOptions {
  readonly calls: number
  /** How long the server waits before each call, if that is known. */
  readonly delayMillis: number | undefined
  /** Is told of each measurement as it is there. */
  readonly measured: (measurement: Measurement) => Effect.Effect<void, PlatformError.PlatformError, Stdio.Stdio>
}

/** Measures one server over one connection, each number of calls at a time in its turn. */
const measureServer = Effect.fnUntraced(function* ({ calls, delayMillis, measured, ...options }: ExperimentOptions) {
  const client = yield* piClient(options)
  const progress = { atATime: 0, answered: 0 }
  const url = Option.getOrElse(options.address, () => "the servers that are found")
  const where = delayMillis === undefined ? url : `${delayMillis} ms on the server`
  yield* showProgress(() => `${where}, ${progress.atATime} at a time: ${progress.answered} of ${calls} answered`)
  const timed = Effect.fnUntraced(function* (atATime: number) {
    Object.assign(progress, { atATime, answered: 0 })
    const calc: typeof client.calc = (request) =>
      Effect.tap(client.calc(request), () =>
        Effect.sync(() => {
          progress.answered += 1
        }),
      )
    const seconds = Duration.toSeconds(yield* measure(calc, { calls, atATime }))
    return { delayMillis, calls, atATime, seconds } satisfies Measurement
  })
  // Not counted: code that runs for the first time is slow, and would be so in the first row only.
  yield* timed(mostAtATime)
  return yield* Effect.forEach(atATimes, (atATime) => Effect.tap(timed(atATime), measured))
}, Effect.scoped)

const measureOwnServer = (delayMillis: number, options: Omit<ExperimentOptions, "address" | "delayMillis">) =>
  Effect.scoped(
    Effect.flatMap(ownServer(delayMillis), (address) =>
      measureServer({ ...options, address: Option.some(address), delayMillis }),
    ),
  )

/** What shows, where there is no terminal for a counter, that something goes on. */
const noted = ({ delayMillis, atATime, seconds }: Measurement) =>
  Effect.flatMap(Stdio.Stdio, ({ stderrIsTerminal }) =>
    Effect.flatMap(stderrIsTerminal, (isTerminal) => {
      const where = delayMillis === undefined ? "" : `${delayMillis} ms on the server, `
      return isTerminal ? Effect.void : Console.error(`${where}${atATime} at a time: ${seconds.toFixed(3)} s`)
    }),
  )

export const experiment = Command.make(
  "experiment",
  {
    ...clientFlags,
    address: Flag.String("address").pipe(
      Flag.withDescription("Where the server is; by default it starts its own, one without and one with a delay"),
      Flag.withMetavar("url"),
      Flag.optional,
    ),
    calls: numberFlag("calls", { min: 1, max: maxCalls }).pipe(
      Flag.withDescription("How many calls to make each time"),
      Flag.withDefault(999),
    ),
    json: jsonFlag,
  },
  Effect.fnUntraced(function* ({ address, json, ...options }) {
    const paper = yield* paperInUse
    const named = Option.isSome(address) || Option.isSome(options.discover)
    const measured = json ? (one: Measurement) => printLines(Stream.succeed(measurementJson(one))) : noted
    const all = { ...options, measured }
    const measurements = named
      ? yield* measureServer({ ...all, address, delayMillis: undefined })
      : (yield* Effect.forEach([0, 10], (delay) => measureOwnServer(delay, all))).flat()
    if (!json) yield* printLines(Stream.fromIterable(measurementLines(measurements, paper)))
  }),
).pipe(
  Command.withDescription("The tutorial's experiment: 999 calls one after another, then several at a time"),
  Command.withExamples([
    { command: "basel experiment", description: "Against servers of its own, without and with 10 ms a call" },
    { command: "basel experiment --address http://127.0.0.1:8080", description: "Against one that runs already" },
  ]),
)
