/**
 * connect-node as a server of `grpc.testing.TestService`, in all of its protocols over HTTP/2. It says on stdout which
 * port it has, and Ctrl-C ends it.
 */
import * as http2 from "node:http2"
import process from "node:process"
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect"
import { compressionGzip, connectNodeAdapter } from "@connectrpc/connect-node"
import {
  type EchoStatus,
  type SimpleRequest,
  type StreamingOutputCallRequest,
  TestService,
} from "../gen/grpc/testing/test_pb.ts"

const copy = (key: string, from: Headers, to: Headers): void => {
  const value = from.get(key)
  if (value !== null) to.set(key, value)
}

const echoMetadata = ({ requestHeader, responseHeader, responseTrailer }: HandlerContext): void => {
  copy("x-grpc-test-echo-initial", requestHeader, responseHeader)
  copy("x-grpc-test-echo-trailing-bin", requestHeader, responseTrailer)
}

const failAsAsked = (asked: EchoStatus | undefined): void => {
  // Connect-ES numbers the codes as gRPC does.
  if (asked !== undefined && asked.code in Code) throw new ConnectError(asked.message, asked.code as Code)
}

const payload = (size: number) => ({ payload: { body: new Uint8Array(size) } })

const answers = async function* ({ responseParameters, responseStatus }: StreamingOutputCallRequest) {
  failAsAsked(responseStatus)
  for (const { size, intervalUs } of responseParameters) {
    if (intervalUs > 0) await new Promise((resolve) => setTimeout(resolve, intervalUs / 1000))
    yield payload(size)
  }
}

const unary = (request: SimpleRequest, context: HandlerContext) => {
  echoMetadata(context)
  failAsAsked(request.responseStatus)
  return payload(request.responseSize)
}

const server = http2.createServer(
  connectNodeAdapter({
    acceptCompression: [compressionGzip],
    routes: (router) =>
      router.service(TestService, {
        emptyCall: () => ({}),
        unaryCall: unary,
        cacheableUnaryCall: unary,
        streamingOutputCall: answers,
        streamingInputCall: async (requests) => {
          let aggregatedPayloadSize = 0
          for await (const request of requests) aggregatedPayloadSize += request.payload?.body.length ?? 0
          return { aggregatedPayloadSize }
        },
        fullDuplexCall: async function* (requests, context) {
          echoMetadata(context)
          for await (const request of requests) yield* answers(request)
        },
      }),
  }),
)
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : address
  process.stdout.write(`serving on port ${port}\n`)
})
process.once("SIGINT", () => process.exit(0))
