/**
 * Memory: what idle connections hold, and what many calls leave behind.
 */
import { setTimeout } from "node:timers/promises"
import { alone, type Comparison, contest, median, type Outcome, type Rounds } from "../contest.ts"
import { h2load } from "../h2load.ts"
import { calcPath, calcResponseLength, prefixed, request } from "../messages.ts"
import type { Process } from "../process.ts"
import { type Runtime, runtimeNames, runtimes } from "../programs.ts"
import type { Measure, Note } from "../row.ts"
import { type Calculator, calculator, calculatorNames, type Server } from "../servers.ts"
import { assertAnswer } from "../spotCheck.ts"
import { spread } from "../spread.ts"
import { Wire } from "../wire.ts"

const kibibyte = 1024
const body = prefixed(request(999))

// What is to be collected has time to be, and has been once the figure no longer falls.
const settleMillis = 2000
const settles = 5

/** The memory that a server comes to rest at. */
const settled = async (server: Server): Promise<number> => {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < settles; i++) {
    await setTimeout(settleMillis)
    const now = server.rss()
    if (now > least * 0.99) return Math.min(now, least)
    least = now
  }
  return least
}

const oneCall = (wire: Wire): Promise<void> =>
  new Promise((resolve, reject) => {
    wire.call(calcPath, body, {
      ended: (answer) => {
        try {
          resolve(assertAnswer(answer, calcResponseLength))
        } catch (error) {
          reject(error)
        }
      },
    })
  })

const idle = 10_000
// As many as the queue of a listening socket holds in any case.
const atOnce = 100

const bytesPerConnection = async (server: Server): Promise<number> => {
  using wires = new DisposableStack()
  const failures: Array<unknown> = []
  const before = await settled(server)
  for (let i = 0; i < idle; i += atOnce) {
    await Promise.all(
      Array.from({ length: atOnce }, async () => {
        const { promise: lost, reject } = Promise.withResolvers<never>()
        lost.catch((error) => failures.push(error))
        const wire = wires.use(await Wire.connect(server.port, reject))
        await Promise.race([oneCall(wire), lost])
      }),
    )
  }
  const after = await settled(server)
  if (failures.length > 0) throw new Error(`${failures.length} connections were lost: ${failures[0]}`)
  return (after - before) / idle
}

const kibibytes: Pick<Comparison<number>, "figure" | "show"> = {
  figure: (taken) => taken / kibibyte,
  show: (taken) => `${median(taken, (one) => one / kibibyte, 1)} KiB`,
}

/** A server's first calls make it compile and allocate, which no connection is to blame for. */
const firstCalls = (server: Server) => h2load(server.port, { calls: 20_000 })

export const connections: Measure = async (note) => {
  const names: ReadonlyArray<Calculator> = [...runtimes, "grpc-go"]
  const rows = []
  // One after another, and each in a process of its own, for memory once taken is seldom given back.
  for (const name of names) {
    const outcomes = await contest(
      { start: calculator, names: [name], rounds: 1, warmUp: firstCalls, take: bytesPerConnection },
      note,
    )
    rows.push(
      alone(outcomes.get(name), {
        ...kibibytes,
        measure: `memory of an idle connection, 10,000 of them: ${calculatorNames[name]}`,
        unit: " KiB",
        digits: 1,
        ...(name === "bun" && { bound: { better: "lower", must: 20, aim: 8 } }),
      }),
    )
  }
  return rows
}

const few = 200_000
const many = 1_000_000
// A collector lets the heap swing by a fifth between two of its runs: the figure is the median of several moments.
const moments = 7
const callsBetween = 20_000

interface Growth {
  readonly few: number
  readonly many: number
}

/** The memory after so many calls, and at some moments within the next ones. */
const memoryAfter = async (
  process: Process,
  calls: number,
  pass: (calls: number) => Promise<unknown>,
): Promise<number> => {
  const taken: Array<number> = []
  await pass(calls - (moments >> 1) * callsBetween)
  for (let i = 0; i < moments; i++) {
    await setTimeout(settleMillis / 4)
    taken.push(process.rss())
    await pass(callsBetween)
  }
  return spread(taken).median
}

const growth = async (process: Process, pass: (calls: number) => Promise<unknown>): Promise<Growth> => {
  const afterFew = await memoryAfter(process, few, pass)
  const made = few + Math.ceil(moments / 2) * callsBetween
  return { few: afterFew, many: await memoryAfter(process, many - made, pass) }
}

const mebibyte = 2 ** 20

/** What many calls leave behind in ours on each runtime. `pass` lets so many calls through. */
export const leaksOf =
  <P extends Process>(
    title: string,
    run: (what: Rounds<Runtime, P, Growth>, note: Note) => Promise<ReadonlyMap<Runtime, Outcome<Growth>>>,
    pass: (participant: P, calls: number) => Promise<unknown>,
  ): Measure =>
  async (note) => {
    const warmUp = () => Promise.resolve()
    const take = (participant: P) => growth(participant, (calls) => pass(participant, calls))
    const rows = []
    for (const runtime of runtimes) {
      const outcomes = await run({ names: [runtime], rounds: 1, warmUp, take }, note)
      rows.push(
        alone(outcomes.get(runtime), {
          measure: `${title}: ${runtimeNames[runtime]}`,
          figure: (taken) => taken.many / taken.few,
          show: (taken) =>
            `${median(taken, (one) => one.few / mebibyte, 0)} → ${median(taken, (one) => one.many / mebibyte, 0)} MiB`,
          bound: { better: "lower", must: 1.1, aim: 1.02 },
          unit: "",
          digits: 2,
        }),
      )
    }
    return rows
  }

export const leaks = leaksOf<Server>(
  "memory after 10⁶ calls against after 2·10⁵",
  (what, note) => contest({ ...what, start: calculator }, note),
  (server, calls) => h2load(server.port, { calls }),
)
