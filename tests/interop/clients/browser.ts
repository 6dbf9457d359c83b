/**
 * connect-web as a client of the server that the page came from. It runs in a browser: bundled into one script, whose
 * value is a promise of what it has seen.
 */
import { ConnectError, createClient, type Transport } from "@connectrpc/connect"
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web"
import { BadRequestSchema } from "../../../src/transport/gen/google/rpc/error_details_pb.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { TestService } from "../gen/grpc/testing/test_pb.ts"

const baseUrl = location.origin

const transports = {
  "gRPC-Web": createGrpcWebTransport({ baseUrl }),
  Connect: createConnectTransport({ baseUrl }),
  "Connect with JSON and GET": createConnectTransport({ baseUrl, useBinaryFormat: false, useHttpGet: true }),
}

export type Protocol = keyof typeof transports

const calls = 100

const seenBy = async (transport: Transport) => {
  const calculator = createClient(PiCalculator, transport)
  const test = createClient(TestService, transport)

  const numbers = Array.from({ length: calls }, (_, index) => index + 1)
  const answers = await Promise.all(numbers.map((n) => calculator.calc({ n })))

  const streamed: Array<number> = []
  for await (const { n } of calculator.calcRange({ first: 1, last: 1000 })) streamed.push(n)

  const controller = new AbortController()
  let taken = 0
  const left = await (async () => {
    try {
      const endless = { first: 1, last: 2_000_000_000 }
      for await (const _ of calculator.calcRange(endless, { signal: controller.signal })) {
        taken += 1
        if (taken === calls) controller.abort()
      }
      return "it ended"
    } catch (error) {
      return ConnectError.from(error).rawMessage
    }
  })()

  const error = await calculator.calc({ n: 0 }).then(
    () => undefined,
    (reason: unknown) => ConnectError.from(reason),
  )

  let header: string | null = null
  const { payload } = await test.unaryCall(
    { responseSize: 1_000_000, payload: { body: new Uint8Array(1_000_000) } },
    {
      headers: { "x-grpc-test-echo-initial": "ada" },
      onHeader: (got) => {
        header = got.get("x-grpc-test-echo-initial")
      },
    },
  )
  return {
    values: answers.map(({ value }) => value),
    streamed,
    left,
    taken,
    error: {
      message: error?.message,
      field: error?.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field,
    },
    header,
    length: payload?.body.length,
  }
}

const protocolsOf = (kind: "navigation" | "resource"): ReadonlyArray<string> =>
  performance
    .getEntriesByType(kind)
    .flatMap((entry) => (entry instanceof PerformanceResourceTiming ? [entry.nextHopProtocol] : []))

export type SeenByProtocol = Awaited<ReturnType<typeof seenBy>>

export interface Seen {
  readonly page: string
  readonly byProtocol: Readonly<Record<string, SeenByProtocol>>
  /** The protocols of HTTP of the page and of each call. */
  readonly navigation: ReadonlyArray<string>
  readonly resources: ReadonlyArray<string>
}

const look = async (): Promise<Seen> => {
  performance.setResourceTimingBufferSize(10_000)
  const byProtocol: Record<string, SeenByProtocol> = {}
  for (const [name, transport] of Object.entries(transports)) byProtocol[name] = await seenBy(transport)
  return {
    page: document.body.innerText,
    byProtocol,
    navigation: protocolsOf("navigation"),
    resources: protocolsOf("resource"),
  }
}

Object.assign(globalThis, { seen: look() })
