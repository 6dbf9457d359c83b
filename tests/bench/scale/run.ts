/**
 * The simulation of scale: `bun tests/bench/scale/run.ts [--etcd]` draws the plots of docs/scale.md and prints its tables.
 *
 * What etcd takes is read from docs/scale/etcd.json. With `--etcd` it is measured anew on this machine, and kept there.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { parseArgs } from "node:util"
import { defaultBackoff } from "../../../src/core/layers/retry.ts"
import { move, root } from "../process.ts"
import type { EtcdFigures } from "./etcd.ts"
import { changesOfRestart, need, ways } from "./fanOut.ts"
import { fanOutPlot, registryPlot, spreadPlot, stormPlot, svg } from "./plots.ts"
import { clients, endpoints } from "./population.ts"
import { registryLoad } from "./registryLoad.ts"
import { type Clients, type Course, type Storm, storm } from "./storm.ts"
import { chosen, churn, drawn, service } from "./subsets.ts"

const { values } = parseArgs({ options: { etcd: { type: "boolean", default: false } } })

const folder = join(root, "docs", "scale")
const seed = "1735" // The year in which Euler announced the sum.

const began = performance.now()
const note = (text: string): void => {
  process.stderr.write(`[${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s] ${text}\n`)
}
const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`
  say(["", line(head), line(head.map(() => "---")), ...rows.map(line), ""].join("\n"))
}
const round = (value: number, digits = 0): string =>
  value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits })
const short = (value: number): string => value.toLocaleString("en", { maximumSignificantDigits: 2 })
const bytes = (value: number): string => {
  const units = ["B", "kB", "MB", "GB", "TB"]
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(value) / 3)))
  return `${short(value / 1000 ** power)} ${units[power]}`
}

const etcdFile = join(folder, "etcd.json")
if (values.etcd) {
  // Not needed otherwise, and neither is etcd then.
  const { measureEtcd } = await import("./etcd.ts")
  move(process.pid, "load")
  writeFileSync(
    etcdFile,
    `${JSON.stringify({ machine: `${cpus()[0]?.model}, ${cpus().length} cores`, ...(await measureEtcd(note)) }, null, 2)}\n`,
  )
}
const etcd: EtcdFigures & { readonly machine: string } = JSON.parse(readFileSync(etcdFile, "utf8"))

const plot = async (name: string, spec: Parameters<typeof svg>[0]): Promise<void> => {
  writeFileSync(join(folder, `${name}.svg`), `${await svg(spec)}\n`)
}

say(`## One member of etcd ${etcd.version} on ${etcd.machine}`)
table(
  ["", "a second", "µs of etcd's CPU each"],
  [
    ["puts, one after another", etcd.put.oneByOne],
    ["puts, 256 at a time", etcd.put.together],
    ["registrations: a lease and a key", etcd.register],
    ["renewals, a stream each", etcd.renew],
    ["renewals, one stream", etcd.renewOnOneStream],
    ...etcd.fanOut.map(
      (told) => [`events to ${round(told.watchers)} watchers on ${round(told.connections)} connections`, told] as const,
    ),
    [`events by a gRPC proxy to ${round(etcd.proxy.watchers)} watchers`, etcd.proxy] as const,
  ].map(([what, rate]) =>
    typeof what === "string" && typeof rate === "object" ? [what, round(rate.perSecond), round(rate.cpuMicros, 1)] : [],
  ),
)
say(
  [
    `a list of ${round(endpoints)} endpoints: ${bytes(etcd.list.bytes)}, ${round(etcd.list.millis)} ms`,
    `an event: ${round(etcd.eventBytes)} B; a connection that watches: ${bytes(etcd.connectionBytes)} of memory`,
    `a lease of 5 s ends after ${round(etcd.expiry.min, 1)} to ${round(etcd.expiry.max, 1)} s`,
  ].join("\n"),
)

note("registry load")
const restarts = [15, 40] as const
const outage = [45, 65] as const
const tenths = registryLoad(
  {
    endpoints,
    ttl: 5,
    arrival: 10,
    restarts: { from: restarts[0], to: restarts[1], perSecond: endpoints / 600, away: 5 },
    outage: { from: outage[0], to: outage[1] },
    seconds: 80,
  },
  seed,
)
await plot("registry", registryPlot(tenths, { restarts, outage }))
const during = (from: number, to: number, what: "renewals" | "registrations" | "deregistrations" | "refused") =>
  tenths.slice(from * 10, to * 10).reduce((sum, counts) => sum + counts[what], 0) / (to - from)
say("\n## Registry load")
table(
  ["", "renewals/s", "registrations/s", "deregistrations/s", "in vain/s"],
  (
    [
      ["all are there", 11, 15],
      ["a rolling restart", 21, 40],
      ["the outage's first second", 45, 46],
      ["the rest of the outage", 47, 65],
      ["the second after it", 65, 66],
      ["the second after that", 66, 67],
      ["then", 70, 80],
    ] as const
  ).map(([what, from, to]) => [
    what,
    ...(["renewals", "registrations", "deregistrations", "refused"] as const).map((kind) =>
      round(during(from, to, kind), 1),
    ),
  ]),
)

say("## Length of a lease")
table(
  ["lease", "renewals/s", "cores, a stream each", "cores, one stream", "notice, mean", "notice, at most"],
  [2, 5, 10, 30, 60].map((ttl) => {
    const renewals = (endpoints * 3) / ttl
    const late = etcd.expiry.median - 5
    // It has been up to a third of the lease since the last renewal.
    return [
      `${ttl} s`,
      round(renewals),
      round((renewals * etcd.renew.cpuMicros) / 1e6, 2),
      round((renewals * etcd.renewOnOneStream.cpuMicros) / 1e6, 2),
      `${round((ttl * 5) / 6 + late, 1)} s`,
      `${round(ttl + etcd.expiry.max - 5, 1)} s`,
    ]
  }),
)

note("watch fan-out")
const changes = changesOfRestart(600)
// As with a million clients: each has a connection of its own.
const alone = etcd.fanOut.find(({ watchers, connections }) => watchers === connections)
if (alone === undefined)
  throw new Error(`${etcdFile} has no fan-out with a connection for each watcher: run with --etcd`)
const counts = Array.from({ length: 41 }, (_, i) => 10 ** (2 + i / 10))
const everyWay = ways(etcd)
await plot(
  "fanOut",
  fanOutPlot(
    everyWay.flatMap((way) => counts.map((count) => need(way, count, changes, alone.cpuMicros))),
    [
      { what: "one core of etcd here", messagesPerSecond: 1e6 / alone.cpuMicros },
      { what: "100 cores", messagesPerSecond: 1e8 / alone.cpuMicros },
    ],
  ),
)
say(`## Watch fan-out to ${round(clients)} clients, ${round(changes, 1)} changes a second`)
table(
  ["told of", "messages/s", "bytes/s", "cores"],
  everyWay.map((way) => {
    const its = need(way, clients, changes, alone.cpuMicros)
    // What a whole list costs wasn't measured.
    const cores = way.bytes === etcd.list.bytes ? `> ${short(its.cores)}` : short(its.cores)
    return [way.name, short(its.messagesPerSecond), `${bytes(its.bytesPerSecond)}/s`, cores]
  }),
)
const half = 4 // Of a member's eight cores.
say(
  [
    `clients that half of 8 cores can tell of these changes: ${short((half * 1e6) / (changes * alone.cpuMicros))}`,
    `members or proxies of 8 cores for all: ${short((clients * changes * alone.cpuMicros) / 1e6 / half)}`,
    `memory of their connections: ${bytes(clients * etcd.connectionBytes)}`,
    `all read the list at once: ${bytes(clients * etcd.list.bytes)}`,
  ].join("\n"),
)

note("subsets")
const sizes = [5, 10, 20, 50, 100]
const drawnSpreads = [1000, 10_000, 100_000, clients].flatMap((count) =>
  sizes.map((size) => drawn(endpoints, count, size, `${seed} ${count} ${size}`)),
)
const chosenSpreads = (
  [
    [10_000, 250, 20],
    [1000, 500, 20],
    [1000, 2500, 20],
    [100, 2500, 20],
    [100, 25_000, 20],
  ] as const
).map(([of, count, size]) => ({ endpoints: of, ...chosen(service(of), count, size) }))
const spentBefore = process.cpuUsage()
const choices = 20
chosen(service(endpoints), choices, 20)
const spent = process.cpuUsage(spentBefore)
const churns = churn(service(endpoints), 50, 20)
await plot("spread", spreadPlot(drawnSpreads, chosenSpreads))
say("\n## Subsets")
table(
  ["clients", "size", "connections of the mean endpoint", "of the fullest, × mean", "of the emptiest, × mean"],
  [
    ...drawnSpreads
      .filter(({ size }) => size === 20)
      .map((spread) => ({ ...spread, what: "drawn, of 10,000", endpoints })),
    ...chosenSpreads.flatMap((spread) => {
      const { endpoints, clients, size } = spread
      const random = drawn(endpoints, clients, size, seed)
      return [
        { ...spread, what: `chosen, of ${round(endpoints)}` },
        { ...random, what: `drawn, of ${round(endpoints)}`, endpoints },
      ]
    }),
  ].map(({ what, endpoints, clients, size, most, least }) => [
    `${round(clients)} ${what}`,
    String(size),
    round((clients * size) / endpoints, 1),
    round(most, 2),
    round(least, 2),
  ]),
)
table(
  ["", "leave", "moved"],
  churns.map(({ scheme, leaving, moved }) => [scheme, round(leaving), `${round(moved * 100, 1)} %`]),
)
say(`CPU to choose 20 of 10,000: ${round((spent.user + spent.system) / 1000 / choices, 1)} ms`)

note("retry storms")
const backoff = defaultBackoff
const bucket = { maxTokens: 10, tokenRatio: 0.1 }
const million: Storm = {
  clients,
  rate: 0.1,
  servers: endpoints,
  work: 0.08,
  deadline: 1,
  // A whole call of our server takes 20.6 µs: docs/performance.md.
  refusal: 20.6e-6 / 0.08,
  roundTrip: 0.001,
  outage: { from: 20, to: 50, lost: endpoints / 2 },
  seconds: 90,
  seed,
}
const back = million.outage.to
/** How long after the servers' return 95 of 100 calls are answered again, and stay so for three seconds. */
const recovery = ({ seconds }: Course): number | undefined => {
  const well = (second: number) => (seconds[second]?.succeeded ?? 0) >= 0.95 * (seconds[second]?.calls ?? 1)
  for (let second = back; second + 2 < million.seconds; second++)
    if (well(second) && well(second + 1) && well(second + 2)) return second - back
  return undefined
}
const recovered = (course: Course): string => {
  const seconds = recovery(course)
  return seconds === undefined ? `not within ${million.seconds - back} s` : `after ${seconds} s`
}
const sum = ({ seconds }: Course, what: keyof Course["seconds"][number], from = 0, to = seconds.length): number =>
  seconds.slice(from, to).reduce((total, counts) => total + counts[what], 0)

