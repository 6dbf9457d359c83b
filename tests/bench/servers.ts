/**
 * The servers: ours on each runtime, and its peers.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { type Command, has, output, root, type Server, type StartOptions, start } from "./process.ts"
import { spotCheck } from "./spotCheck.ts"

/** Something that a measure needs isn't there. The message says what to do about it. */
export class Missing extends Error {
  override readonly name = "Missing"
}

export const runtimes = ["bun", "deno", "node"] as const
export type Runtime = (typeof runtimes)[number]

export const runtimeNames: Readonly<Record<Runtime, string>> = { bun: "Bun", deno: "Deno", node: "Node" }

/** Node as the conformance suites have it, for it must run TypeScript. */
export const node = (): string => {
  const path = join(root, ".tools", "node", "node_modules", ".bin", "node")
  if (!existsSync(path)) throw new Missing("Node is missing: tests/conformance/setup.sh")
  return path
}

const program = (runtime: Runtime, file: string, ...args: ReadonlyArray<string>): Command => {
  switch (runtime) {
    case "bun":
      return { command: "bun", args: ["run", file, ...args] }
    case "deno":
      return { command: "deno", args: ["run", "--no-prompt", "--allow-net", "--no-lock", file, ...args] }
    case "node":
      return { command: node(), args: [file, ...args] }
  }
}

const ours = (runtime: Runtime): Command => program(runtime, "src/main.ts", "serve", "--port", "0")

const grpcGoSource = "tests/bench/peers/grpcGo"
const grpcGoBinary = join(root, ".tools", "benchGrpcGo")

/** Builds grpc-go's server anew each time, so that it is always that of pi.proto; Go keeps what is still good. */
const grpcGo = (): Command => {
  if (!has("go")) throw new Missing("grpc-go is missing: install Go 1.26 or later, https://go.dev/dl")
  output("buf", "generate", "proto", "--path", "proto/pi.proto", "--template", `${grpcGoSource}/buf.gen.yaml`)
  output("go", "-C", grpcGoSource, "build", "-o", grpcGoBinary, ".")
  return { command: grpcGoBinary, args: [], env: { GOMAXPROCS: "1" } }
}

const calculators = {
  bun: () => ours("bun"),
  deno: () => ours("deno"),
  node: () => ours("node"),
  "grpc-go": grpcGo,
  "grpc-js": () => program("bun", "tests/bench/peers/grpcJs.ts"),
  "connect-node": () => program("bun", "tests/bench/peers/connectNode.ts"),
  "no layers": () => program("bun", "tests/bench/noLayers.ts"),
} as const satisfies Readonly<Record<string, () => Command>>

/** A server of the calculator, by its name; that of a runtime is ours on it. */
export type Calculator = keyof typeof calculators

export const calculatorNames: Readonly<Record<Calculator, string>> = {
  ...runtimeNames,
  "grpc-go": "grpc-go",
  "grpc-js": "grpc-js",
  "connect-node": "connect-node",
  "no layers": "Bun without layers",
}

/** Starts a calculator, and sees that it answers right. */
export const calculator = async (name: Calculator, options?: StartOptions): Promise<Server> => {
  const server = await start(calculators[name](), options)
  try {
    await spotCheck(server.port)
    return server
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
}

/** Ours that echoes messages, and `node:http2` that echoes bytes, both on Bun. */
export const echoes = {
  bun: () => start(program("bun", "tests/bench/echo.ts")),
  deno: () => start(program("deno", "tests/bench/echo.ts")),
  node: () => start(program("node", "tests/bench/echo.ts")),
  "node:http2": () => start(program("bun", "tests/bench/peers/rawHttp2.ts")),
} as const
