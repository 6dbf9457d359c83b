/**
 * A Connect-ES `Transport` as a connector: what carries a channel's calls.
 */
import type { DescMessage, DescMethodStreaming, DescMethodUnary, MessageInitShape } from "@bufbuild/protobuf"
import type { Transport } from "@connectrpc/connect"
import { Effect, Stream } from "effect"
import type { CallInfo } from "../../core/rpc/call.ts"
import type { Connector } from "../../core/rpc/channel.ts"
import type { Compression } from "../../core/rpc/compression.ts"
import type { Connectivity } from "../../core/rpc/connectivity.ts"
import * as Deadline from "../../core/rpc/deadline.ts"
import type { RpcError } from "../../core/rpc/error.ts"
import { detailTypes } from "../details.ts"
import { type DescMethod, descriptorOf } from "../method.ts"
import { fromConnectError } from "./error.ts"
import { fromHeaders, toHeaders } from "./headers.ts"

const toRpcError = (reason: unknown, desc: DescMethod): RpcError =>
  fromConnectError(reason, detailTypes(desc.parent.file))

// A grpc-timeout has eight digits; 27 hours of milliseconds are as good as any deadline that far away.
const maxTimeoutMillis = 99_999_999

const timeoutOf = (call: CallInfo): Effect.Effect<number | undefined> =>
  call.deadline === undefined
    ? Effect.undefined
    : Effect.map(Deadline.remaining(call.deadline), (left) => Math.min(maxTimeoutMillis, Math.max(1, Math.ceil(left))))

/** The transport for a channel's compression and for a call that waits for a server or doesn't: the same one each time. */
export type Transports = (compression: Compression | undefined, waitForReady: boolean | undefined) => Transport

/** A connector over Connect-ES. */
export const connector = (transport: Transports, connectivity: Connectivity): Connector => ({
  connectivity,
  unary: (call, request, { compression }) => {
    const desc = descriptorOf(call.method)
    return timeoutOf(call).pipe(
      Effect.flatMap((timeout) =>
        Effect.tryPromise({
          // The channel calls `unary` for unary methods only, with a message that `Client.make` made.
          try: (signal) =>
            transport(compression, call.waitForReady).unary(
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
        call.response.committed = true
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
    const toError = (reason: unknown) => failed ?? toRpcError(reason, desc)
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
            transport(compression, call.waitForReady).stream(
              desc as DescMethodStreaming,
              signal,
              timeout,
              toHeaders(call.metadata),
              sent as AsyncIterable<MessageInitShape<DescMessage>>,
            ),
          catch: toError,
        })
        call.response.committed = true
        call.response.header = fromHeaders(response.header)
        return Stream.onExit(Stream.fromAsyncIterable<unknown, RpcError>(response.message, toError), () =>
          Effect.sync(() => {
            call.response.trailer = fromHeaders(response.trailer)
          }),
        )
      }),
    )
  },
})
