/**
 * A channel: the client's side of a service. It carries calls to wherever the service is, through the layers around it.
 */
import { Cause, Effect, Pipeable, Stream } from "effect"
import { explained } from "./attempt.ts"
import { type Call, type CallInfo, type Method, noResponse, path } from "./call.ts"
import { always, type Connectivity } from "./connectivity.ts"
import * as Deadline from "./deadline.ts"
import { RpcError } from "./error.ts"
import { aroundStream, type Interceptor, isPrompt, type Layered, unlayered } from "./interceptor.ts"
import { each, type MessageInterceptors, one } from "./messages.ts"
import * as Metadata from "./metadata.ts"
import * as Monotonic from "./monotonic.ts"
import { replay } from "./replay.ts"
import { internalError, logUnsendable, respondInTime, respondStream, type Service, unimplemented } from "./service.ts"

/**
 * What carries a call: a connection, or a service in the same process. It obeys the call's metadata and deadline, ends
 * the call when it is interrupted, and fills `call.response` as metadata arrives: it is `committed` when the server has
 * begun to answer with more than an error.
 */
export interface Connector {
  readonly unary: (call: CallInfo, request: unknown, options: Layered) => Effect.Effect<unknown, RpcError>
  /** Carries the other three kinds: a single request or answer is a stream of one. */
  readonly stream: (
    call: CallInfo,
    requests: Stream.Stream<unknown, RpcError>,
    options: Layered,
  ) => Stream.Stream<unknown, RpcError>
  readonly connectivity: Connectivity
}

export interface Channel extends Layered, Pipeable.Pipeable {
  /** It stays the one that the channel was opened with, or a balancer over the same endpoints: layers go around it. */
  readonly connector: Connector
  /** What goes around the messages of its calls, between its layers and the connector; `undefined` for nothing. */
  readonly messages: MessageInterceptors | undefined
  /** How many bytes of a stream's requests are kept for another attempt of the call; 0, the default, for none. */
  readonly replayBytes: (method: Method) => number
}

/** Puts something around a channel. The order in `pipe` is the order outward. */
export type ChannelLayer = (channel: Channel) => Channel

const keepNone = (): number => 0

export const fromConnector = (connector: Connector): Channel => ({
  ...unlayered,
  ...Pipeable.Prototype,
  connector,
  messages: undefined,
  replayBytes: keepNone,
})

/** Begins a call: what it inherits is read when it runs, not when it was written down. */
export const begin = (method: Method): Effect.Effect<CallInfo> =>
  Effect.map(Deadline.Current, (deadline) => ({
    method,
    metadata: Metadata.empty,
    deadline,
    peer: { address: undefined },
    response: noResponse(),
  }))

// The call's own deadline holds for its layers too; a connector obeys the one that it is given, a layer's included.
const carry = ({ around }: Channel): Interceptor =>
  isPrompt(around)
    ? around
    : (call, next) =>
        Effect.mapError(Deadline.enforce(around(call, next), call.deadline), (error) => explained(call, error))

/** The error of a call whose metadata can't be sent: none of it is. `undefined` if it can. */
const unsendable = ({ method, metadata }: CallInfo): RpcError | undefined => {
  const fault = Metadata.fault(metadata)
  return (
    fault &&
    new RpcError({ code: "internal", message: `${path(method)} is not called: ${fault.message}`, cause: fault })
  )
}

const carryUnary = (channel: Channel, call: CallInfo, request: unknown): Effect.Effect<unknown, RpcError> => {
  const error = unsendable(call)
  if (error !== undefined) return Effect.fail(error)
  const { connector, messages } = channel
  if (messages === undefined) return connector.unary(call, request, channel)
  // A connector ends at the call's deadline, and so has one with functions around its messages.
  return Deadline.enforce(
    one(messages.request, call, request).pipe(
      Effect.flatMap((sent) => connector.unary(call, sent, channel)),
      Effect.flatMap((answer) => one(messages.response, call, answer)),
    ),
    call.deadline,
  )
}

const carryStream = (
  channel: Channel,
  call: CallInfo,
  requests: Stream.Stream<unknown, RpcError>,
): Stream.Stream<unknown, RpcError> => {
  const error = unsendable(call)
  if (error !== undefined) return Stream.fail(error)
  const { connector, messages } = channel
  if (messages === undefined) return connector.stream(call, requests, channel)
  const answers = each(messages.response, call, connector.stream(call, each(messages.request, call, requests), channel))
  return call.deadline === undefined
    ? answers
    : aroundStream(
        (inner, next) => Deadline.enforce(next(inner), inner.deadline),
        call,
        () => answers,
      )
}

/** Goes on with a unary call that has begun. */
export const runUnary = (channel: Channel, started: CallInfo, request: unknown): Effect.Effect<unknown, RpcError> =>
  carry(channel)(started, (inner) => carryUnary(channel, inner, request))

/** Goes on with a call of one of the three other kinds. */
export const runStream = (
  channel: Channel,
  started: CallInfo,
  requests: Stream.Stream<unknown, RpcError>,
): Stream.Stream<unknown, RpcError> => {
  const maxBytes = channel.replayBytes(started.method)
  const around = carry(channel)
  if (maxBytes === 0) {
    return aroundStream(around, started, (inner) => carryStream(channel, inner, requests))
  }
  const { messages } = started.method
  const sizeOf = (request: unknown) => messages.encodeRequest(request).length
  return Stream.unwrap(
    Effect.map(replay(requests, sizeOf, maxBytes), (attempt) =>
      aroundStream(around, started, (inner) =>
        attempt(inner.response, (replayed) => carryStream(channel, inner, replayed)),
      ),
    ),
  )
}

