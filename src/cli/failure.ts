/**
 * What a command says when it fails, and the code it exits with: 0 all went well, 1 the work failed, 2 the command was
 * used wrongly, 130 it was interrupted.
 */
import { Cause, Console, Data, Effect, Exit, Option } from "effect"
import { CliError } from "effect/cli"
import { RpcError } from "../core/rpc/error.ts"
import type { Metadata } from "../core/rpc/metadata.ts"
import { AddressError } from "../transport/channel.ts"

/** A command used wrongly in a way that its flags and arguments alone don't show. */
export class UsageError extends Data.TaggedError("UsageError")<{ readonly message: string }> {}

export const valueText = (value: string | Uint8Array): string =>
  typeof value === "string" ? value : Buffer.from(value).toString("base64")

/** Metadata as lines, an entry each; bytes in base64. */
export const metadataLines = (metadata: Metadata): ReadonlyArray<string> =>
  metadata.map(([key, value]) => `${key}: ${valueText(value)}`)

const rpcErrorLines = ({ code, message, details, header, metadata }: RpcError): ReadonlyArray<string> => [
  `${code}: ${message}`,
  ...details.map(({ type, value }) =>
    value instanceof Uint8Array ? `  ${type} ${valueText(value)}` : `  ${type} ${JSON.stringify(value)}`,
  ),
  ...metadataLines([...header, ...metadata]).map((line) => `  ${line}`),
]

const lines = (error: unknown): ReadonlyArray<string> => {
  if (error instanceof RpcError) return rpcErrorLines(error)
  // effect/cli has said already what was wrong.
  if (CliError.isCliError(error)) return []
  return [error instanceof Error ? error.message : String(error)]
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
    onSome: (error) => Effect.forEach(lines(error), (line) => Console.error(line), { discard: true }),
    // A defect is our mistake: all there is helps to mend it.
    onNone: () => Console.error(Cause.pretty(cause)),
  })
}

/** The code that the process exits with. `interrupted` is the one for a command that a signal ended. */
export const exitCode = (exit: Exit.Exit<unknown, unknown>, interrupted: number): number => {
  if (Exit.isSuccess(exit)) return 0
  if (Cause.hasInterruptsOnly(exit.cause)) return interrupted
  return Option.match(Cause.findErrorOption(exit.cause), { onSome: code, onNone: () => 1 })
}
