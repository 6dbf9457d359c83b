/**
 * What commands print: results to standard output, a line each, and how far they are to standard error.
 */
import { Effect, PlatformError, Predicate, Schedule, Stdio, Stream } from "effect"
import { Flag } from "effect/cli"

export const jsonFlag = Flag.Boolean("json").pipe(
  Flag.withDescription("Print JSON, an object a line"),
  Flag.withDefault(false),
)

/** A point as the tutorial prints it, or as JSON. */
export const pointLine =
  (json: boolean) =>
  ({ n, value }: { readonly n: number; readonly value: number }): string =>
    json ? JSON.stringify({ n, value }) : `pi(${n}) = ${value}`

/** Shows how far a command is, on standard error where that is a terminal, until the scope closes. */
export const showProgress = Effect.fnUntraced(function* (progress: () => string) {
  const stdio = yield* Stdio.Stdio
  if (!(yield* stdio.stderrIsTerminal)) return
  const show = (text: string) => Effect.ignore(Stream.run(Stream.succeed(text), stdio.stderr()))
  yield* Effect.forkScoped(
    Effect.repeat(
      Effect.suspend(() => show(`\r${progress()}\x1b[K`)),
      Schedule.spaced("200 millis"),
    ),
  )
  yield* Effect.addFinalizer(() => show("\r\x1b[K"))
})

/**
 * Prints lines as they come. Where standard error is a terminal and standard output isn't, a counter there shows that
 * something goes on.
 */
export const printLines = Effect.fnUntraced(function* <E, R>(lines: Stream.Stream<string, E, R>) {
  const stdio = yield* Stdio.Stdio
  let printed = 0
  const counted = Stream.map(lines, (line) => {
    printed += 1
    return `${line}\n`
  })
  if (!(yield* stdio.stdoutIsTerminal)) yield* showProgress(() => `${printed} lines`)
  yield* Effect.catchIf(Stream.run(counted, stdio.stdout()), readerLeft, () => Effect.void)
}, Effect.scoped)

// Who reads our lines may have had enough of them, as `head` has: no failure of ours.
const readerLeft = (error: unknown): boolean =>
  error instanceof PlatformError.PlatformError &&
  Predicate.hasProperty(error.cause, "code") &&
  error.cause.code === "EPIPE"
