/**
 * The client of grpc-go's interop suite against our server: all of its cases but those that need credentials of a cloud.
 */
import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import { printedBy, run } from "./processes.ts"
import { ca, runtimes, secureName, testServed } from "./programs.ts"
import { shared, test } from "./support.ts"
import { grpcGoClient } from "./tools.ts"

const cases = [
  "empty_unary",
  "large_unary",
  "client_streaming",
  "server_streaming",
  "ping_pong",
  "empty_stream",
  "timeout_on_sleeping_server",
  "cancel_after_begin",
  "cancel_after_first_response",
  "status_code_and_message",
  "special_status_message",
  "custom_metadata",
  "unimplemented_method",
  "unimplemented_service",
  "pick_first_unary",
  "orca_per_rpc",
  "orca_oob",
]

// The client has these too, but doesn't name them in its help. By default one of their calls may take a second, which on
// a busy machine says nothing of the server.
const soaks = {
  rpc_soak: ["--soak_iterations=100", "--soak_num_threads=4"],
  channel_soak: ["--soak_iterations=20", "--soak_num_threads=2"],
}
const soak = ["--soak_overall_timeout_seconds=20", "--soak_per_iteration_max_acceptable_latency_ms=10000"]

const ofClouds = [
  "compute_engine_creds",
  "service_account_creds",
  "jwt_token_creds",
  "per_rpc_creds",
  "oauth2_auth_token",
  "google_default_credentials",
  "compute_engine_channel_credentials",
]

test("grpc-go's client has no cases but those that run here and those of clouds", () =>
  Effect.gen(function* () {
    const { stderr } = yield* run({ command: grpcGoClient, args: ["-help"] })
    const [, options = ""] = /Valid options are:\n([\s\S]*?) \(default "large_unary"\)/.exec(stderr) ?? []
    const named = Array.from(options.matchAll(/^\s*(\w+) ?:/gm), ([, name]) => name)
    assert.deepEqual(named.sort(), [...cases, ...ofClouds].sort())
  }))

// What the cases of ORCA ask of the client's load balancer; the others don't mind.
const serviceConfig = '{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}'

for (const runtime of runtimes) {
  for (const secure of [false, true]) {
    describe(`grpc-go's client and our server on ${runtime}${secure ? " with TLS" : ""}`, () => {
      const server = shared(testServed(runtime, secure))
      const tls = secure
        ? ["--use_tls", "--use_test_ca", `--ca_file=${ca}`, `--server_host_override=${secureName}`]
        : []
      const call = (name: string, options: ReadonlyArray<string>) =>
        test(name, () =>
          Effect.gen(function* () {
            const where = ["--server_host=127.0.0.1", `--server_port=${server().port}`, ...tls]
            const args = [`--test_case=${name}`, ...where, `--service_config_json=${serviceConfig}`, ...options]
            // It says that a case has gone well in its log alone.
            printedBy(yield* run({ command: grpcGoClient, args }))
          }),
        )
      for (const name of cases) call(name, [])
      for (const [name, options] of Object.entries(soaks)) call(name, [...soak, ...options])
    })
  }
}
