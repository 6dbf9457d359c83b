/**
 * Functions around the messages of calls. A channel has them as a list, which who carries its calls runs between the layers
 * and the connector; so they may stand anywhere among its layers.
 */
import { Effect, type Stream } from "effect"
import type { CallInfo } from "./call.ts"
import type { RpcError } from "./error.ts"
import { mapReady } from "./ready.ts"

/** Sees one message of a call on its way, and gives what goes on in its place. */
export type MessageInterceptor = (message: unknown, call: CallInfo) => Effect.Effect<unknown, RpcError>

export interface MessageInterceptors {
  readonly request?: MessageInterceptor
  readonly response?: MessageInterceptor
}

/** What goes on in place of a message. */
export const one = (
  on: MessageInterceptor | undefined,
  call: CallInfo,
  message: unknown,
): Effect.Effect<unknown, RpcError> => (on === undefined ? Effect.succeed(message) : on(message, call))

/** The same for each message of a stream. */
export const each = <R>(
  on: MessageInterceptor | undefined,
  call: CallInfo,
  messages: Stream.Stream<unknown, RpcError, R>,
): Stream.Stream<unknown, RpcError, R> =>
  on === undefined ? messages : mapReady((message: unknown) => on(message, call))(messages)

const inOrder =
  (all: ReadonlyArray<MessageInterceptor>): MessageInterceptor =>
  (message, call) =>
    all.reduce(
      (before: Effect.Effect<unknown, RpcError>, next) => Effect.flatMap(before, (made) => next(made, call)),
      Effect.succeed(message),
    )

const together = (all: ReadonlyArray<MessageInterceptor | undefined>): MessageInterceptor | undefined => {
  const present = all.filter((on) => on !== undefined)
  return present.length > 1 ? inOrder(present) : present[0]
}

/** All of a list as one: the last of them sees a request first and a response last. */
export const combined = (all: ReadonlyArray<MessageInterceptors>): MessageInterceptors => {
  const request = together(all.map((on) => on.request).toReversed())
  const response = together(all.map((on) => on.response))
  return { ...(request && { request }), ...(response && { response }) }
}
