/**
 * What a command says when it fails, and the code it exits with: 0 all went well, 1 the work failed, 2 the command was
 * used wrongly, 130 it was interrupted.
 */
import { Cause, Console, Data, Effect, Exit, Option } from "effect"
import { CliError } from "effect/cli"
import type { Detail } from "../core/rpc/details.ts"
import { RpcError } from "../core/rpc/error.ts"
import type { Metadata } from "../core/rpc/metadata.ts"
import { escaped, lines, printableCause, withoutUser } from "../core/rpc/printable.ts"
import { AddressError } from "../transport/channel.ts"
import { hintOf } from "./hint.ts"

/** A command used wrongly in a way that its flags and arguments alone don't show. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {}

export const valueText = (value: string | Uint8Array): string =>
  typeof value === "string" ? escaped(value) : Buffer.from(value).toString("base64")

/** Metadata as lines, an entry each; bytes in base64. */
export const metadataLines = (metadata: Metadata): ReadonlyArray<string> =>
  metadata.map(([key, value]) => `${escaped(key)}: ${valueText(value)}`)

const detailValue = (value: Detail["value"]): unknown => (value instanceof Uint8Array ? valueText(value) : value)

const rpcErrorLines = (error: RpcError): ReadonlyArray<string> => {
  const { code, message, details, header, metadata } = error
  const hint = hintOf(error)
  return [
    `${code}: ${escaped(message)}`,
    ...(hint === undefined ? [] : [`  ${hint}`]),
    ...details.map(({ type, value }) => {
      const shown = detailValue(value)
      return `  ${escaped(type)} ${typeof shown === "string" ? shown : escaped(JSON.stringify(shown))}`
    }),
    ...metadataLines([...header, ...metadata]).map((line) => `  ${line}`),
  ]
}

/** What a command says of its end under `--json`: one object for each failure, on a line of standard error. */
interface Failure {
  /** One of gRPC's codes; `usage` where the command was used wrongly, `failed` for what is no call's. */
  readonly code: string
  readonly message: string
  readonly hint?: string | undefined
  readonly details?: ReadonlyArray<unknown>
  readonly metadata?: ReadonlyArray<readonly [string, string]>
}

const failureOf = (error: unknown): Failure => {
  if (!(error instanceof RpcError)) {
    const message = error instanceof Error ? error.message : String(error)
    return { code: code(error) === 2 ? "usage" : "failed", message }
  }
  return {
    code: error.code,
    message: error.message,
    hint: hintOf(error),
    details: error.details.map(({ type, value }) => ({ type, value: detailValue(value) })),
    metadata: [...error.header, ...error.metadata].map(([key, value]) => [
      key,
      typeof value === "string" ? value : valueText(value),
    ]),
  }
}

// What a command was told before `--` alone: behind it stands what it works on.
const [given = []] = [process.argv.slice(2)].map((args) => args.slice(0, [...args, "--"].indexOf("--")))

/** Whether failures are told as JSON: asked of the arguments themselves, since they may be what is wrong. */
const asJson = given.includes("--json")

const text = (error: unknown): ReadonlyArray<string> =>
  error instanceof RpcError ? rpcErrorLines(error) : lines(error instanceof Error ? error.message : String(error))

/** Says on standard error what has failed. */
const tell = (error: unknown): Effect.Effect<void> =>
  Console.error((asJson ? [escaped(JSON.stringify(failureOf(error)))] : text(error)).join("\n"))

/** Says what is wrong with the arguments, and where it stands what is right. */
export const misused = (errors: ReadonlyArray<CliError.NonShowHelpErrors>, commandPath: ReadonlyArray<string>) => {
  const messages = errors.map((error) =>
    // Of a URL that was refused the password isn't shown, either.
    error._tag === "InvalidValue" && error.value.includes("@")
      ? new CliError.InvalidValue({ ...error, value: withoutUser(error.value) }).message
      : error.message,
  )
  return tell(new UsageError({ message: `${messages.join("\n")}\nSee ${commandPath.join(" ")} --help` }))
}

const code = (error: unknown): number => {
  if (error instanceof UsageError || error instanceof AddressError) return 2
  if (CliError.isCliError(error)) return error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : 2
  return 1
}

/** Says on standard error why a command failed. */
export const explain = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.void
  return Option.match(Cause.findErrorOption(cause), {
    // `misused` has said already what was wrong.
    onSome: (error) => (CliError.isCliError(error) ? Effect.void : tell(error)),
    // A defect is our mistake: all there is helps to mend it.
    onNone: () => tell(Cause.pretty(printableCause(cause))),
  })
}

/** The code that the process exits with. `interrupted` is the one for a command that a signal ended. */
export const exitCode = (exit: Exit.Exit<unknown, unknown>, interrupted: number): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.hasInterruptsOnly(exit.cause)) return interrupted
  return Option.match(Cause.findErrorOption(exit.cause), { onSome: code, onNone: () => 1 })
}
