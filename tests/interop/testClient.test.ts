/**
 * Our client, on each runtime, against servers of others and our own.
 */
import assert from "node:assert/strict"
import { Effect, type Scope } from "effect"
import { type Protocol, protocols } from "../../src/transport/mod.ts"
import { describeCasesOf } from "./clients.ts"
import { grpcioServed } from "./grpcio.ts"
import { lines, run, type Server, server } from "./processes.ts"
import { ca, certificate, certificateKey, program, type Runtime, runtimes, secureName, testServed } from "./programs.ts"
import { test } from "./support.ts"
import { cases, compressedCases } from "./testClient.ts"
import { grpcGoServer } from "./tools.ts"
import { hasGzip, wiretap } from "./wiretap.ts"

const grpcGoServed = (secure = false) =>
  server(
    {
      command: grpcGoServer,
      args: [
        "-port=0",
        ...(secure ? ["-use_tls", `-tls_cert_file=${certificate}`, `-tls_key_file=${certificateKey}`] : []),
      ],
      // It tells its port in its log alone.
      env: { GRPC_GO_LOG_SEVERITY_LEVEL: "info" },
    },
    /interop server listening on \S+:(\d+)$/m,
    { scheme: secure ? "https" : "http", on: "stderr", code: null },
  )

/** A server of servers/, on the runtime that it is made for. */
const nodeServed = (file: string) =>
  server(program("node", `tests/interop/servers/${file}`), /^serving on port (\d+)$/m)

interface Opponent {
  readonly name: string
  readonly served: (client: Runtime) => Effect.Effect<Server, never, Scope.Scope>
  readonly protocol?: Protocol
  readonly secure?: boolean
  /** Default: all of them. */
  readonly cases?: typeof cases
}

const opponents: ReadonlyArray<Opponent> = [
  // It knows no compression.
  { name: "grpc-go's interop server", served: () => grpcGoServed(), cases },
  { name: "grpc-go's interop server", served: () => grpcGoServed(true), secure: true, cases },
  { name: "our server", served: (runtime) => testServed(runtime) },
  { name: "our server", served: (runtime) => testServed(runtime, true), secure: true },
  { name: "grpc-js's server", served: () => nodeServed("grpcJs.ts") },
  { name: "grpcio's server", served: () => grpcioServed("test_server.py"), cases },
  // It compresses for clients that don't accept that, too.
  { name: "grpcio's server with gzip", served: () => grpcioServed("test_server.py", "gzip"), cases: compressedCases },
  ...protocols.map((protocol) => ({
    name: "connect-node's server",
    served: () => nodeServed("connectNode.ts"),
    protocol,
  })),
]

const file = "tests/interop/testClient.ts"

for (const opponent of opponents) {
  const { name, served, protocol = "grpc", secure = false } = opponent
  for (const runtime of runtimes) {
    describeCasesOf(
      `our client on ${runtime}, ${protocol}${secure ? " with TLS" : ""}, and ${name}`,
      opponent.cases ?? { ...cases, ...compressedCases },
      served(runtime),
      ({ url }) => program(runtime, file, [url, protocol, ...(secure ? [ca, secureName] : [])]),
    )
  }
}

// grpc-js compresses no answers.
const sentOnly = [["client_compressed_unary", "sent"]] as const
const bothWays = [...sentOnly, ["server_compressed_unary", "received"]] as const

const gzipServers = [
  { name: "our server", served: testServed("bun"), ways: bothWays },
  { name: "grpc-js's", served: nodeServed("grpcJs.ts"), ways: sentOnly },
  { name: "grpcio's", served: grpcioServed("test_server.py", "gzip"), ways: bothWays },
  { name: "connect-node's", served: nodeServed("connectNode.ts"), ways: bothWays },
]

for (const { name, served, ways } of gzipServers) {
  for (const runtime of runtimes) {
    test(`what our client on ${runtime} exchanges compressed with ${name} is gzip on the wire`, () =>
      Effect.gen(function* () {
        const target = yield* served
        for (const [only, way] of ways) {
          const { url, ...bytes } = yield* wiretap(target)
          const printed = lines(yield* run({ ...program(runtime, file, [url]), env: { ONLY_CASE: only } }))
          assert.deepEqual(printed, [JSON.stringify({ name: only, outcome: "passed" })])
          assert.ok(hasGzip(bytes[way]()), `${way}, there is no gzip`)
        }
      }))
  }
}