const policies: ReadonlyArray<readonly [name: string, clients: Clients, servers?: Partial<Storm>]> = [
  ["no retries", { maxAttempts: 1 }],
  ["3 attempts, at once", { maxAttempts: 3 }],
  ["5 attempts, at once", { maxAttempts: 5 }],
  ["5 attempts, backoff", { maxAttempts: 5, backoff }],
  ["5 attempts, backoff, token bucket", { maxAttempts: 5, backoff, throttle: bucket }],
  ["5 attempts, at once, servers limited", { maxAttempts: 5 }, { limit: 8 }],
]
const courses = policies.map(([name, its, servers]) => {
  note(name)
  return { name, course: storm({ ...million, ...servers }, its) }
})
await plot("storm", stormPlot(courses, million.outage, million.seconds))
say("\n## Retry storms, a million clients")
table(
  [
    "clients",
    "attempts a call, in the outage",
    "answered, in the outage",
    "answered, from 10 s after it",
    "recovered",
    "events, million",
  ],
  courses.map(({ name, course }) => {
    const { from, to } = million.outage
    const share = (from: number, to: number) =>
      `${round((100 * sum(course, "succeeded", from, to)) / sum(course, "calls", from, to), 1)} %`
    return [
      name,
      round(sum(course, "attempts", from, to) / sum(course, "calls", from, to), 2),
      share(from, to),
      share(to + 10, million.seconds),
      recovered(course),
      round(course.events / 1e6, 1),
    ]
  }),
)

