/**
 * `Client.make`: the methods of a service as functions that make calls over a channel.
 */
import type {
  DescMessage,
  DescMethodBiDiStreaming,
  DescMethodClientStreaming,
  DescMethodServerStreaming,
  DescMethodUnary,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf"
import { Effect, Stream } from "effect"
import { type Channel, callStream, callUnary, only } from "../core/rpc/channel.ts"
import type { RpcError } from "../core/rpc/error.ts"
import { type DescMethod, type DescService, protoMethod } from "./method.ts"
import { createChecked } from "./protobuf/check.ts"
import { unsendable } from "./protobuf/unsendable.ts"

type Requests<I extends DescMessage, R> = Stream.Stream<MessageInitShape<I>, RpcError, R>

/** A method as its caller sees it. Nothing is sent before the Effect or Stream runs, and each run is a call. */
export type CallOf<M extends DescMethod> =
  M extends DescMethodUnary<infer I, infer O>
    ? (request: MessageInitShape<I>) => Effect.Effect<MessageShape<O>, RpcError>
    : M extends DescMethodServerStreaming<infer I, infer O>
      ? (request: MessageInitShape<I>) => Stream.Stream<MessageShape<O>, RpcError>
      : M extends DescMethodClientStreaming<infer I, infer O>
        ? <R>(requests: Requests<I, R>) => Effect.Effect<MessageShape<O>, RpcError, R>
        : M extends DescMethodBiDiStreaming<infer I, infer O>
          ? <R>(requests: Requests<I, R>) => Stream.Stream<MessageShape<O>, RpcError, R>
          : never

/** One function a method, by its name in lower camel case. */
export type Client<D extends DescService> = { readonly [K in keyof D["method"]]: CallOf<D["method"][K]> }

/**
 * The client of a service over a channel. Interrupting a call cancels it on the server; leaving a stream early does too.
 *
 * @example
 * const client = Client.make(PiCalculator, channel)
 * const { value } = yield* client.calc({ n: 999 })
 * const points = yield* Stream.runCollect(client.calcRange({ first: 1, last: 10 }))
 */
export const make = <D extends DescService>(descriptor: D, channel: Channel): Client<D> =>
  // The descriptor says which names and types there are; TypeScript can't follow it through `Object.fromEntries`.
  Object.fromEntries(descriptor.methods.map((desc) => [desc.localName, caller(desc, channel)])) as Client<D>

const caller = (desc: DescMethod, channel: Channel) => {
  const method = protoMethod(desc)
  const whole = (request: unknown) => createChecked(desc.input, request)
  // A request that is none fails its call, as one does whose fields are wrong.
  const made = (request: unknown): Effect.Effect<unknown, RpcError> => {
    try {
      return Effect.succeed(whole(request))
    } catch (cause) {
      return Effect.fail(unsendable(desc.input, cause))
    }
  }
  switch (desc.methodKind) {
    case "unary":
      return (request: unknown) => Effect.flatMapEager(made(request), (message) => callUnary(channel, method, message))
    case "server_streaming":
      return (request: unknown) => callStream(channel, method, Stream.fromEffect(made(request)))
    case "client_streaming":
      return <R>(requests: Stream.Stream<unknown, RpcError, R>) =>
        only(callStream(channel, method, Stream.map(requests, whole)), method)
    case "bidi_streaming":
      return <R>(requests: Stream.Stream<unknown, RpcError, R>) =>
        callStream(channel, method, Stream.map(requests, whole))
  }
}
