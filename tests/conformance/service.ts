/**
 * The service that Connect's conformance suite asks for: requests say what to answer, and answers say what was asked.
 *
 * Source: connectrpc/conformance/v1/service.proto, whose comments say what each method has to do.
 */
import { create, toBinary } from "@bufbuild/protobuf"
import { type Any, anyPack } from "@bufbuild/protobuf/wkt"
import { Effect, Stream } from "effect"
import { Call, Metadata, RpcError, Status } from "../../src/core/mod.ts"
import * as Monotonic from "../../src/core/rpc/monotonic.ts"
import { Service } from "../../src/transport/mod.ts"
import {
  BidiStreamRequestSchema,
  ClientStreamRequestSchema,
  type ConformancePayload_RequestInfo,
  ConformancePayload_RequestInfoSchema,
  ConformanceService,
  type Error as ErrorDefinition,
  type Header,
  IdempotentUnaryRequestSchema,
  ServerStreamRequestSchema,
  type StreamResponseDefinition,
  UnaryRequestSchema,
  type UnaryResponseDefinition,
} from "./gen/connectrpc/conformance/v1/service_pb.js"
import { fromHeaders, toHeaders } from "./headers.ts"

// ---- What was asked

const observed = (requests: ReadonlyArray<Any>): Effect.Effect<ConformancePayload_RequestInfo, never, Call> =>
  Effect.map(Effect.zip(Call, Monotonic.now), ([call, now]) =>
    create(ConformancePayload_RequestInfoSchema, {
      requestHeaders: toHeaders(call.metadata),
      requests: [...requests],
      ...(call.deadline === undefined ? {} : { timeoutMs: BigInt(Math.round(call.deadline - now)) }),
    }),
  )

// ---- What to answer

/** Every definition of an answer has these. */
interface Definition {
  readonly responseHeaders: ReadonlyArray<Header>
  readonly responseTrailers: ReadonlyArray<Header>
}

const sendMetadata = (definition: Definition | undefined): Effect.Effect<void, never, Call> =>
  Effect.map(Call, ({ response }) => {
    if (definition === undefined) return
    response.header = Metadata.concat(response.header, fromHeaders(definition.responseHeaders))
    response.trailer = Metadata.concat(response.trailer, fromHeaders(definition.responseTrailers))
  })

const typeName = ({ typeUrl }: Any): string => typeUrl.slice(typeUrl.lastIndexOf("/") + 1)

const toRpcError = ({ code, message, details }: ErrorDefinition, info?: ConformancePayload_RequestInfo): RpcError => {
  const status = Status.fromNumber(code)
  return new RpcError({
    code: status === "ok" ? "unknown" : status,
    message: message ?? "",
    details: [
      ...details.map((detail) => ({ type: typeName(detail), value: detail.value })),
      ...(info === undefined
        ? []
        : [{ type: info.$typeName, value: toBinary(ConformancePayload_RequestInfoSchema, info) }]),
    ],
  })
}

const answerOnce = Effect.fnUntraced(function* (
  definition: UnaryResponseDefinition | undefined,
  requests: ReadonlyArray<Any>,
) {
  const requestInfo = yield* observed(requests)
  yield* sendMetadata(definition)
  yield* Effect.sleep(definition?.responseDelayMs ?? 0)
  switch (definition?.response.case) {
    case "error":
      return yield* toRpcError(definition.response.value, requestInfo)
    case "responseData":
      return { payload: { requestInfo, data: definition.response.value } }
    default:
      return { payload: { requestInfo } }
  }
})

/** What a stream of answers may be asked with. */
interface Asked {
  readonly definition: StreamResponseDefinition | undefined
  readonly fullDuplex: boolean
  readonly request: Any
}

/**
 * Answers in full duplex request by request, otherwise when all requests are there; the first one says what was asked.
 * Then comes the error, which says it where no answer did.
 */
const answerEach = (requests: Stream.Stream<Asked, RpcError>) =>
  Stream.suspend(() => {
    let first: Asked | undefined
    let unanswered: Array<Any> = []
    let given = 0
    const left = () => (first?.definition?.responseData.length ?? 0) - given

    const listen = Effect.fnUntraced(function* (asked: Asked) {
      if (first === undefined) {
        first = asked
        yield* sendMetadata(first.definition)
      }
      unanswered.push(asked.request)
    })
    const answer = Effect.fnUntraced(function* () {
      const { responseData = [], responseDelayMs = 0 } = first?.definition ?? {}
      const data = responseData[given] ?? new Uint8Array()
      const info =
        given === 0
          ? yield* observed(unanswered)
          : create(ConformancePayload_RequestInfoSchema, { requests: unanswered })
      given += 1
      unanswered = []
      yield* Effect.sleep(responseDelayMs)
      return { payload: { data, requestInfo: info } }
    })
    const fail = Effect.fnUntraced(function* (error: ErrorDefinition) {
      return yield* toRpcError(error, given === 0 ? yield* observed(unanswered) : undefined)
    })

    const during = requests.pipe(
      Stream.mapEffect(listen),
      Stream.filter(() => first?.fullDuplex === true),
      Stream.takeWhile(() => left() > 0),
      Stream.mapEffect(answer),
    )
    const after = Stream.suspend(() => Stream.mapEffect(Stream.fromIterable(Array.from({ length: left() })), answer))
    const end = Stream.suspend(() => {
      const error = first?.definition?.error
      return error === undefined ? Stream.empty : Stream.fromEffect(fail(error))
    })
    return during.pipe(Stream.concat(after), Stream.concat(end))
  })

// ---- The service

/** All its methods but the one that nobody is to implement. */
export const conformance = Service.partial(ConformanceService, {
  unary: (request) => answerOnce(request.responseDefinition, [anyPack(UnaryRequestSchema, request)]),

  idempotentUnary: (request) =>
    answerOnce(request.responseDefinition, [anyPack(IdempotentUnaryRequestSchema, request)]),

  clientStream: (requests) =>
    Effect.flatMap(Stream.runCollect(requests), (all) =>
      answerOnce(
        all[0]?.responseDefinition,
        all.map((request) => anyPack(ClientStreamRequestSchema, request)),
      ),
    ),

  serverStream: (request) =>
    answerEach(
      Stream.succeed({
        definition: request.responseDefinition,
        fullDuplex: false,
        request: anyPack(ServerStreamRequestSchema, request),
      }),
    ),

  bidiStream: (requests) =>
    answerEach(
      Stream.map(requests, (request) => ({
        definition: request.responseDefinition,
        fullDuplex: request.fullDuplex,
        request: anyPack(BidiStreamRequestSchema, request),
      })),
    ),
})
