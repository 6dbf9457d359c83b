/**
 * Latency: how late the slowest hundredth of the answers are, at half of the load that the peer can take at most.
 */
import { alone, type Comparison, compare, contest, median } from "../contest.ts"
import { h2load } from "../h2load.ts"
import { calcPath, calcResponseLength, prefixed, request } from "../messages.ts"
import { runtimeNames, runtimes } from "../programs.ts"
import type { Measure } from "../row.ts"
import { type Calculator, calculator, type Server } from "../servers.ts"
import { assertAnswer } from "../spotCheck.ts"
import { spread } from "../spread.ts"
import { Wire } from "../wire.ts"
import { warmUp } from "./unary.ts"

const connections = 8
const settleMillis = 1000
const roundMillis = 5000
const body = prefixed(request(999))

/** The latencies in milliseconds, sorted, of calls that are made so often whether or not those before were answered. */
const latenciesAt = async (server: Server, perSecond: number): Promise<ReadonlyArray<number>> => {
  using wires = new DisposableStack()
  const failure: { error?: Error } = {}
  const failed = (error: unknown): void => {
    failure.error ??= error instanceof Error ? error : new Error(String(error))
  }
  const all: Array<Wire> = []
  for (let i = 0; i < connections; i++) all.push(wires.use(await Wire.connect(server.port, failed)))
  const latencies: Array<number> = []
  let open = 0
  // A call's time begins when it was to be made: had a server held up the client, the wait would count, too.
  const call = (wire: Wire, due: number): void => {
    open++
    wire.call(calcPath, body, {
      ended: (answer) => {
        open--
        latencies.push(performance.now() - due)
        try {
          assertAnswer(answer, calcResponseLength)
        } catch (error) {
          failed(error)
        }
      },
    })
  }
  const began = performance.now()
  const count = ((settleMillis + roundMillis) / 1000) * perSecond
  for (let sent = 0; sent < count || open > 0; ) {
    // Timers know only whole milliseconds, so the loop turns without a pause.
    await new Promise((resolve) => setImmediate(resolve))
    if (failure.error !== undefined) throw failure.error
    const due = Math.min(count, ((performance.now() - began) / 1000) * perSecond)
    for (; sent < due; sent++) {
      const wire = all[sent % connections]
      if (wire !== undefined) call(wire, began + (sent / perSecond) * 1000)
    }
  }
  return latencies.slice(Math.floor((settleMillis / 1000) * perSecond)).sort((a, b) => a - b)
}

const names: ReadonlyArray<Calculator> = [...runtimes, "grpc-go"]

const milliseconds: Pick<Comparison<number>, "figure" | "show"> = {
  figure: (taken) => taken,
  show: (taken) => `${median(taken, (one) => one, 2)} ms`,
}

export const latency: Measure = async (note) => {
  const peakOf = (server: Server) => h2load(server.port, { seconds: 3 })
  const peaks = await contest({ start: calculator, names: ["grpc-go"], rounds: 3, warmUp, take: peakOf }, note)
  const peak = peaks.get("grpc-go") ?? new Error("grpc-go took no part")
  const title = "p99 latency at half of grpc-go's peak load"
  if (peak instanceof Error) return [alone(peak, { ...milliseconds, measure: title, unit: " ms", digits: 2 })]
  const perSecond = Math.round(spread(peak.map((load) => load.perSecond)).median / 2)
  note(`grpc-go's peak is ${2 * perSecond} calls a second`)
  const take = async (server: Server): Promise<number> => {
    const latencies = await latenciesAt(server, perSecond)
    return latencies[Math.floor(latencies.length * 0.99)] ?? Number.NaN
  }
  const outcomes = await contest({ start: calculator, names, rounds: 3, warmUp, take }, note)
  return runtimes.map((runtime) =>
    compare(outcomes.get(runtime), outcomes.get("grpc-go"), {
      ...milliseconds,
      measure: `${title}, ${perSecond} calls/s: ${runtimeNames[runtime]} against grpc-go`,
      bound: { better: "lower", must: 1.5, aim: 1 },
    }),
  )
}
