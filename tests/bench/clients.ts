/**
 * The clients: ours on each runtime, and its peers. Each is a process of its own, and calls when it is told to.
 */
import { piClosedForm } from "../../src/core/pi/series.ts"
import type { Done, Order } from "./orders.ts"
import { type Command, Process } from "./process.ts"
import { grpcGo, program, type Runtime } from "./programs.ts"
import type { Server } from "./servers.ts"

/** So many calls, or as many as there is time for, and how many of them are under way at once. */
export type Amount = { readonly inFlight: number } & ({ readonly calls: number } | { readonly seconds: number })

/** A client that runs until it is disposed of. */
export interface Client extends Process {
  /** Has it make calls, and waits until all of them have had the right answer. */
  readonly make: (amount: Amount) => Promise<Done>
}

const n = 999
const pi = piClosedForm(n)

// A client that hangs is a failure, not a long one.
const longestMillis = 240_000

const start = (what: Command): Client => {
  const process = new Process(what, "load")
  const make = async (amount: Amount): Promise<Done> => {
    const order: Order = { n, pi, ...amount }
    process.tell(JSON.stringify(order))
    const done: Done = JSON.parse(await process.said(/^(\{"calls":.*\})$/m, longestMillis))
    if ("calls" in amount ? done.calls !== amount.calls : done.calls === 0) {
      throw new Error(`${done.calls} calls were made of ${JSON.stringify(amount)}`)
    }
    return done
  }
  return Object.assign(process, { make })
}

const ours = (runtime: Runtime, ...args: ReadonlyArray<string>) => program(runtime, "tests/bench/ourClient.ts", ...args)

const clients = {
  bun: (host) => ours("bun", host),
  deno: (host) => ours("deno", host),
  node: (host) => ours("node", host),
  "all layers": (host) => ours("bun", host, "layers"),
  discovered: (host) => ours("bun", host, "discovered"),
  "grpc-go": (host) => grpcGo("client", host),
  "grpc-js": (host) => program("bun", "tests/bench/peers/grpcJsClient.ts", host),
  "connect-node": (host) => program("bun", "tests/bench/peers/connectNodeClient.ts", host),
} as const satisfies Readonly<Record<string, (host: string) => Command>>

/** A client of the calculator, by its name; that of a runtime is ours on it. */
export type Caller = keyof typeof clients

/** Starts a client of a calculator. */
export const caller = async (name: Caller, { port }: Server): Promise<Client> =>
  start(clients[name](`127.0.0.1:${port}`))
