/**
 * What a program says that can't be sent, in every protocol: the log says what it is, and the client nothing of it.
 */
import { Cause, type Context, Effect } from "effect"
import type { CallInfo } from "../../core/rpc/call.ts"
import { RpcError } from "../../core/rpc/error.ts"
import * as Metadata from "../../core/rpc/metadata.ts"
import { printableDefect } from "../../core/rpc/printable.ts"
import { internalError, logUnsendable } from "../../core/rpc/service.ts"

/** The error of a call with metadata that can't be sent, of which then none is; `undefined` if all can be. */
export const unsendableMetadata = (
  context: Context.Context<never>,
  { method, response }: CallInfo,
  ...all: ReadonlyArray<Metadata.Metadata>
): RpcError | undefined => {
  for (const one of all) {
    const fault = one.length === 0 ? undefined : Metadata.fault(one)
    if (fault === undefined) continue
    response.header = Metadata.empty
    response.trailer = Metadata.empty
    Effect.runForkWith(context)(logUnsendable(method, fault))
    return internalError()
  }
  return undefined
}

/** An error encoded, or the one that stands for it where it has a detail of a type that nobody knows. */
export const encodeError = <A>(context: Context.Context<never>, error: RpcError, encode: (error: RpcError) => A): A => {
  try {
    return encode(error)
  } catch (cause) {
    Effect.runForkWith(context)(
      Effect.logError("an error could not be sent", printableDefect(cause), printableDefect(error)),
    )
    return encode(internalError())
  }
}

/** The error of a call whose metadata is more than its client takes, in bytes. */
export const metadataTooLarge = (which: "leading" | "trailing", limit: number): RpcError =>
  new RpcError({
    code: "resource_exhausted",
    message: `the ${which} metadata is over the ${limit} bytes that the client takes`,
  })

/** The error that a program ended with; one that was interrupted has none. */
export const errorOf = (cause: Cause.Cause<RpcError>): RpcError => {
  const error = Cause.findErrorOption(cause)
  return error._tag === "Some"
    ? error.value
    : new RpcError({ code: "cancelled", message: "the call was interrupted", cause })
}
