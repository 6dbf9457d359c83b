/**
 * `interceptMessages`: makes a layer of functions around the messages of calls.
 */
import { Effect, Stream } from "effect"
import { Call, type CallInfo } from "../rpc/call.ts"
import type { Channel } from "../rpc/channel.ts"
import type { RpcError } from "../rpc/error.ts"
import { combined, each, type MessageInterceptors, one } from "../rpc/messages.ts"
import type { Handler, Service } from "../rpc/service.ts"

export type { MessageInterceptor, MessageInterceptors } from "../rpc/messages.ts"

/**
 * A layer around the messages of a service or a channel: each request and each response, of all four kinds of methods.
 * A failure ends the call with that error. Call and metadata it leaves alone.
 *
 * It runs inside of every `intercept`, wherever it stands in the pipe: they commute. Of two `interceptMessages` the
 * later one sees a request first and a response last.
 *
 * @example
 * const counted = interceptMessages({ request: (message) => Effect.as(Metric.update(requests, 1), message) })
 */
export const interceptMessages = (interceptors: MessageInterceptors) => {
  const { request, response } = interceptors
  const handler = <R>(inner: Handler<R>): Handler<R | Call> => {
    const { method } = inner
    const answer = (make: (call: CallInfo) => Effect.Effect<unknown, RpcError, R>) =>
      Effect.flatMap(Call, (call) => Effect.flatMap(make(call), (message) => one(response, call, message)))
    const answers = (make: (call: CallInfo) => Stream.Stream<unknown, RpcError, R>) =>
      Stream.unwrap(Effect.map(Call, (call) => each(response, call, make(call))))
    switch (inner.kind) {
      case "unary":
        return {
          method,
          kind: inner.kind,
          run: (message) => answer((call) => Effect.flatMap(one(request, call, message), inner.run)),
        }
      case "client_streaming":
        return {
          method,
          kind: inner.kind,
          run: (messages) => answer((call) => inner.run(each(request, call, messages))),
        }
      case "server_streaming":
        return {
          method,
          kind: inner.kind,
          run: (message) => answers((call) => Stream.unwrap(Effect.map(one(request, call, message), inner.run))),
        }
      case "bidi_streaming":
        return {
          method,
          kind: inner.kind,
          run: (messages) => answers((call) => inner.run(each(request, call, messages))),
        }
    }
  }

  function layer(target: Channel): Channel
  function layer<D, R>(target: Service<D, R>): Service<D, R | Call>
  function layer<D, R>(target: Channel | Service<D, R>): Channel | Service<D, R | Call> {
    if ("handlers" in target) {
      return { ...target, handlers: new Map(Array.from(target.handlers, ([name, inner]) => [name, handler(inner)])) }
    }
    const { messages } = target
    return { ...target, messages: messages === undefined ? interceptors : combined([messages, interceptors]) }
  }
  return layer
}
