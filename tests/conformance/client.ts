/**
 * The client under test: it reads from stdin which calls to make, makes them, and says on stdout what came of each.
 *
 * Sources: connectrpc/conformance/v1/client_compat.proto, and docs/testing_clients.md of the suite.
 */
import assert from "node:assert/strict"
import { create, type DescMessage, type MessageShape } from "@bufbuild/protobuf"
import { type Any, AnySchema, anyUnpack } from "@bufbuild/protobuf/wkt"
import { Cause, Deferred, Effect, identity, Queue, RcMap, Result, Stream } from "effect"
import { type Channel, deadline, intercept, type ResponseMetadata, RpcError, Status } from "../../src/core/mod.ts"
import { detailBytes, detailTypes } from "../../src/transport/details.ts"
import {
  brotli,
  Client,
  type ConnectOptions,
  compression,
  connect,
  gzip,
  type Protocol as ProtocolName,
  zstd,
} from "../../src/transport/mod.ts"
import { read, write } from "./delimited.ts"
import {
  type ClientCompatRequest,
  ClientCompatRequestSchema,
  ClientCompatResponseSchema,
  type ClientResponseResult,
  ClientResponseResultSchema,
} from "./gen/connectrpc/conformance/v1/client_compat_pb.js"
import { Codec, Compression, HTTPVersion, Protocol, StreamType } from "./gen/connectrpc/conformance/v1/config_pb.js"
import {
  BidiStreamRequestSchema,
  ClientStreamRequestSchema,
  type ConformancePayload,
  ConformancePayloadSchema,
  ConformanceService,
  type Error as ErrorDefinition,
  ErrorSchema,
  file_connectrpc_conformance_v1_service,
  IdempotentUnaryRequestSchema,
  ServerStreamRequestSchema,
  UnaryRequestSchema,
  UnimplementedRequestSchema,
} from "./gen/connectrpc/conformance/v1/service_pb.js"
import { fromHeaders, toHeaders } from "./headers.ts"
import { run } from "./program.ts"

// ---- Where to call, and how

const protocols: Readonly<Partial<Record<Protocol, ProtocolName>>> = {
  [Protocol.CONNECT]: "connect",
  [Protocol.GRPC]: "grpc",
  [Protocol.GRPC_WEB]: "grpc-web",
}

