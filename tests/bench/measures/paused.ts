/**
 * Paused streams: how many calls go through beside a thousand endless streams that nobody reads, on the same connections.
 */
import { compare, contest, median } from "../contest.ts"
import { calcPath, calcRangePath, calcResponseLength, prefixed, range, request } from "../messages.ts"
import { runtimeNames, runtimes } from "../programs.ts"
import type { Measure } from "../row.ts"
import { type Calculator, calculator, type Server } from "../servers.ts"
import { assertAnswer } from "../spotCheck.ts"
import { Wire } from "../wire.ts"
import { timed } from "./streams.ts"

const connections = 5
const pausedEach = 200
// What a client says nothing about: each stream goes on until it is full.
const window = 65_535
const calls = 40_000
const atOnce = 50
const body = prefixed(request(999))
const endless = prefixed(range(2 ** 31 - 1))

/** Makes so many calls on a connection, so many at once. */
const callAll = (wire: Wire, count: number): Promise<void> =>
  new Promise((resolve, reject) => {
    let begun = 0
    let ended = 0
    const next = () => {
      if (begun === count) return
      begun++
      wire.call(calcPath, body, {
        ended: (answer) => {
          try {
            assertAnswer(answer, calcResponseLength)
          } catch (error) {
            return reject(error)
          }
          ended++
          if (ended === count) resolve()
          else next()
        },
      })
    }
    for (let i = 0; i < atOnce; i++) next()
  })

/** Opens a stream, and resolves when its window is full. */
const pause = (wire: Wire): Promise<void> =>
  new Promise((resolve, reject) => {
    let length = 0
    wire.call(calcRangePath, endless, {
      ended: ({ status }) => reject(new Error(`a paused stream has ended with status ${status}`)),
      received: (bytes) => {
        length += bytes.length
        if (length >= window) resolve()
      },
    })
  })

const take = async (server: Server) => {
  using wires = new DisposableStack()
  const lost = Promise.withResolvers<never>()
  const all: Array<Wire> = []
  for (let i = 0; i < connections; i++) all.push(wires.use(await Wire.connect(server.port, lost.reject, window)))
  const paused = all.flatMap((wire) => Array.from({ length: pausedEach }, () => pause(wire)))
  await Promise.race([Promise.all(paused), lost.promise])
  return await timed(server, calls, async () => {
    await Promise.race([Promise.all(all.map((wire) => callAll(wire, calls / connections))), lost.promise])
  })
}

export const paused: Measure = async (note) => {
  const names: ReadonlyArray<Calculator> = [...runtimes, "grpc-go"]
  const warmUp = async (server: Server) => {
    using wire = await Wire.connect(server.port, () => {})
    await callAll(wire, calls)
  }
  const outcomes = await contest({ start: calculator, names, rounds: 5, warmUp, take }, note)
  return runtimes.map((runtime) =>
    compare(outcomes.get(runtime), outcomes.get("grpc-go"), {
      measure: `calls beside 1,000 paused streams: ${runtimeNames[runtime]} against grpc-go`,
      figure: ({ perSecond }) => perSecond,
      show: (taken) =>
        `${median(taken, ({ perSecond }) => perSecond, 0)} calls/s, ${median(taken, ({ cpu }) => cpu, 1)} µs each`,
    }),
  )
}
