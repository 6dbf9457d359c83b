/**
 * The cache: what a call costs whose answer is found in it, and how many `Get`s it answers out of Redis.
 */
import { create, toBinary } from "@bufbuild/protobuf"
import { SetRequestSchema } from "../../../src/transport/gen/cache_pb.ts"
import { compare, contest, median } from "../contest.ts"
import { h2load, type Width } from "../h2load.ts"
import { getting, prefixed } from "../messages.ts"
import { move, output } from "../process.ts"
import type { Measure } from "../row.ts"
import { calculator, redis, redisCache, type Server } from "../servers.ts"
import { assertOk } from "../spotCheck.ts"
import { type Answer, onWire } from "../wire.ts"
import { cpuPerCall, microseconds, warmUp } from "./unary.ts"

export const cache: Measure = async (note) => {
  const names = ["memory cache", "bun"] as const
  const outcomes = await contest({ start: calculator, names, rounds: 15, warmUp, take: cpuPerCall }, note)
  return [
    compare(outcomes.get("memory cache"), outcomes.get("bun"), {
      ...microseconds,
      measure: "cache, CPU a call: Bun, `Calc` found in memory against computed",
      bound: { better: "lower", must: 1.3 },
    }),
  ]
}

const key = "bench"
const value = new Uint8Array(3)
const gets = getting(key, value.length)
// As redis-benchmark has it: one under way on each of fifty connections. And as clients of gRPC have it, which share them.
const widths = {
  "a call each": { connections: 50, streams: 1 },
  "on 5 connections": { connections: 5, streams: 10 },
} as const satisfies Readonly<Record<string, Width>>
const roundSeconds = 1
const benchmarkGets = 30_000

const put = async ({ port }: Server): Promise<void> => {
  const body = prefixed(toBinary(SetRequestSchema, create(SetRequestSchema, { key, value })))
  assertOk(await onWire<Answer>(port, (wire, done) => wire.call("/cache.Cache/Set", body, { ended: done })))
}

/** Requests a second that redis-benchmark gets out of Redis itself, from the core that our server would have. */
const benchmark = (port: number): number => {
  move(process.pid, "server")
  try {
    const amount = ["-p", String(port), "-t", "get", "-n", String(benchmarkGets), "-c", "50", "-P", "1", "--csv"]
    const [, perSecond] = /^"GET","([\d.]+)"/m.exec(output("redis-benchmark", ...amount)) ?? []
    return Number(perSecond)
  } finally {
    move(process.pid, "load")
  }
}

export const redisGets: Measure = async (note) => {
  await using store = await redis()
  const start = async (name: keyof typeof widths | "redis-benchmark") => {
    const stack = new AsyncDisposableStack()
    if (name === "redis-benchmark") return Object.assign(stack, { get: async () => benchmark(store.port) })
    const server = stack.use(await redisCache(store))
    await put(server)
    const get = async (seconds: number) => (await h2load(server.port, { seconds }, gets, widths[name])).perSecond
    return Object.assign(stack, { get })
  }
  const names = ["a call each", "on 5 connections", "redis-benchmark"] as const
  const outcomes = await contest(
    { start, names, rounds: 9, warmUp: ({ get }) => get(8), take: ({ get }) => get(roundSeconds) },
    note,
  )
  const row = (ours: keyof typeof widths, measure: string) =>
    compare(outcomes.get(ours), outcomes.get("redis-benchmark"), {
      measure: `cache on Redis, ${measure}: Bun against redis-benchmark -P 1 at 50 connections`,
      figure: (taken) => taken,
      show: (taken) => `${median(taken, (one) => one, 0)} gets/s`,
      bound: { better: "higher", must: 0.5 },
    })
  return [
    row("a call each", "`Get`s at 50 connections"),
    row("on 5 connections", "50 `Get`s under way on 5 connections"),
  ]
}
