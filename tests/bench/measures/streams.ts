/**
 * Streams: how many messages go through one in a second, and the CPU that one costs.
 */
import { type Comparison, compare, contest, median } from "../contest.ts"
import { calcRangePath, calcStreamPath, pointLength, prefixed, range, request } from "../messages.ts"
import { runtimeNames, runtimes } from "../programs.ts"
import type { Bound, Measure } from "../row.ts"
import { type Calculator, calculator, type Server } from "../servers.ts"
import { assertAnswer, assertOk } from "../spotCheck.ts"
import { type Answer, onWire } from "../wire.ts"

/** What went through in a round. */
export interface Rate {
  readonly perSecond: number
  /** Microseconds of the server's CPU for one. */
  readonly cpu: number
}

/** Lets so many through, and sees how long that took. */
export const timed = async (server: Server, count: number, pass: () => Promise<void>): Promise<Rate> => {
  const cpu = server.cpu()
  const began = performance.now()
  await pass()
  const seconds = (performance.now() - began) / 1000
  return { perSecond: count / seconds, cpu: ((server.cpu() - cpu) / count) * 1e6 }
}

const messagesPerFrame = 100
const frames = 5000
const answeredAtLeast = 0.49
const answeredAtMost = 0.51

const n = 999
const hundred = Buffer.concat(Array.from({ length: messagesPerFrame }, () => prefixed(request(n))))

const passStream = async (server: Server): Promise<void> => {
  const answer = await onWire<Answer>(server.port, (wire, done) =>
    wire.stream(calcStreamPath, { unit: hundred, times: frames }, { ended: done }),
  )
  assertOk(answer)
  const answered = answer.length / pointLength(n) / (frames * messagesPerFrame)
  if (answered < answeredAtLeast || answered > answeredAtMost) {
    throw new Error(`${answered} of the requests were answered, not half of them`)
  }
}

const points = 1_000_000
const pointsLength = Array.from({ length: points }, (_, i) => pointLength(i + 1)).reduce((sum, one) => sum + one)

const passRange = async (server: Server): Promise<void> => {
  const answer = await onWire<Answer>(server.port, (wire, done) =>
    wire.call(calcRangePath, prefixed(range(points)), { ended: done }),
  )
  assertAnswer(answer, pointsLength)
}

const million = 1e6

/** Rates as they are shown: in millions, if that is the unit, and the CPU beside. */
const rates = (unit: string): Pick<Comparison<Rate>, "figure" | "show"> => ({
  figure: ({ perSecond }) => perSecond,
  show: (taken) =>
    `${median(taken, ({ perSecond }) => perSecond / million, 2)} M ${unit}/s, ${median(taken, ({ cpu }) => cpu, 2)} µs each`,
})

const names: ReadonlyArray<Calculator> = [...runtimes, "grpc-go"]
const measure =
  (title: string, unit: string, count: number, pass: (server: Server) => Promise<void>, bound: Bound): Measure =>
  async (note) => {
    const take = (server: Server) => timed(server, count, () => pass(server))
    const outcomes = await contest({ start: calculator, names, rounds: 9, warmUp: pass, take }, note)
    return runtimes.map((runtime) =>
      compare(outcomes.get(runtime), outcomes.get("grpc-go"), {
        ...rates(unit),
        measure: `${title}: ${runtimeNames[runtime]} against grpc-go`,
        bound,
      }),
    )
  }

export const bidi = measure("bidi stream, half answered", "requests", frames * messagesPerFrame, passStream, {
  better: "higher",
  must: 1.3,
  aim: 2.5,
})

export const serverStream = measure("server stream of 10⁶", "points", points, passRange, {
  better: "higher",
  must: 1,
  aim: 2,
})
