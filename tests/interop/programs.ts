/**
 * Our own programs as processes, on each runtime.
 */
import { join } from "node:path"
import type { Effect } from "effect"
import { type Command, type Finished, run, server } from "./processes.ts"
import { node } from "./tools.ts"

/** The command that runs a program of ours; with no more rights than it needs where a runtime asks for them. */
const commands = {
  bun: ["bun", "run"],
  deno: [
    "deno",
    "run",
    "--no-prompt",
    "--allow-net",
    "--allow-read=tests/transport/certificates",
    "--allow-env=ONLY_CASE",
  ],
  node: [node],
} as const

export type Runtime = keyof typeof commands

export const runtimes = ["bun", "deno", "node"] as const satisfies ReadonlyArray<Runtime>

/** A program of ours on a runtime. */
export const program = (runtime: Runtime, file: string, args: ReadonlyArray<string> = []): Command => {
  const [command, ...first] = commands[runtime]
  return { command, args: [...first, file, ...args] }
}

const ours = (args: ReadonlyArray<string>, runtime: Runtime): Command => program(runtime, "src/main.ts", args)

/** Runs our command to its end. */
export const basel = (args: ReadonlyArray<string>, runtime: Runtime = "bun"): Effect.Effect<Finished> =>
  run(ours(args, runtime))

/** Our server, on a free port unless it is told one. */
export const served = (args: ReadonlyArray<string> = [], runtime: Runtime = "bun") =>
  server(
    ours(["serve", ...(args.includes("--port") ? [] : ["--port", "0"]), ...args], runtime),
    /^basel serves \S+ on http:\/\/127\.0\.0\.1:(\d+): /,
  )

const certificates = join("tests", "transport", "certificates")

/** The certificate of `testServed` and its key, who signed it, and a name that it is for. */
export const certificate = join(certificates, "server.pem")
export const certificateKey = join(certificates, "server.key")
export const ca = join(certificates, "ca.pem")
export const secureName = "server.example"

/** The server of testServer.ts, on a free port. */
export const testServed = (runtime: Runtime, secure = false) =>
  server(
    program(runtime, "tests/interop/testServer.ts", secure ? [certificateKey, certificate] : []),
    /^serving on port (\d+)$/m,
    { scheme: secure ? "https" : "http" },
  )
