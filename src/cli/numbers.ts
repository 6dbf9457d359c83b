/**
 * The numbers that a command works on: arguments such as `999` and `1..999`, or else the lines of standard input.
 */
import { Console, Effect, type PlatformError, Result, Stdio, Stream } from "effect"
import { Argument, CliError } from "effect/cli"
import { RpcError } from "../core/rpc/error.ts"
import { quoted } from "../core/rpc/printable.ts"
import { UsageError } from "./failure.ts"

/** Every n with first <= n <= last; one number is a range of one. */
export interface Range {
  readonly first: number
  readonly last: number
}

const minInt32 = -(2 ** 31)
const maxInt32 = 2 ** 31 - 1
const pattern = /^(-?\d+)(?:\.\.(-?\d+))?$/

/** A number or a range as a person writes it; what would have been right otherwise. */
export const parseRange = (text: string): Result.Result<Range, string> => {
  const match = pattern.exec(text)
  if (match === null) return Result.fail("a number such as 999 or a range such as 1..999")
  const first = Number(match[1])
  const last = match[2] === undefined ? first : Number(match[2])
  if (Math.min(first, last) < minInt32 || Math.max(first, last) > maxInt32) {
    return Result.fail(`numbers from ${minInt32} to ${maxInt32}`)
  }
  return last < first ? Result.fail("the smaller number first, as in 1..999") : Result.succeed({ first, last })
}

const parseArgument = (name: string) => (text: string) =>
  Effect.mapError(
    Effect.fromResult(parseRange(text)),
    (expected) => new CliError.InvalidValue({ option: name, value: text, expected, kind: "argument" }),
  )

/** One argument that is a range. */
export const rangeArgument = Argument.String("range").pipe(
  Argument.withDescription("a range such as 1..999"),
  Argument.mapEffect(parseArgument("range")),
)

/** Any number of arguments, each a number or a range. */
export const numbersArgument = Argument.String("numbers").pipe(
  Argument.withDescription("numbers and ranges, such as 5 1..999; without any, lines of standard input"),
  Argument.mapEffect(parseArgument("numbers")),
  Argument.variadic(),
)

const ofRange = ({ first, last }: Range): Stream.Stream<number> => Stream.range(first, last)

// What most lines are: a number that needs no look at its bounds.
const plain = /^\d{1,9}$/

const invalidLine = (line: string, expected: string): UsageError =>
  new UsageError({ message: `Invalid line of standard input: ${quoted(line)}. Expected: ${expected}` })

/** The numbers of some lines: those that stand alone together, which costs a tenth of one after another. */
const ofLines = (lines: ReadonlyArray<string>): ReadonlyArray<Stream.Stream<number, UsageError>> => {
  const parts: Array<Stream.Stream<number, UsageError>> = []
  let alone: Array<number> = []
  const cut = () => {
    if (alone.length > 0) parts.push(Stream.fromArray(alone))
    alone = []
  }
  for (const text of lines) {
    const line = text.trim()
    if (line === "") continue
    if (plain.test(line)) {
      alone.push(Number(line))
      continue
    }
    const range = parseRange(line)
    if (Result.isSuccess(range) && range.success.first === range.success.last) {
      alone.push(range.success.first)
      continue
    }
    cut()
    parts.push(Result.isFailure(range) ? Stream.fail(invalidLine(line, range.failure)) : ofRange(range.success))
  }
  cut()
  return parts
}

const prompt = "reading numbers and ranges from standard input, one a line; Ctrl-D ends it, --help says more"

const ofInput = Stream.unwrap(
  Effect.gen(function* () {
    const { stdin, stdinIsTerminal } = yield* Stdio.Stdio
    // Who sits there would wait for us, and we for them.
    if (yield* stdinIsTerminal) yield* Console.error(prompt)
    return stdin
  }),
).pipe(
  (bytes) => Stream.decodeText(bytes),
  Stream.splitLines,
  Stream.mapArray((lines) => [ofLines(lines)] as const),
  Stream.flatMap((parts) => Stream.flatten(Stream.fromIterable(parts))),
)

/** The numbers of the arguments, or of standard input if there are none, as they come. */
export const numbers = (
  ranges: ReadonlyArray<Range>,
): Stream.Stream<number, UsageError | PlatformError.PlatformError, Stdio.Stdio> =>
  ranges.length === 0 ? ofInput : Stream.flatMap(Stream.fromIterable(ranges), ofRange)

/**
 * The same numbers as the requests of one call. What is wrong with them ends the call; `blame` gives it back to who
 * reads the answers.
 */
export const requests = (ranges: ReadonlyArray<Range>): Stream.Stream<{ readonly n: number }, RpcError, Stdio.Stdio> =>
  numbers(ranges).pipe(
    Stream.map((n) => ({ n })),
    Stream.mapError((cause) => new RpcError({ code: "cancelled", message: cause.message, cause })),
  )

export const blame = (error: RpcError): RpcError | UsageError =>
  error.cause instanceof UsageError ? error.cause : error
