/**
 * A Connect-ES `Transport` as a connector: what carries a channel's calls.
 */
import type { DescMessage, DescMethodStreaming, DescMethodUnary, MessageInitShape, Registry } from "@bufbuild/protobuf"
import type { Transport } from "@connectrpc/connect"
import { Effect, Stream } from "effect"
import { type CallInfo, type Method, path } from "../../core/rpc/call.ts"
import type { Connector } from "../../core/rpc/channel.ts"
import type { Compression } from "../../core/rpc/compression.ts"
import type { Connectivity } from "../../core/rpc/connectivity.ts"
import * as Deadline from "../../core/rpc/deadline.ts"
import { changed, type RpcError } from "../../core/rpc/error.ts"
import type * as Metadata from "../../core/rpc/metadata.ts"
import { mapReady } from "../../core/rpc/ready.ts"
import { detailTypes } from "../details.ts"
import { descriptorOf } from "../method.ts"
import { checkMessage } from "../protobuf/check.ts"
import { unsendable } from "../protobuf/unsendable.ts"
import { fromConnectError } from "./error.ts"
import { fromHeaders, toHeaders } from "./headers.ts"

// Connect-ES has all metadata of a call that failed in one: which of it came first is known only where a response began.
const toRpcError = (reason: unknown, types: Registry, method: Method, header: Metadata.Metadata = []): RpcError => {
  const error = fromConnectError(reason, types)
  return changed(error, { metadata: without(error.metadata, header), header, method: path(method).slice(1) })
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

/** A request, or the error of one that Connect-ES would send as something else. */
const checked = (desc: DescMessage, request: unknown): Effect.Effect<unknown, RpcError> => {
  try {
    checkMessage(desc, request)
    return Effect.succeed(request)
  } catch (cause) {
    return Effect.fail(unsendable(desc, cause))
  }
}

/** The error of a call, with what stood in the way where its deadline passed: Connect-ES says that it timed out. */
const explained = (error: RpcError, { trouble }: Connectivity): RpcError => {
  if (error.code !== "deadline_exceeded" || trouble === undefined) return error
  return changed(error, { message: `${error.message}: ${trouble}` })
}

/** A connector over Connect-ES. `more` are types beside those that a service's file names. */
export const connector = (transport: Transports, connectivity: Connectivity, more?: Registry): Connector => ({
  connectivity,
  unary: (call, request, { compression }) => {
    const { waitForReady } = call
    const desc = descriptorOf(call.method)
    const types = detailTypes(desc.parent.file, more)
    return checked(desc.input, request).pipe(
      Effect.andThen(timeoutOf(call)),
      Effect.flatMap((timeout) =>
        Effect.tryPromise({
          // The channel calls `unary` for unary methods only, with a message that `Client.make` made.
          try: (signal) =>
            transport({ compression, types, waitForReady }).unary(
              desc as DescMethodUnary,
              signal,
              timeout,
              toHeaders(call.metadata),
              request as MessageInitShape<DescMessage>,
            ),
          catch: (reason) => explained(toRpcError(reason, types, call.method), connectivity),
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
    const { waitForReady } = call
    const desc = descriptorOf(call.method)
    const types = detailTypes(desc.parent.file, more)
    // Connect-ES would hide why our own requests failed: that is what the caller has to hear.
    let failed: RpcError | undefined
    let head: Metadata.Metadata | undefined
    const toError = (reason: unknown) => failed ?? explained(toRpcError(reason, types, call.method, head), connectivity)
    const all = mapReady((request) => checked(desc.input, request))(requests)
    const watched = Stream.tapError(all, (error) =>
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
            transport({ compression, types, waitForReady }).stream(
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