/** Makes a unary call. */
export const callUnary = (channel: Channel, method: Method, request: unknown): Effect.Effect<unknown, RpcError> =>
  Effect.flatMap(begin(method), (started) => runUnary(channel, started, request))

/**
 * The requests of a call, where what dies in them fails the call: it is the caller's own defect, and no fault of the messages
 * or of the server.
 */
const withDefects = (requests: Stream.Stream<unknown, RpcError>, method: Method): Stream.Stream<unknown, RpcError> =>
  Stream.catchCause(requests, (cause) => {
    if (!Cause.hasDies(cause)) return Stream.failCause(cause)
    const defect = Cause.squash(cause)
    const why = defect instanceof Error ? `${defect.name}: ${defect.message}` : String(defect)
    const message = `the stream of requests that ${path(method)} was called with died: ${why}`
    return Stream.fail(new RpcError({ code: "internal", message, cause: defect }))
  })

/** Makes a call of one of the three other kinds. */
export const callStream = <R>(
  channel: Channel,
  method: Method,
  requests: Stream.Stream<unknown, RpcError, R>,
): Stream.Stream<unknown, RpcError, R> =>
  Stream.unwrap(
    Effect.zipWith(begin(method), Effect.context<R>(), (started, context) =>
      // A single request is there already.
      runStream(
        channel,
        started,
        method.kind === "server_streaming"
          ? Stream.provideContext(requests, context)
          : withDefects(Stream.provideContext(requests, context), method),
      ),
    ),
  )

/** The one message of a stream that must have just one, as gRPC asks of an answer that isn't a stream. */
export const only = <R>(
  messages: Stream.Stream<unknown, RpcError, R>,
  method: Method,
): Effect.Effect<unknown, RpcError, R> =>
  Effect.flatMap(Stream.runCollect(Stream.take(messages, 2)), (taken) =>
    taken.length === 1
      ? Effect.succeed(taken[0])
      : Effect.fail(
          new RpcError({
            code: "unimplemented",
            message: `${path(method)} must have one message here, and has ${taken.length === 0 ? "none" : "more"}`,
          }),
        ),
  )

// As over a wire, the client finds in an error all metadata that was sent; a header commits, an error alone doesn't.
const received =
  ({ response }: CallInfo) =>
  (error: RpcError): RpcError => {
    const { header, trailer } = response
    if (header.length > 0) response.committed = true
    if (header.length === 0 && trailer.length === 0) return error
    const { code, message, details, metadata, cause } = error
    return new RpcError({ code, message, details, header, metadata: Metadata.concat(trailer, metadata), cause })
  }

const committing =
  ({ response }: CallInfo) =>
  <A>(answers: A): A => {
    response.committed = true
    return answers
  }

/** Lets a response in whose metadata can be sent, as over a wire, and fails the call otherwise. */
const sendable = (
  { method, response }: CallInfo,
  metadata: Metadata.Metadata = Metadata.empty,
): Effect.Effect<void, RpcError> =>
  Effect.suspend(() => {
    const fault = Metadata.fault(response.header) ?? Metadata.fault(response.trailer) ?? Metadata.fault(metadata)
    if (fault === undefined) return Effect.void
    response.header = Metadata.empty
    response.trailer = Metadata.empty
    return Effect.andThen(logUnsendable(method, fault), Effect.fail(internalError()))
  })

/**
 * A channel straight onto a service in the same process: no socket and no bytes, but the same calls, layers, deadlines
 * and metadata. For tests, and for a service that is also used at home.
 *
 * @example
 * const channel = yield* inMemory(Service.make(PiCalculator, calculator))
 * const { value } = yield* Client.make(PiCalculator, channel).calc({ n: 999 })
 */
export const inMemory = <D, R>(service: Service<D, R>): Effect.Effect<Channel, never, Exclude<R, Call>> =>
  Effect.map(Effect.context<Exclude<R, Call>>(), (context) => {
    const arrived = (call: CallInfo) =>
      Effect.map(Monotonic.now, (now): CallInfo => {
        return { ...call, deadline: Deadline.limited(call.deadline, service.limit, now) }
      })
    const one = (call: CallInfo, program: Effect.Effect<unknown, RpcError, R>) =>
      Effect.flatMap(arrived(call), (begun) => respondInTime(service, begun, program)).pipe(
        Effect.provideContext(context),
        Effect.tap(() => sendable(call)),
        Effect.tapError(({ metadata }) => sendable(call, metadata)),
        Effect.map(committing(call)),
        Effect.mapError(received(call)),
      )
    const many = (call: CallInfo, program: Stream.Stream<unknown, RpcError, R>) =>
      Stream.unwrap(Effect.map(arrived(call), (begun) => respondStream(service, begun, program))).pipe(
        Stream.provideContext(context),
        Stream.mapArrayEffect((answers) => Effect.as(sendable(call), answers)),
        Stream.onEnd(sendable(call)),
        Stream.tapError(({ metadata }) => sendable(call, metadata)),
        Stream.mapArray(committing(call)),
        Stream.mapError(received(call)),
      )
    const unserved = (call: CallInfo) => Effect.fail(unimplemented(path(call.method)))
    return fromConnector({
      connectivity: always("ready"),
      unary: (call, request) => {
        const handler = service.handlers.get(call.method.name)
        return handler?.kind === "unary" ? one(call, handler.run(request)) : unserved(call)
      },
      stream: (call, requests) => {
        const handler = service.handlers.get(call.method.name)
        switch (handler?.kind) {
          case "server_streaming":
            return Stream.unwrap(Effect.map(only(requests, call.method), (request) => many(call, handler.run(request))))
          case "client_streaming":
            return Stream.fromEffect(one(call, handler.run(requests)))
          case "bidi_streaming":
            return many(call, handler.run(requests))
          default:
            return Stream.fromEffect(unserved(call))
        }
      },
    })
  })
