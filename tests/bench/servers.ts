/**
 * The servers: ours on each runtime, and its peers.
 */
import { createServer } from "node:net"
import { type Command, has, type Place, Process } from "./process.ts"
import { grpcGo, Missing, program, type Runtime, runtimeNames } from "./programs.ts"
import { spotCheck } from "./spotCheck.ts"

/** A server that runs until it is disposed of. */
export interface Server extends Process {
  readonly port: number
}

const startMillis = 30_000

/** Starts a server, which must say on its first lines which port of 127.0.0.1 it has. */
const start = async (what: Command, on: Place = "server"): Promise<Server> => {
  const process = new Process(what, on)
  return Object.assign(process, { port: Number(await process.said(/127\.0\.0\.1:(\d+)\D/, startMillis)) })
}

const ours = (runtime: Runtime, ...args: ReadonlyArray<string>): Command =>
  // All load comes from one address.
  program(runtime, "src/main.ts", "serve", "--port", "0", "--peer-share", "100", ...args)

const calculators = {
  bun: () => ours("bun"),
  deno: () => ours("deno"),
  node: () => ours("node"),
  "grpc-go": () => grpcGo("server"),
  "grpc-js": () => program("bun", "tests/bench/peers/grpcJs.ts"),
  "connect-node": () => program("bun", "tests/bench/peers/connectNode.ts"),
  "no layers": () => program("bun", "tests/bench/noLayers.ts"),
  "memory cache": () => ours("bun", "--cache", "memory"),
} as const satisfies Readonly<Record<string, () => Command>>

/** A server of the calculator, by its name; that of a runtime is ours on it. */
export type Calculator = keyof typeof calculators

export const calculatorNames: Readonly<Record<Calculator, string>> = {
  ...runtimeNames,
  "grpc-go": "grpc-go",
  "grpc-js": "grpc-js",
  "connect-node": "connect-node",
  "no layers": "Bun without layers",
  "memory cache": "Bun with a cache in memory",
}

/** Starts a calculator, and sees that it answers right. */
export const calculator = (name: Calculator): Promise<Server> => checked(start(calculators[name]()))

/** Ours on Bun, as these flags say, on whatever cores there are. */
export const unbound = (...args: ReadonlyArray<string>): Promise<Server> =>
  checked(start(ours("bun", ...args), "anywhere"))

/** Redis, beside the load: a server of ours that it works for has a core to itself. */
export const redis = async (): Promise<Server> => {
  if (!has("redis-server") || !has("redis-benchmark")) {
    throw new Missing("Redis is missing: apt-get install redis-server")
  }
  // It says which port it has only where that isn't 0, which is none to it.
  const port = await freePort()
  const process = new Process(
    { command: "redis-server", args: ["--port", String(port), "--bind", "127.0.0.1", "--save", ""] },
    "load",
  )
  await process.said(/Ready to accept connections/, startMillis)
  return Object.assign(process, { port })
}

const freePort = async (): Promise<number> => {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const server = createServer().once("error", reject)
  server.listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
  })
  return await promise
}

/** Ours on Bun that serves the cache out of a Redis. */
export const redisCache = ({ port }: Server): Promise<Server> =>
  checked(start(ours("bun", "--cache", `redis://127.0.0.1:${port}`)))

const checked = async (starting: Promise<Server>): Promise<Server> => {
  const server = await starting
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
