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

// Connect-ES has all metadata of a call that failed in one: which of it came first is known only where a response began.
const toRpcError = (reason: unknown, desc: DescMethod, header: Metadata.Metadata = []): RpcError => {
  const { code, message, details, metadata, cause } = fromConnectError(reason, detailTypes(desc.parent.file))
  return new RpcError({ code, message, details, metadata: without(metadata, header), header, cause })
}

const isSame = ([key, value]: Metadata.Entry, [otherKey, other]: Metadata.Entry): boolean =>
  key === otherKey &&
  (typeof value === "string" || typeof other === "string" ? value === other : sameBytes(value, other))

const sameBytes = (one: Uint8Array, other: Uint8Array): boolean =>
  one.length === other.length && one.every((byte, at) => byte === other[at])

const without = (metadata: Metadata.Metadata, header: Metadata.Metadata): Metadata.Metadata =>
  metadata.filter((entry) => !header.some((one) => isSame(one, entry)))

// A grpc-timeout has eight digits; 27 hours of milliseconds are as good as any deadline that far away.
const maxTimeoutMillis = 99_999_999

const timeoutOf = (call: CallInfo): Effect.Effect<number | undefined> =>
  call.deadline === undefined
    ? Effect.undefined
    : Effect.map(Deadline.remaining(call.deadline), (left) => Math.min(maxTimeoutMillis, Math.max(1, Math.ceil(left))))

/** What tells the transport of a call from those of others on its channel. */
export interface TransportOf {
  readonly compression: Compression | undefined
  /** The types that JSON may have in an `Any`. */
  readonly types: Registry
  readonly waitForReady: boolean | undefined
}

/** The transport for a call; for the same, the same one each time. */
export type Transports = (of: TransportOf) => Transport

const transportOf = ({ method, waitForReady }: CallInfo, compression: Compression | undefined): TransportOf => ({
  compression,
  types: detailTypes(descriptorOf(method).parent.file),
  waitForReady,
})

/** The error of a call, with what stood in the way where its deadline passed: Connect-ES says that it timed out. */
const explained = (error: RpcError, { trouble }: Connectivity): RpcError => {
  if (error.code !== "deadline_exceeded" || trouble === undefined) return error
  const { code, message, details, metadata, header, cause } = error
  return new RpcError({ code, message: `${message}: ${trouble}`, details, metadata, header, cause })
}

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
            transport(transportOf(call, compression)).unary(
              desc as DescMethodUnary,
              signal,
              timeout,
              toHeaders(call.metadata),
              request as MessageInitShape<DescMessage>,
            ),
          catch: (reason) => explained(toRpcError(reason, desc), connectivity),
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
    let head: Metadata.Metadata | undefined
    const toError = (reason: unknown) => failed ?? explained(toRpcError(reason, desc, head), connectivity)
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
            transport(transportOf(call, compression)).stream(
              desc as DescMethodStreaming,
              signal,
              timeout,
              toHeaders(call.metadata),
              sent as AsyncIterable<MessageInitShape<DescMessage>>,
            ),
          catch: toError,
        })
        call.response.committed = true
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
