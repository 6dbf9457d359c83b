/**
 * The services that gRPC's own interop clients call: `grpc.testing.TestService`, and the reports of load that two of
 * their cases ask for.
 *
 * Sources: grpc/doc/interop-test-descriptions.md and gRFC A51.
 */
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf"
import { durationMs } from "@bufbuild/protobuf/wkt"
import { Effect, Schedule, Stream } from "effect"
import { Call, Metadata, RpcError, Status, sendHeader, sendTrailer } from "../../src/core/mod.ts"
import { Service } from "../../src/transport/mod.ts"
import {
  type EchoStatus,
  type ResponseParameters,
  type SimpleRequest,
  type StreamingOutputCallRequest,
  type TestOrcaReport,
  TestService,
} from "./gen/grpc/testing/test_pb.ts"
import { OrcaLoadReportSchema } from "./gen/xds/data/orca/v3/orca_load_report_pb.ts"
import { OpenRcaService } from "./gen/xds/service/orca/v3/orca_pb.ts"

type Report = MessageInitShape<typeof OrcaLoadReportSchema>

const payload = (size: number) => ({ payload: { body: new Uint8Array(size) } })

const echoedHeader = "x-grpc-test-echo-initial"
const echoedTrailer = "x-grpc-test-echo-trailing-bin"

const echoMetadata = Effect.gen(function* () {
  const { metadata } = yield* Call
  yield* sendHeader({ [echoedHeader]: Metadata.getAll(metadata, echoedHeader) })
  yield* sendTrailer({ [echoedTrailer]: Metadata.getAll(metadata, echoedTrailer) })
})

const failAsAsked = (asked: EchoStatus | undefined): Effect.Effect<void, RpcError> => {
  const code = Status.fromNumber(asked?.code ?? 0)
  return code === "ok" ? Effect.void : Effect.fail(new RpcError({ code, message: asked?.message ?? "" }))
}

const reportOf = (asked: TestOrcaReport): Report => ({
  cpuUtilization: asked.cpuUtilization,
  memUtilization: asked.memoryUtilization,
  requestCost: asked.requestCost,
  utilization: asked.utilization,
})

const unary = Effect.fnUntraced(function* (request: SimpleRequest) {
  yield* echoMetadata
  yield* failAsAsked(request.responseStatus)
  if (request.orcaPerQueryReport !== undefined) {
    const report = create(OrcaLoadReportSchema, reportOf(request.orcaPerQueryReport))
    yield* sendTrailer({ "endpoint-load-metrics-bin": toBinary(OrcaLoadReportSchema, report) })
  }
  return { ...payload(request.responseSize), serverId: request.fillServerId ? `${process.pid}` : "" }
})

const answers = (asked: ReadonlyArray<ResponseParameters>) =>
  Stream.mapEffect(Stream.fromIterable(asked), ({ size, intervalUs }) =>
    intervalUs > 0 ? Effect.as(Effect.sleep(intervalUs / 1000), payload(size)) : Effect.succeed(payload(size)),
  )

/** The services of one server, whose load is what its clients have last said it is. */
export const make = () => {
  let load: Report = {}

  const answersTo = (request: StreamingOutputCallRequest) =>
    Stream.unwrap(
      Effect.gen(function* () {
        yield* failAsAsked(request.responseStatus)
        if (request.orcaOobReport !== undefined) load = reportOf(request.orcaOobReport)
        return answers(request.responseParameters)
      }),
    )

  const test = Service.partial(TestService, {
    emptyCall: () => Effect.succeed({}),
    unaryCall: unary,
    cacheableUnaryCall: unary,
    streamingOutputCall: answersTo,
    streamingInputCall: (requests) =>
      Effect.map(
        Stream.runFold(
          requests,
          () => 0,
          (sum, request) => sum + (request.payload?.body.length ?? 0),
        ),
        (aggregatedPayloadSize) => ({ aggregatedPayloadSize }),
      ),
    fullDuplexCall: (requests) => Stream.unwrap(Effect.as(echoMetadata, Stream.flatMap(requests, answersTo))),
    halfDuplexCall: (requests) =>
      Stream.unwrap(
        Effect.map(Stream.runCollect(requests), (all) => Stream.flatMap(Stream.fromIterable(all), answersTo)),
      ),
  })

  const loads = Service.make(OpenRcaService, {
    streamCoreMetrics: ({ reportInterval }) =>
      Stream.fromEffectSchedule(
        Effect.sync(() => load),
        Schedule.spaced(reportInterval === undefined ? "1 second" : durationMs(reportInterval)),
      ),
  })

  return [test, loads] as const
}