const encodings = {
  [Compression.GZIP]: gzip,
  [Compression.BR]: brotli,
  [Compression.ZSTD]: zstd,
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** What calls have in common that can share a connection. Two that are alike are equal. */
interface Target {
  readonly address: string
  readonly options: ConnectOptions
}

const targetOf = (request: ClientCompatRequest): Target => {
  const { host, port, serverTlsCert, clientTlsCreds, messageReceiveLimit } = request
  const secure = serverTlsCert.length > 0
  const tls = {
    ca: text(serverTlsCert),
    ...(clientTlsCreds === undefined ? {} : { cert: text(clientTlsCreds.cert), key: text(clientTlsCreds.key) }),
  }
  return {
    address: `${secure ? "https" : "http"}://${host}:${port}`,
    options: {
      protocol: protocols[request.protocol] ?? assert.fail(`no protocol ${request.protocol}`),
      codec: request.codec === Codec.JSON ? "json" : "proto",
      httpVersion: request.httpVersion === HTTPVersion.HTTP_VERSION_1 ? "1.1" : "2",
      httpGet: request.useGetHttpMethod,
      ...(secure ? { tls } : {}),
      ...(messageReceiveLimit === 0 ? {} : { maxReceiveBytes: messageReceiveLimit }),
    },
  }
}

const compressed = ({ compression: asked }: ClientCompatRequest) => {
  if (asked === Compression.IDENTITY || asked === Compression.UNSPECIFIED) return identity<Channel>
  const encoding = asked in encodings ? encodings[asked as keyof typeof encodings] : undefined
  // Small messages too, or nothing here would be compressed.
  return compression([encoding ?? assert.fail(`no compression ${asked}`)], { minBytes: 0 })
}

// ---- What came of a call

const unpacked = <D extends DescMessage>(desc: D, any: Any | undefined): MessageShape<D> =>
  (any && anyUnpack(any, desc)) ?? assert.fail(`the method wants a ${desc.typeName}, not ${any?.typeUrl}`)

const types = detailTypes(file_connectrpc_conformance_v1_service)

const toError = ({ code, message, details }: RpcError): ErrorDefinition =>
  create(ErrorSchema, {
    code: Status.toNumber(code),
    message,
    details: details.map((detail) =>
      create(AnySchema, { typeUrl: `type.googleapis.com/${detail.type}`, value: detailBytes(detail, types) }),
    ),
  })

/** Who leaves a call hears no more of it: what it comes to is the caller's to say. */
const cancelled = Effect.fail(new RpcError({ code: "cancelled", message: "cancelled by its caller" }))

// ---- A call

/** Makes the call that a request describes, and cancels it when the request says so. */
const perform = Effect.fnUntraced(function* (
  request: ClientCompatRequest,
  connected: Channel,
): Effect.fn.Return<ClientResponseResult> {
  const { requestMessages, requestDelayMs, requestHeaders, timeoutMs } = request
  const fullDuplex = request.streamType === StreamType.FULL_DUPLEX_BIDI_STREAM
  const timing = request.cancel === undefined ? "never" : (request.cancel.cancelTiming.case ?? "afterCloseSendMs")
  const amount = typeof request.cancel?.cancelTiming.value === "number" ? request.cancel.cancelTiming.value : 0

  // From when on the time runs until it is cancelled.
  const allSent = yield* Deferred.make<void>()
  const unread = yield* Queue.unbounded<void>()
  const payloads: Array<ConformancePayload> = []
  let sent = 0
  let response: ResponseMetadata | undefined

  const channel = connected.pipe(
    compressed(request),
    timeoutMs === undefined ? identity<Channel> : deadline(timeoutMs),
    intercept((call, next) => {
      response = call.response
      return next({ ...call, metadata: fromHeaders(requestHeaders) })
    }),
  )
  const client = Client.make(ConformanceService, channel)

  const closeSend = Effect.gen(function* () {
    if (timing === "beforeCloseSend" || timing === "afterCloseSendMs") yield* Deferred.succeed(allSent, undefined)
    if (timing === "beforeCloseSend") yield* Effect.never
  })

  /** In full duplex each request, and the end of them, waits for the answer to the one before. */
  const requests = <D extends DescMessage>(desc: D) =>
    Stream.fromIterable(requestMessages).pipe(
      Stream.mapEffect(
        Effect.fnUntraced(function* (any: Any) {
          if (fullDuplex && sent > 0) yield* Queue.take(unread)
          yield* Effect.sleep(requestDelayMs)
          sent += 1
          return unpacked(desc, any)
        }),
      ),
      Stream.concat(
        Stream.fromEffectDrain(
          Effect.gen(function* () {
            if (fullDuplex && sent > 0) yield* Queue.take(unread)
            yield* closeSend
          }),
        ),
      ),
    )

  /** Where a method takes just one request, its sender can't see when it went. */
  const single = <D extends DescMessage>(desc: D) => {
    const [any] = requestMessages
    sent = 1
    return Effect.as(closeSend, unpacked(desc, any))
  }

  const answers = (): Stream.Stream<{ readonly payload?: ConformancePayload | undefined }, RpcError> => {
    switch (request.method) {
      case "Unary":
        return Stream.fromEffect(Effect.flatMap(single(UnaryRequestSchema), client.unary))
      case "IdempotentUnary":
        return Stream.fromEffect(Effect.flatMap(single(IdempotentUnaryRequestSchema), client.idempotentUnary))
      case "Unimplemented":
        return Stream.map(
          Stream.fromEffect(Effect.flatMap(single(UnimplementedRequestSchema), client.unimplemented)),
          () => ({}),
        )
      case "ServerStream":
        return Stream.unwrap(Effect.map(single(ServerStreamRequestSchema), client.serverStream))
      case "ClientStream":
        return Stream.fromEffect(client.clientStream(requests(ClientStreamRequestSchema)))
      case "BidiStream":
        return client.bidiStream(requests(BidiStreamRequestSchema))
      default:
        return assert.fail(`no method ${request.method}`)
    }
  }

  const taken = Stream.runForEach(answers(), ({ payload }) => {
    payloads.push(payload ?? create(ConformancePayloadSchema))
    return timing === "afterNumResponses" && payloads.length === amount ? cancelled : Queue.offer(unread, undefined)
  })
  const left = Deferred.await(allSent).pipe(Effect.andThen(Effect.sleep(amount)), Effect.andThen(cancelled))
  const outcome = yield* Effect.result(Effect.raceFirst(taken, left))
  const failure = Result.isFailure(outcome) ? outcome.failure : undefined

  return create(ClientResponseResultSchema, {
    payloads,
    responseHeaders: toHeaders(failure?.header ?? response?.header ?? []),
    responseTrailers: toHeaders(failure?.metadata ?? response?.trailer ?? []),
    numUnsentRequests: requestMessages.length - sent,
    ...(failure === undefined ? {} : { error: toError(failure) }),
  })
})

// ---- All calls

const callsAtOnce = 16

const program = Effect.gen(function* () {
  const channels = yield* RcMap.make({
    lookup: ({ address, options }: Target) => connect(address, options),
    idleTimeToLive: "1 second",
  })
  const asked = Stream.fromAsyncIterable(read(ClientCompatRequestSchema), (reason) => new Error(String(reason)))
  const answer = (request: ClientCompatRequest) =>
    Effect.suspend(() => RcMap.get(channels, targetOf(request))).pipe(
      Effect.flatMap((channel) => perform(request, channel)),
      Effect.scoped,
      Effect.map((value) => ({ case: "response", value }) as const),
      Effect.catchCause((cause) => Effect.succeed({ case: "error", value: { message: Cause.pretty(cause) } } as const)),
      Effect.map((result) =>
        write(ClientCompatResponseSchema, create(ClientCompatResponseSchema, { testName: request.testName, result })),
      ),
    )
  yield* Stream.runDrain(Stream.mapEffect(asked, answer, { concurrency: callsAtOnce, unordered: true }))
  // All is said: the process ends as it would on a signal.
  return yield* Effect.interrupt
})

run(program)
