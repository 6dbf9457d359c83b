/**
 * A Connect-ES `Transport` as a connector: what carries a channel's calls.
 */
import type { DescMessage, DescMethodStreaming, DescMethodUnary, MessageInitShape, Registry } from "@bufbuild/protobuf"
import type { Transport } from "@connectrpc/connect"
import { Effect, Stream } from "effect"
import type { CallInfo } from "../../core/rpc/call.ts"
import type { Connector } from "../../core/rpc/channel.ts"
import type { Compression } from "../../core/rpc/compression.ts"
import type { Connectivity } from "../../core/rpc/connectivity.ts"
import * as Deadline from "../../core/rpc/deadline.ts"
import { RpcError } from "../../core/rpc/error.ts"
import type * as Metadata from "../../core/rpc/metadata.ts"
import { detailTypes } from "../details.ts"
import { type DescMethod, descriptorOf } from "../method.ts"
import { fromConnectError } from "./error.ts"
import { fromHeaders, toHeaders } from "./headers.ts"

// The codes of node's errors about a connection that is gone.
const lostCodes: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE", "ERR_HTTP2_GOAWAY_SESSION"])

// A lost connection shows in many ways, by runtime and moment: as a stream that was cancelled though nobody did, or as
// an error of the socket. gRPC has one code for them all, which tells callers that they may try again.
const isLost = (error: RpcError): boolean =>
  (error.code === "cancelled" && error.message.startsWith("http/2 stream closed")) ||
  error.message.endsWith("NGHTTP2_REFUSED_STREAM") ||
  (error.cause instanceof Error && "code" in error.cause && lostCodes.has(error.cause.code))

// Connect-ES has all metadata of a call that failed in one: which of it came first is known only where a response began.
const toRpcError = (reason: unknown, desc: DescMethod, head?: Metadata.Metadata): RpcError => {
  const error = fromConnectError(reason, detailTypes(desc.parent.file))
  if (isLost(error)) return new RpcError({ code: "unavailable", message: "the connection was lost", cause: error })
  const { code, message, details, metadata, cause } = error
  return new RpcError({ code, message, details, metadata, header: head ?? metadata, cause })
}

// A grpc-timeout has eight digits; 27 hours of milliseconds are as good as any deadline that far away.
const maxTimeoutMillis = 99_999_999

const timeoutOf = (call: CallInfo): Effect.Effect<number | undefined> =>
  call.deadline === undefined
    ? Effect.undefined
    : Effect.map(Deadline.remaining(call.deadline), (left) => Math.min(maxTimeoutMillis, Math.max(1, Math.ceil(left))))

/**
 * A connector over Connect-ES. `transport` gives the transport for a channel's compression and the types that JSON may
 * have in an `Any`, the same one each time.
 */
export const connector = (
  transport: (compression: Compression | undefined, types: Registry) => Transport,
  connectivity: Connectivity,
): Connector => ({
  connectivity,
  unary: (call, request, { compression }) => {
    const desc = descriptorOf(call.method)
    return timeoutOf(call).pipe(
      Effect.flatMap((timeout) =>
        Effect.tryPromise({
          // The channel calls `unary` for unary methods only, with a message that `Client.make` made.
          try: (signal) =>
            transport(compression, detailTypes(desc.parent.file)).unary(
              desc as DescMethodUnary,
              signal,
              timeout,
              toHeaders(call.metadata),
              request as MessageInitShape<DescMessage>,
            ),
          catch: (reason) => toRpcError(reason, desc),
        }),
      ),
      Effect.map((response) => {
        call.response.header = fromHeaders(response.header)
        call.response.trailer = fromHeaders(response.trailer)
        return response.message
      }),
    )
  },

  stream: (call, requests, { compression }) => {
    const desc = descriptorOf(call.method)
    // Connect-ES would hide why our own requests failed: that is what the caller has to hear.
    let failed: RpcError | undefined
    let head: Metadata.Metadata | undefined
    const toError = (reason: unknown) => failed ?? toRpcError(reason, desc, head)
    const watched = Stream.tapError(requests, (error) =>
      Effect.sync(() => {
        failed = error
      }),
    )
    return Stream.unwrap(
      Effect.gen(function* () {
        const timeout = yield* timeoutOf(call)
        // The requests end with the call: Connect-ES may leave them waiting for their next one.
        const iterator = yield* Effect.acquireRelease(
          Effect.sync(() => Stream.toAsyncIterable(watched)[Symbol.asyncIterator]()),
          (running) => Effect.promise(async () => running.return?.()),
        )
        const sent: AsyncIterable<unknown> = { [Symbol.asyncIterator]: () => iterator }
        // Aborted when the stream's scope closes: whoever leaves it cancels the call.
        const signal = yield* Effect.abortSignal
        const response = yield* Effect.tryPromise({
          try: () =>
            transport(compression, detailTypes(desc.parent.file)).stream(
              desc as DescMethodStreaming,
              signal,
              timeout,
              toHeaders(call.metadata),
              sent as AsyncIterable<MessageInitShape<DescMessage>>,
            ),
          catch: toError,
        })
        head = fromHeaders(response.header)
        call.response.header = head
        return Stream.onExit(Stream.fromAsyncIterable<unknown, RpcError>(response.message, toError), () =>
          Effect.sync(() => {
            // A response without a body has its trailers where its headers are; Connect-ES leaves them there.
            const { header, trailer } = response
            call.response.trailer = fromHeaders(header.has("grpc-status") ? header : trailer)
          }),
        )
      }),
    )
  },
})
