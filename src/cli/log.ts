/**
 * What the command says as it runs: its `Console` and its log, over a `Sink` for each of the two outputs. Nothing in it holds up
 * the command, and a text of others stays in the line that it is part of.
 */
import { format, inspect } from "node:util"
import { Cause, Console, Effect, Logger, type LogLevel } from "effect"
import { escaped, lines, printableCause } from "../core/rpc/printable.ts"
import { Sink } from "./sink.ts"
import { standardOutput } from "./standardOutput.ts"

const clock = (date: Date): string => {
  const two = (part: number) => `${part}`.padStart(2, "0")
  const millis = `${date.getMilliseconds()}`.padStart(3, "0")
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${millis}`
}

interface Entry {
  readonly date: Date
  readonly logLevel: LogLevel.LogLevel
  readonly message: unknown
  readonly cause: Cause.Cause<unknown>
}

const texts = (message: unknown): ReadonlyArray<string> =>
  (Array.isArray(message) ? message : [message]).map((part: unknown) =>
    typeof part === "string" ? escaped(part) : lines(inspect(part)).join("\n  "),
  )

/**
 * An entry of the log: one line, and what belongs to it in lines that begin with spaces. No text in it can pass for another
 * entry.
 */
export const entryText = ({ date, logLevel, message, cause }: Entry): string => {
  const first = `[${clock(date)}] ${logLevel.toUpperCase()}: ${texts(message).join(" ")}`
  if (cause.reasons.length === 0) return first
  return [first, ...lines(Cause.pretty(printableCause(cause)))].join("\n  ")
}

/** The two outputs of this process. */
export const out = new Sink(standardOutput(1))
export const err = new Sink(standardOutput(2))

const writeTo =
  (sink: Sink) =>
  (...args: ReadonlyArray<unknown>): void =>
    sink.write(format(...args))

const toOut = writeTo(out)
const toErr = writeTo(err)

/** Effect's own console, but for the methods that write lines. */
const console: Console.Console = Object.assign(Object.create(globalThis.console), {
  ...{ log: toOut, info: toOut, debug: toOut },
  ...{ error: toErr, warn: toErr },
})

const logger = Logger.make<unknown, void>(({ fiber, ...entry }) =>
  (fiber.getRef(Logger.LogToStderr) ? err : out).write(entryText(entry)),
)

/** Lets a program print and log over the two sinks. */
export const withOutputs = <A, E, R>(program: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  program.pipe(
    Effect.provideService(Console.Console, console),
    Effect.provideService(Logger.CurrentLoggers, new Set([logger, Logger.tracerLogger])),
  )

/** Ends when all that was said has left, or after a second: nobody waits longer for a reader that stalls. */
export const flushed = async (): Promise<void> => {
  await Promise.all([out.flushed(1000), err.flushed(1000)])
}
