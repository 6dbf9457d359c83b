/**
 * The client: the CPU that it takes for a call while 64 are always under way, how many it makes in a second, and how long
 * 999 take one after another; what its layers add, and what many calls leave behind.
 */
import { type Caller, type Client, caller } from "../clients.ts"
import { type Comparison, compare, contest, median, type Outcome, type Rounds } from "../contest.ts"
import { runtimeNames, runtimes } from "../programs.ts"
import type { Bound, Measure, Note } from "../row.ts"
import { calculator } from "../servers.ts"
import { leaksOf } from "./memory.ts"

/**
 * Lets clients call one and the same server. It is ours on Bun without layers, which takes less CPU a call than any of
 * the peers: so a client waits for it as little as can be.
 */
const clientContest = async <K extends Caller, A>(
  what: Rounds<K, Client, A>,
  note: Note,
): Promise<ReadonlyMap<K, Outcome<A>>> => {
  await using server = await calculator("no layers")
  return await contest({ ...what, start: (name) => caller(name, server) }, note)
}

const inFlight = 64
const warmUpSeconds = 6
const roundSeconds = 1

interface Rate {
  readonly perSecond: number
  /** Microseconds of the client's CPU for one. */
  readonly cpu: number
}

const rate = async (client: Client): Promise<Rate> => {
  const before = client.cpu()
  const { calls, seconds } = await client.make({ inFlight, seconds: roundSeconds })
  return { perSecond: calls / seconds, cpu: ((client.cpu() - before) / calls) * 1e6 }
}

const inTurn = 999

/**
 * Milliseconds that calls take one after another, with the client on the server's core. One of the two always waits, and
 * on cores of their own a call would for the most part be the time that the machine takes to wake an idle one.
 */
const duration = async (client: Client): Promise<number> => {
  client.moveTo("server")
  const { seconds } = await client.make({ inFlight: 1, calls: inTurn })
  client.moveTo("load")
  return seconds * 1000
}

interface Taken extends Rate {
  readonly inTurn: number
}

const cpu: Pick<Comparison<Rate>, "figure" | "show"> = {
  figure: (taken) => taken.cpu,
  show: (taken) => `${median(taken, (one) => one.cpu, 1)} µs`,
}
const perSecond: Pick<Comparison<Rate>, "figure" | "show"> = {
  figure: (taken) => taken.perSecond,
  show: (taken) => `${median(taken, (one) => one.perSecond, 0)} calls/s, ${cpu.show(taken)} each`,
}
const time: Pick<Comparison<Taken>, "figure" | "show"> = {
  figure: (taken) => taken.inTurn,
  show: (taken) => `${median(taken, (one) => one.inTurn, 0)} ms`,
}

const names: ReadonlyArray<Caller> = [...runtimes, "grpc-go", "grpc-js", "connect-node"]

export const client: Measure = async (note) => {
  const warmUp = async (client: Client) => {
    await client.make({ inFlight, seconds: warmUpSeconds })
    await duration(client)
  }
  const take = async (client: Client): Promise<Taken> => ({ ...(await rate(client)), inTurn: await duration(client) })
  const outcomes = await clientContest({ names, rounds: 7, warmUp, take }, note)
  const row =
    (title: string, shown: Pick<Comparison<Taken>, "figure" | "show">) =>
    (ours: Caller, peer: Caller, who: string, bound: Bound) =>
      compare(outcomes.get(ours), outcomes.get(peer), { ...shown, measure: `client, ${title}: ${who}`, bound })
  const cpuRow = row("64 calls in flight, CPU a call", cpu)
  const rateRow = row("64 calls in flight", perSecond)
  const timeRow = row("999 calls one after another", time)
  const others = ["deno", "node"] as const
  const against = (runtime: (typeof others)[number]) => `${runtimeNames[runtime]} against ours on Bun`
  const bound: Bound = { better: "lower", must: 1.5 }
  return [
    cpuRow("bun", "grpc-go", "Bun against grpc-go on one CPU", { better: "lower", must: 0.9, aim: 0.6 }),
    ...others.map((runtime) => cpuRow(runtime, "bun", against(runtime), bound)),
    rateRow("bun", "grpc-js", "Bun against grpc-js on Bun", { better: "higher", must: 3 }),
    rateRow("bun", "connect-node", "Bun against connect-node on Bun", { better: "higher", must: 5 }),
    timeRow("bun", "grpc-js", "Bun against grpc-js on Bun", { better: "lower", must: 0.5 }),
    timeRow("bun", "grpc-go", "Bun against grpc-go on one CPU", { better: "lower", aim: 1.2 }),
    ...others.map((runtime) => timeRow(runtime, "bun", against(runtime), bound)),
  ]
}

export const clientLayers: Measure = async (note) => {
  const names = ["all layers", "bun"] as const
  const warmUp = (client: Client) => client.make({ inFlight, seconds: warmUpSeconds })
  const outcomes = await clientContest({ names, rounds: 11, warmUp, take: rate }, note)
  return [
    compare(outcomes.get("all layers"), outcomes.get("bun"), {
      ...cpu,
      measure: "client layers, CPU a call: Bun, retry, deadline and metadata against none",
      bound: { better: "lower", must: 1.2 },
    }),
  ]
}

export const discovery: Measure = async (note) => {
  const names = ["discovered", "bun"] as const
  const warmUp = (client: Client) => client.make({ inFlight, seconds: warmUpSeconds })
  const outcomes = await clientContest({ names, rounds: 21, warmUp, take: rate }, note)
  return [
    compare(outcomes.get("discovered"), outcomes.get("bun"), {
      ...cpu,
      measure: "discovery, CPU a call: Bun, the least busy of the endpoints that a registry knows, against one address",
      bound: { better: "lower", must: 1.05 },
    }),
  ]
}

export const clientLeaks = leaksOf<Client>(
  "client, memory after 10⁶ calls against after 2·10⁵",
  clientContest,
  (client, calls) => client.make({ inFlight, calls }),
)
