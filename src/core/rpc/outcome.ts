/**
 * The outcome of a call, as its layers see it.
 */
import { Cause, Exit, Option } from "effect"
import type { CallInfo } from "./call.ts"
import type { RpcError } from "./error.ts"
import type { Code, Status } from "./status.ts"

/** The codes of errors that speak of the server or the way to it. All others speak of the call. */
export const serversFault: ReadonlyArray<Code> = [
  "unavailable",
  "deadline_exceeded",
  "resource_exhausted",
  "internal",
  "unknown",
  "data_loss",
]

/** The status that a call which ended just now is given. */
export const statusOf = (exit: Exit.Exit<unknown, RpcError>, { deadline }: CallInfo, now: number): Status => {
  if (Exit.isSuccess(exit)) return "ok"
  const error = Cause.findErrorOption(exit.cause)
  if (Option.isSome(error)) return error.value.code
  if (!Cause.hasInterruptsOnly(exit.cause)) return "internal"
  // The call's own deadline interrupts all layers; what the client is told is that it passed.
  return deadline !== undefined && now >= deadline ? "deadline_exceeded" : "cancelled"
}
