/**
 * `toTransport`: a channel as what the clients of Connect-ES call.
 */
import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf"
import { Code, ConnectError, type StreamResponse, type Transport, type UnaryResponse } from "@connectrpc/connect"
import { Cause, Effect, Exit, Option, Scope, Stream } from "effect"
import type { CallInfo } from "../../core/rpc/call.ts"
import { begin, type Channel, type ChannelLayer, runStream, runUnary } from "../../core/rpc/channel.ts"
import { earliest } from "../../core/rpc/deadline.ts"
import type { RpcError } from "../../core/rpc/error.ts"
import * as Monotonic from "../../core/rpc/monotonic.ts"
import { type ConnectOptions, connect } from "../channel.ts"
import { detailTypes } from "../details.ts"
import { type DescMethod, protoMethod } from "../method.ts"
import { fromConnectError, toConnectError } from "./error.ts"
import { appendTo, fromHeaders, toHeaders } from "./headers.ts"

type Requests<I extends DescMessage> = AsyncIterable<MessageInitShape<I>>

const started = (desc: DescMethod, timeout: number | undefined, header: HeadersInit | undefined) =>
  Effect.clockWith((clock) =>
    Effect.map(
      begin(protoMethod(desc)),
      (call): CallInfo => ({
        ...call,
        metadata: fromHeaders(new Headers(header)),
        deadline: earliest(call.deadline, timeout === undefined ? undefined : Monotonic.nowUnsafe(clock) + timeout),
      }),
    ),
  )

const toError = (desc: DescMethod, error: RpcError): ConnectError => {
  const connectError = toConnectError(error, detailTypes(desc.parent.file))
  appendTo(connectError.metadata, error.header)
  connectError.cause = error.cause
  return connectError
}

const cancelled = (signal: AbortSignal | undefined): ConnectError => ConnectError.from(signal?.reason, Code.Canceled)

/** Why a call failed, as Connect-ES throws it. */
const thrown = (desc: DescMethod, cause: Cause.Cause<RpcError>, signal: AbortSignal | undefined): unknown => {
  if (Cause.hasInterruptsOnly(cause)) return cancelled(signal)
  const error = Cause.findErrorOption(cause)
  return Option.isSome(error) ? toError(desc, error.value) : Cause.squash(cause)
}

/**
 * A channel as a Connect-ES `Transport`, with all of its layers: clients that `createClient` makes keep their code, and
 * gain the channel. Interceptors of Connect-ES have no place on it; ours have. Only bytes and printable ASCII are sent of
 * a call's headers.
 *
 * @example
 * const channel = yield* connect("http://127.0.0.1:8080")
 * const client = createClient(PiCalculator, toTransport(channel))
 * const { value } = await client.calc({ n: 999 })
 */
export const toTransport = (channel: Channel): Transport => ({
  async unary<I extends DescMessage, O extends DescMessage>(
    desc: DescMethodUnary<I, O>,
    signal: AbortSignal | undefined,
    timeout: number | undefined,
    header: HeadersInit | undefined,
    input: MessageInitShape<I>,
  ): Promise<UnaryResponse<I, O>> {
    const call = Effect.runSync(started(desc, timeout, header))
    const exit = await Effect.runPromiseExit(
      runUnary(channel, call, create(desc.input, input)),
      signal === undefined ? {} : { signal },
    )
    if (Exit.isFailure(exit)) throw thrown(desc, exit.cause, signal)
    const { response } = call
    return {
      stream: false,
      service: desc.parent,
      method: desc,
      header: toHeaders(response.header),
      trailer: toHeaders(response.trailer),
      // The channel decodes answers by this very descriptor.
      message: exit.value as MessageShape<O>,
    }
  },

  async stream<I extends DescMessage, O extends DescMessage>(
    desc: DescMethodStreaming<I, O>,
    signal: AbortSignal | undefined,
    timeout: number | undefined,
    header: HeadersInit | undefined,
    input: Requests<I>,
  ): Promise<StreamResponse<I, O>> {
    const call = Effect.runSync(started(desc, timeout, header))
    const types = detailTypes(desc.parent.file)
    const requests = Stream.map(
      Stream.fromAsyncIterable(input, (reason) => fromConnectError(reason, types)),
      (request) => create(desc.input, request),
    )
    const answers = runStream(channel, call, requests).pipe(
      Stream.mapError((error) => toError(desc, error)),
      // As above.
      Stream.map((message) => message as MessageShape<O>),
    )
    const iterator = Stream.toAsyncIterable(answers)[Symbol.asyncIterator]()
    // What ends the iterator ends the call, and whoever waits for its next answer.
    const end = () => void iterator.return?.()
    signal?.addEventListener("abort", end)
    const check = () => {
      if (signal?.aborted === true) throw cancelled(signal)
    }
    const next = async () => {
      check()
      const one = await iterator.next()
      if (one.done === true) check()
      return one
    }
    const trailer = new Headers()
    // The head is there with the first answer, or with the end.
    const first = await next()
    return {
      stream: true,
      service: desc.parent,
      method: desc,
      header: toHeaders(call.response.header),
      trailer,
      message: (async function* () {
        try {
          for (let one = first; one.done !== true; one = await next()) yield one.value
          appendTo(trailer, call.response.trailer)
        } finally {
          signal?.removeEventListener("abort", end)
          await iterator.return?.()
        }
      })(),
    }
  },
})

/** A transport with a channel of its own. */
export interface OwnTransport extends Transport {
  /** Closes its connections, and ends the calls that run. */
  readonly close: () => Promise<void>
}

/**
 * A Connect-ES `Transport` to an address, for programs that aren't Effects: the one line that changes for users of
 * connect-node. `layer` goes around its channel. Throws an `AddressError`.
 *
 * @example
 * // const transport = createGrpcTransport({ baseUrl: "http://127.0.0.1:8080" })
 * const transport = createTransport("http://127.0.0.1:8080", {}, (channel) => channel.pipe(retry()))
 * const client = createClient(PiCalculator, transport)
 */
export const createTransport = (
  address: string | ReadonlyArray<string>,
  options: ConnectOptions = {},
  layer: ChannelLayer = (channel) => channel,
): OwnTransport => {
  const scope = Scope.makeUnsafe()
  const channel = Effect.runSync(Scope.provide(connect(address, options), scope))
  return { ...toTransport(layer(channel)), close: () => Effect.runPromise(Scope.close(scope, Exit.void)) }
}
