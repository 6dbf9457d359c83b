/**
 * What `basel experiment` has measured, as a table with bars, or as JSON.
 */
import { styleText } from "node:util"
import Table from "cli-table3"
import type { Experiment } from "../core/pi/experiment.ts"

export interface Measurement extends Experiment {
  /** How long the server waits before each call; `undefined` where only the server knows. */
  readonly delayMillis: number | undefined
  /** From before the first call to the last answer. */
  readonly seconds: number
}

/**
 * What the tutorial has printed for its 999 calls: `time python client.py`, one after another, and
 * `multithread_client.py`, four threads; then both with a sleep of 10 ms in the server's `Calc`.
 */
const tutorial: ReadonlyArray<Measurement> = [
  { delayMillis: 0, calls: 999, atATime: 1, seconds: 1.192 },
  { delayMillis: 0, calls: 999, atATime: 4, seconds: 1.289 },
  { delayMillis: 10, calls: 999, atATime: 1, seconds: 14.031 },
  { delayMillis: 10, calls: 999, atATime: 4, seconds: 2.099 },
]

const tutorials = ({ delayMillis, calls, atATime }: Measurement): Measurement | undefined =>
  tutorial.find((one) => one.delayMillis === delayMillis && one.calls === calls && one.atATime === atATime)

const callsPerSecond = ({ calls, seconds }: Measurement): number => Math.round(calls / seconds)

/** A measurement as a line of JSON; `tutorialSeconds` is there where the tutorial has printed a time. */
export const measurementJson = (measurement: Measurement): string => {
  const { delayMillis, calls, atATime, seconds } = measurement
  return JSON.stringify({
    delayMillis,
    calls,
    atATime,
    seconds,
    callsPerSecond: callsPerSecond(measurement),
    tutorialSeconds: tutorials(measurement)?.seconds,
  })
}

export interface Paper {
  /** How many characters fit on a line. */
  readonly columns: number
  readonly colors: boolean
}

const eighths = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"] as const

/** A bar of a part of the width, to an eighth of a character. Nothing is too short to be seen. */
const bar = (part: number, width: number): string => {
  const length = Math.max(1, Math.round(part * width * 8))
  return "█".repeat(length / 8) + eighths[length % 8]
}

// Shorter ones tell nothing, and longer ones nothing more.
const minBar = 8
const maxBar = 40

// All that is drawn is the line below the head.
const chars = {
  ...{ top: "", "top-mid": "", "top-left": "", "top-right": "" },
  ...{ bottom: "", "bottom-mid": "", "bottom-left": "", "bottom-right": "" },
  ...{ left: "", "left-mid": "", right: "", "right-mid": "", middle: "", "mid-mid": "" },
}

const secondsText = (seconds: number): string => `${seconds.toFixed(3)} s`

/** Measurements of one server as the lines of a table, with a bar for each time where there is room for one. */
const table = (measurements: ReadonlyArray<Measurement>, { columns, colors }: Paper): ReadonlyArray<string> => {
  const style = (format: "bold" | "dim" | "green", text: string) =>
    colors ? styleText(format, text, { validateStream: false }) : text
  const beside = measurements.some((one) => tutorials(one) !== undefined)
  const heads = ["at a time", "time", "calls/s", ...(beside ? ["tutorial"] : [])]
  const cells = new Table({
    head: heads.map((head) => style("dim", head)),
    colAligns: heads.map(() => "right"),
    chars,
    style: { head: [], border: [], compact: true },
  })
  for (const one of measurements) {
    const theirs = tutorials(one)
    cells.push([
      one.atATime,
      style("bold", secondsText(one.seconds)),
      callsPerSecond(one).toLocaleString("en-US"),
      ...(beside ? [style("dim", theirs === undefined ? "–" : secondsText(theirs.seconds))] : []),
    ])
  }
  const [head = "", rule = "", ...rows] = cells.toString().split("\n")
  const room = Math.min(maxBar, columns - rule.length - 1)
  const longest = Math.max(...measurements.map(({ seconds }) => seconds))
  const bars = measurements.map(({ seconds }) =>
    room < minBar ? "" : ` ${style("green", bar(seconds / longest, room))}`,
  )
  return [head, rule, ...rows.map((row, i) => `${row}${bars[i]}`)].map((line) => line.trimEnd())
}

const title = (delayMillis: number | undefined): string => {
  if (delayMillis === undefined) return "the server that runs already:"
  return delayMillis === 0 ? "no delay on the server:" : `${delayMillis} ms on the server, each call:`
}

const notes = [
  "tutorial: its Python clients of 2018, with 1 and 4 threads, as whole processes.",
  "Its 2.099 s can't be of 4: 999 calls of 10 ms, 4 at a time, take 2.5 s at least.",
]

/** All that was measured, a table for each server, and what the tutorial's times are where some stand beside. */
export const measurementLines = (measurements: ReadonlyArray<Measurement>, paper: Paper): ReadonlyArray<string> => {
  const tables = [...Map.groupBy(measurements, ({ delayMillis }) => delayMillis)].map(([delayMillis, ofOne]) => [
    title(delayMillis),
    ...table(ofOne, paper),
  ])
  const parts = measurements.some((one) => tutorials(one) !== undefined) ? [...tables, notes] : tables
  return parts.flatMap((lines, i) => (i === 0 ? lines : ["", ...lines]))
}