note("loads and attempts")
const hundredth = { ...million, clients: clients / 100, servers: endpoints / 100 }
const loads = [0.15, 0.3, 0.45, 0.6, 0.8, 0.9]
say("Recovery by load and attempts, at once, a hundredth of the clients and servers:")
table(
  ["attempts", ...loads.map((load) => `load ${load * 100} %`)],
  [1, 2, 3, 5].map((maxAttempts) => [
    String(maxAttempts),
    ...loads.map((load) =>
      recovered(
        storm(
          {
            ...hundredth,
            rate: load / 8,
            // So many that the rest is at 1.6 of its capacity, as it is above.
            outage: { from: 20, to: 50, lost: Math.round(100 * (1 - load / 1.6)) },
          },
          { maxAttempts },
        ),
      ),
    ),
  ]),
)

note("buckets")
say("The same load from fewer clients that call more often, with backoff and buckets, a tenth of the servers:")
table(
  ["clients", "calls/s each", "tokens", "further attempts in the outage, a call", "recovered"],
  [0.1, 1, 10].flatMap((rate) =>
    [10, 100].map((maxTokens) => {
      const count = clients / 10 / (rate / 0.1)
      const course = storm(
        {
          ...million,
          clients: count,
          rate,
          servers: endpoints / 10,
          outage: { ...million.outage, lost: endpoints / 20 },
        },
        { maxAttempts: 5, backoff, throttle: { maxTokens, tokenRatio: 0.1 } },
      )
      const calls = sum(course, "calls", 20, 50)
      return [
        round(count),
        String(rate),
        String(maxTokens),
        round((sum(course, "attempts", 20, 50) - calls) / calls, 2),
        recovered(course),
      ]
    }),
  ),
)

const { userCPUTime, maxRSS } = process.resourceUsage()
note(`${round(userCPUTime / 1e6)} s of CPU, ${round(maxRSS / 1024)} MiB at most`)
