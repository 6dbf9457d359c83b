/**
 * grpc-js as a server of `grpc.testing.TestService`. It says on stdout which port it has, and Ctrl-C ends it.
 */
import process from "node:process"
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf"
import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceDefinition,
} from "@grpc/grpc-js"
import {
  type SimpleRequest,
  type SimpleResponseSchema,
  type StreamingInputCallRequest,
  type StreamingInputCallResponseSchema,
  type StreamingOutputCallRequest,
  type StreamingOutputCallResponseSchema,
  TestService,
} from "../gen/grpc/testing/test_pb.ts"

const serializer =
  <D extends DescMessage>(desc: D) =>
  (message: MessageInitShape<D>): Buffer =>
    Buffer.from(toBinary(desc, create(desc, message)))

const deserializer = (desc: DescMessage) => (bytes: Buffer) => fromBinary(desc, bytes)

// UnimplementedCall isn't there: grpc-js has an answer of its own for what nobody serves.
const definition: ServiceDefinition = Object.fromEntries(
  TestService.methods
    .filter(({ name }) => name !== "UnimplementedCall")
    .map((method) => [
      method.localName,
      {
        path: `/${TestService.typeName}/${method.name}`,
        requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
        responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
        requestSerialize: serializer(method.input),
        requestDeserialize: deserializer(method.input),
        responseSerialize: serializer(method.output),
        responseDeserialize: deserializer(method.output),
      },
    ]),
)

/** Picks the pairs of one key. */
const only = (metadata: Metadata, key: string): Metadata => {
  const picked = new Metadata()
  for (const value of metadata.get(key)) picked.add(key, value)
  return picked
}

const header = (metadata: Metadata) => only(metadata, "x-grpc-test-echo-initial")
const trailer = (metadata: Metadata) => only(metadata, "x-grpc-test-echo-trailing-bin")

const statusOf = ({ code, message }: { readonly code: number; readonly message: string }, metadata: Metadata) =>
  Object.assign(new Error(message), { code, details: message, metadata: trailer(metadata) })

const payload = (size: number) => ({ payload: { body: new Uint8Array(size) } })

type Answer = MessageInitShape<typeof StreamingOutputCallResponseSchema>

const answers = async function* ({ responseParameters }: StreamingOutputCallRequest): AsyncGenerator<Answer, void> {
  for (const { size, intervalUs } of responseParameters) {
    if (intervalUs > 0) await new Promise((resolve) => setTimeout(resolve, intervalUs / 1000))
    yield payload(size)
  }
}

const unaryCall: handleUnaryCall<SimpleRequest, MessageInitShape<typeof SimpleResponseSchema>> = (call, callback) => {
  const { request, metadata } = call
  call.sendMetadata(header(metadata))
  if (request.responseStatus !== undefined && request.responseStatus.code !== 0) {
    return callback(statusOf(request.responseStatus, metadata))
  }
  callback(null, payload(request.responseSize), trailer(metadata))
}

const streamingInputCall: handleClientStreamingCall<
  StreamingInputCallRequest,
  MessageInitShape<typeof StreamingInputCallResponseSchema>
> = (call, callback) => {
  let aggregatedPayloadSize = 0
  call.on("data", ({ payload }: StreamingInputCallRequest) => {
    aggregatedPayloadSize += payload?.body.length ?? 0
  })
  call.on("end", () => callback(null, { aggregatedPayloadSize }))
}

const streamingOutputCall: handleServerStreamingCall<StreamingOutputCallRequest, Answer> = async (call) => {
  for await (const answer of answers(call.request)) call.write(answer)
  call.end()
}

const fullDuplexCall: handleBidiStreamingCall<StreamingOutputCallRequest, Answer> = (call) => {
  call.sendMetadata(header(call.metadata))
  // One request after the other, and then the end. To iterate over the call would destroy it at the end of its requests.
  let answered = Promise.resolve()
  call.on("data", (request: StreamingOutputCallRequest) => {
    const { responseStatus } = request
    answered = answered.then(async () => {
      if (responseStatus !== undefined && responseStatus.code !== 0) {
        call.emit("error", statusOf(responseStatus, call.metadata))
      }
      for await (const answer of answers(request)) call.write(answer)
    })
  })
  call.on("end", () => answered.then(() => call.end(trailer(call.metadata))))
}

const emptyCall: handleUnaryCall<object, object> = (_call, callback) => callback(null, {})

const server = new Server()
server.addService(definition, {
  emptyCall,
  unaryCall,
  cacheableUnaryCall: unaryCall,
  streamingInputCall,
  streamingOutputCall,
  fullDuplexCall,
  halfDuplexCall: fullDuplexCall,
})
server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) => {
  if (error !== null) throw error
  process.stdout.write(`serving on port ${port}\n`)
})
process.once("SIGINT", () => {
  server.forceShutdown()
  process.exit(0)
})
