/**
 * The benchmark: `bun tests/bench/run.ts [--json FILE] [measure …]` prints a table of how we compare.
 */
import { writeFileSync } from "node:fs"
import process from "node:process"
import { parseArgs } from "node:util"
import { gap } from "./contest.ts"
import { machine } from "./machine.ts"
import { bytes } from "./measures/bytes.ts"
import { cache, redisGets } from "./measures/cache.ts"
import { client, clientLayers, clientLeaks, discovery } from "./measures/client.ts"
import { latency } from "./measures/latency.ts"
import { layers } from "./measures/layers.ts"
import { connections, leaks } from "./measures/memory.ts"
import { paused } from "./measures/paused.ts"
import { bidi, serverStream } from "./measures/streams.ts"
import { unary } from "./measures/unary.ts"
import { cheapWorkers, workers } from "./measures/workers.ts"
import { has, move } from "./process.ts"
import { type Gap, isMet, type Measure, type Note, type Row } from "./row.ts"
import { table } from "./table.ts"

const measures: Readonly<Record<string, Measure>> = {
  unary,
  bidi,
  range: serverStream,
  bytes,
  latency,
  connections,
  leaks,
  paused,
  layers,
  client,
  clientLayers,
  clientLeaks,
  discovery,
  cache,
  redisGets,
  workers,
  cheapWorkers,
}

const usage = (problem: string): never => {
  process.stderr.write(`${problem}\nusage: npm run bench -- [--json FILE] [${Object.keys(measures).join(" | ")}] …\n`)
  process.exit(2)
}

const { values, positionals } = parseArgs({
  options: { json: { type: "string" } },
  allowPositionals: true,
})
const chosen = positionals.length === 0 ? Object.keys(measures) : positionals
const unknown = chosen.filter((name) => !(name in measures))
if (unknown.length > 0) usage(`no measure ${unknown.join(", ")}`)
if (!has("h2load")) {
  process.stderr.write("h2load is missing: apt-get install nghttp2-client\n")
  process.exit(2)
}

const about = machine()
move(process.pid, "load")

const began = performance.now()
const note: Note = (text) => {
  process.stderr.write(`[${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}\n`)
}

const rows: Array<Row | Gap> = []
for (const name of chosen) {
  const measure = measures[name] ?? usage(`no measure ${name}`)
  note(`== ${name}`)
  try {
    rows.push(...(await measure(note)))
  } catch (error) {
    rows.push(gap(name, error instanceof Error ? error : new Error(String(error))))
  }
}

process.stdout.write(table(about, rows))
if (values.json !== undefined) {
  const seconds = Math.round((performance.now() - began) / 1000)
  const results = rows.map((row) => ("problem" in row ? row : { ...row, met: isMet(row) }))
  writeFileSync(
    values.json,
    `${JSON.stringify({ date: new Date(), seconds, machine: about, rows: results }, null, 2)}\n`,
  )
}
// Bounds that aren't met are for who reads the table. What went wrong is no figure at all.
process.exit(rows.some((row) => "problem" in row && row.kind === "failed") ? 1 : 0)
