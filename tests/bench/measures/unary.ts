/**
 * Unary calls: the CPU that a server takes for one, in all its threads, while eighty of them are always under way.
 */
import { type Comparison, compare, contest, median } from "../contest.ts"
import { h2load } from "../h2load.ts"
import { runtimeNames, runtimes } from "../programs.ts"
import type { Measure } from "../row.ts"
import { type Calculator, calculator, type Server } from "../servers.ts"

const warmUpSeconds = 8
const roundSeconds = 1

/** Warms a server up, so long that also a slow one has compiled what it runs. */
export const warmUp = (server: Server): Promise<unknown> => h2load(server.port, { seconds: warmUpSeconds })

/** Microseconds of CPU a call. */
export const cpuPerCall = async (server: Server): Promise<number> => {
  const before = server.cpu()
  const { calls } = await h2load(server.port, { seconds: roundSeconds })
  return ((server.cpu() - before) / calls) * 1e6
}

export const microseconds: Pick<Comparison<number>, "figure" | "show"> = {
  figure: (taken) => taken,
  show: (taken) => `${median(taken, (one) => one, 1)} µs`,
}

const names: ReadonlyArray<Calculator> = [...runtimes, "grpc-go", "grpc-js", "connect-node"]

export const unary: Measure = async (note) => {
  const outcomes = await contest({ start: calculator, names, rounds: 9, warmUp, take: cpuPerCall }, note)
  const row = (ours: Calculator, peer: Calculator, measure: string, must: number, aim: number) =>
    compare(outcomes.get(ours), outcomes.get(peer), {
      ...microseconds,
      measure: `unary, CPU a call: ${measure}`,
      bound: { better: "lower", must, aim },
    })
  return [
    ...runtimes.map((runtime) =>
      row(runtime, "grpc-go", `${runtimeNames[runtime]} against grpc-go on one CPU`, 0.75, 0.5),
    ),
    row("bun", "grpc-js", "Bun against grpc-js on Bun", 0.25, 0.18),
    row("bun", "connect-node", "Bun against connect-node on Bun", 0.1, 0.06),
  ]
}
