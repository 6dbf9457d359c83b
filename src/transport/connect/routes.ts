/**
 * A service as routes of Connect-ES, which serve it over Connect, gRPC-Web, gRPC and as JSON.
 */
import type { DescService } from "@bufbuild/protobuf"
import {
  ConnectError,
  type ConnectRouter,
  type ConnectRouterOptions,
  type ContextKey,
  createContextKey,
  type HandlerContext,
  type ServiceImpl,
} from "@connectrpc/connect"
import { Cause, Clock, Context, Effect, Exit, Stream } from "effect"
import { type Call, type CallInfo, type Method, noResponse, type Peer } from "../../core/rpc/call.ts"
import { type Limit, limited } from "../../core/rpc/deadline.ts"
import { RpcError } from "../../core/rpc/error.ts"
import * as Monotonic from "../../core/rpc/monotonic.ts"
import { type Handler, respondInTime, respondStream, type Service } from "../../core/rpc/service.ts"
import { detailTypes } from "../details.ts"
import { type MessageLimits, toConnectLimits } from "../limits.ts"
import { descriptorOf } from "../method.ts"
import { nameEncodings, toConnectCompression } from "./compression.ts"
import { fromConnectError, toConnectError } from "./error.ts"
import { appendTo, fromHeaders } from "./headers.ts"

// Promises alone never leave the turn: a program that always has an answer ready would keep the event loop for itself.
const messagesPerTurn = 64

/** Where an adapter puts the peer of a request, which Connect-ES itself has no place for. */
export const peerKey: ContextKey<Peer> = createContextKey<Peer>({ address: undefined })

const begin = (method: Method, connect: HandlerContext, limit: Limit, now: number): CallInfo => {
  const left = connect.timeoutMs()
  return {
    method,
    metadata: fromHeaders(connect.requestHeader),
    deadline: limited(left === undefined ? undefined : now + left, limit, now),
    peer: connect.values.get(peerKey),
    response: noResponse(),
  }
}

export interface RegisterOptions extends MessageLimits {
  /** False where HTTP trailers can't be sent, which gRPC needs. Default: true. */
  readonly grpc?: boolean
}

// An option of routers that the types of Connect-ES leave out for services, though services obey it.
const noGrpc: Partial<ConnectRouterOptions> = { grpc: false }

/**
 * Registers a service with a Connect router. `context` holds what the programs need.
 *
 * @example
 * const router = createConnectRouter()
 * register(router, service, context)
 */
export const register = <D extends DescService, R>(
  router: ConnectRouter,
  service: Service<D, R>,
  context: Context.Context<Exclude<R, Call>>,
  { grpc = true, ...limits }: RegisterOptions = {},
): void => {
  const types = detailTypes(service.descriptor.file, limits.types)
  const clock = Context.get(context, Clock.Clock)
  const start = (handler: Handler<R>, connect: HandlerContext) =>
    begin(handler.method, connect, service.limit, Monotonic.nowUnsafe(clock))

  // An error that can't be sent, as with a detail that nobody knows, is the program's mistake: the log says which, and
  // Connect-ES answers "internal error".
  const sendable = (error: RpcError): ConnectError => {
    try {
      return toConnectError(error, types)
    } catch (reason) {
      Effect.runForkWith(context)(Effect.logError("an error could not be sent", reason, error))
      throw reason
    }
  }

  // What ended a call, as Connect-ES is to throw it. When it cancels a call, its signal has the reason.
  const thrown = (cause: Cause.Cause<RpcError>, { signal }: HandlerContext): ConnectError => {
    const error = Cause.findErrorOption(cause)
    if (error._tag === "Some") return sendable(error.value)
    return signal.aborted
      ? ConnectError.from(signal.reason)
      : toConnectError(new RpcError({ code: "cancelled", message: "the call was interrupted" }), types)
  }

  const answer = async (
    handler: Handler<R>,
    program: Effect.Effect<unknown, RpcError, R>,
    connect: HandlerContext,
  ): Promise<unknown> => {
    const call = start(handler, connect)
    const running = respondInTime(service, call, program)
    const exit = await Effect.runPromiseExitWith(context)(running, { signal: connect.signal })
    appendTo(connect.responseHeader, call.response.header)
    appendTo(connect.responseTrailer, call.response.trailer)
    if (Exit.isFailure(exit)) throw thrown(exit.cause, connect)
    return exit.value
  }

  const answers = async function* (
    handler: Handler<R>,
    program: Stream.Stream<unknown, RpcError, R>,
    connect: HandlerContext,
  ): AsyncGenerator<unknown> {
    const call = start(handler, connect)
    const iterator = Stream.toAsyncIterableWith(
      Stream.catchCause(respondStream(service, call, program), (cause) => Stream.die(thrown(cause, connect))),
      context,
    )[Symbol.asyncIterator]()
    // Connect-ES can't end a generator that waits for its next message, so a cancelled call ends the stream itself.
    const cancel = () => void iterator.return?.()
    connect.signal.addEventListener("abort", cancel)
    let headerSent = false
    const sendHeader = () => {
      if (!headerSent) appendTo(connect.responseHeader, call.response.header)
      headerSent = true
    }
    try {
      let count = 0
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
        sendHeader()
        yield next.value
        count += 1
        if (count % messagesPerTurn === 0) await Effect.runPromise(Effect.yieldNow)
      }
      if (connect.signal.aborted) throw ConnectError.from(connect.signal.reason)
    } finally {
      sendHeader()
      appendTo(connect.responseTrailer, call.response.trailer)
      connect.signal.removeEventListener("abort", cancel)
      await iterator.return?.()
    }
  }

  const requests = (messages: AsyncIterable<unknown>) =>
    Stream.fromAsyncIterable(messages, (reason) => fromConnectError(reason, types))

  const implement = (handler: Handler<R>) => {
    switch (handler.kind) {
      case "unary":
        return (message: unknown, connect: HandlerContext) => answer(handler, handler.run(message), connect)
      case "client_streaming":
        return (messages: AsyncIterable<unknown>, connect: HandlerContext) =>
          answer(handler, handler.run(requests(messages)), connect)
      case "server_streaming":
        return (message: unknown, connect: HandlerContext) => answers(handler, handler.run(message), connect)
      case "bidi_streaming":
        return (messages: AsyncIterable<unknown>, connect: HandlerContext) =>
          answers(handler, handler.run(requests(messages)), connect)
    }
  }

  const implementation = Object.fromEntries(
    Array.from(service.handlers.values(), (handler) => [descriptorOf(handler.method).localName, implement(handler)]),
  )
  // `Service.make` has checked the programs' types by this same descriptor.
  router.service(service.descriptor, implementation as Partial<ServiceImpl<D>>, {
    ...toConnectCompression(service.compression),
    requestGate: nameEncodings(service.compression),
    ...toConnectLimits(limits),
    // Connect-ES takes a router's protocols for a service only if the service has no options of its own.
    ...(grpc ? {} : noGrpc),
    // An Any in JSON can be written and read only by who knows its type.
    jsonOptions: { registry: types },
    binaryOptions: { readUnknownFields: limits.keepUnknownFields === true },
  })
}
