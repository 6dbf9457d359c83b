/**
 * A siege: one attack on one server, and what another client and the machine see of it meanwhile.
 */
import { readFileSync } from "node:fs"
import { honestCall, pause, type Target } from "./attacker.ts"
import type { Attack } from "./attacks.ts"

const mebibyte = 1024 * 1024

/** What was seen. Memory is resident, in MiB. */
export interface Seen {
  readonly before: number
  readonly peak: number
  /** What it came to rest at once the attacker had gone. */
  readonly after: number
  /** The slowest call of another client during the attack, in milliseconds; `undefined` if one was not answered. */
  readonly slowest: number | undefined
  /** What the server's process took of the CPU, in seconds. */
  readonly cpu: number
}

/** The memory that a process has, in MiB. */
export const residentOf = (pid: number): number => {
  const [, kibibytes] = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? []
  if (kibibytes === undefined) throw new Error(`process ${pid} has no VmRSS`)
  return (Number(kibibytes) * 1024) / mebibyte
}

const ticksPerSecond = 100

const cpuOf = (pid: number): number => {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
}

export interface SiegeOptions {
  /** How long the attacker keeps its connections open once it has said all. */
  readonly holdMillis: number
  /** How long the server has to come to rest. */
  readonly restMillis: number
  /** The memory at which it is at rest; by default it has all of the time. */
  readonly restsAt?: (before: number) => number
}

/** Attacks a server, and watches it. */
export const siege = async (
  attack: Attack,
  target: Target & { readonly pid: number },
  { holdMillis, restMillis, restsAt = () => 0 }: SiegeOptions,
): Promise<Seen> => {
  await honestCall(target)
  const before = residentOf(target.pid)
  const cpuBefore = cpuOf(target.pid)
  let peak = before
  const watching = setInterval(() => {
    peak = Math.max(peak, residentOf(target.pid))
  }, 50)
  let slowest: number | undefined = 0
  let over = false
  const others = (async () => {
    while (!over && slowest !== undefined) {
      const took = await honestCall(target).catch(() => undefined)
      slowest = took === undefined ? undefined : Math.max(slowest, took)
      await pause(50)
    }
  })()
  {
    await using opened = new AsyncDisposableStack()
    await attack.run(target, opened)
    await pause(holdMillis)
    over = true
    await others
  }
  const cpu = cpuOf(target.pid) - cpuBefore
  const until = performance.now() + restMillis
  while (performance.now() < until && residentOf(target.pid) > restsAt(before)) await pause(250)
  clearInterval(watching)
  const after = residentOf(target.pid)
  await honestCall(target)
  return { before, peak, after, slowest, cpu }
}
