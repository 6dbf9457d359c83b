/**
 * The servers: ours on each runtime, and its peers.
 */
import { type Command, Process } from "./process.ts"
import { grpcGo, program, type Runtime, runtimeNames } from "./programs.ts"
import { spotCheck } from "./spotCheck.ts"

/** A server that runs until it is disposed of. */
export interface Server extends Process {
  readonly port: number
}

const startMillis = 30_000

/** Starts a server, which must say on its first lines which port of 127.0.0.1 it has. */
const start = async (what: Command): Promise<Server> => {
  const process = new Process(what, "server")
  return Object.assign(process, { port: Number(await process.said(/127\.0\.0\.1:(\d+)\D/, startMillis)) })
}

const ours = (runtime: Runtime): Command => program(runtime, "src/main.ts", "serve", "--port", "0")

const calculators = {
  bun: () => ours("bun"),
  deno: () => ours("deno"),
  node: () => ours("node"),
  "grpc-go": () => grpcGo("server"),
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
export const calculator = async (name: Calculator): Promise<Server> => {
  const server = await start(calculators[name]())
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
