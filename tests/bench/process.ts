/**
 * Processes: the cores they run on, what one costs, and its end.
 */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { delimiter, join } from "node:path"
import process from "node:process"

export const root = join(import.meta.dirname, "..", "..")

export interface Command {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env?: NodeJS.ProcessEnv
}

// The runtimes are dependencies of the project; those that the machine has come second.
process.env.PATH = [join(root, "node_modules", ".bin"), process.env.PATH].join(delimiter)

/** Whether there is a program of this name. */
export const has = (program: string): boolean => Bun.which(program, { PATH: process.env.PATH ?? "" }) !== null

/** Runs a program to its end, and gives what it printed. */
export const output = (command: string, ...args: ReadonlyArray<string>): string =>
  execFileSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 2 ** 30 })

/** The cores that this process may use, from lists such as `0-1,4`. */
const allowedCores = (): ReadonlyArray<number> => {
  const [, list = ""] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? []
  return list.split(",").flatMap((range) => {
    const [first = 0, last = first] = range.split("-").map(Number)
    return Array.from({ length: last - first + 1 }, (_, i) => first + i)
  })
}

/** Where a process is: with the servers, with the load, clients among it, or wherever the system puts it. */
export type Place = "server" | "load" | "anywhere"

/** Which cores a place has; `undefined` where servers and load can't be kept apart. */
export const cores = ((): Readonly<Record<Place, string>> | undefined => {
  const all = allowedCores()
  const [server, ...load] = all
  return server === undefined || load.length === 0 || !has("taskset")
    ? undefined
    : { server: String(server), load: load.join(","), anywhere: all.join(",") }
})()

/** Moves a process, and what it starts from now on, to such cores. */
export const move = (pid: number, to: Place): void => {
  if (cores !== undefined) output("taskset", "-apc", cores[to], String(pid))
}

// A process that outlives the run would spoil the next one.
const running = new Set<ChildProcessWithoutNullStreams>()
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL")
})
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(130))

const ticksPerSecond = Number(output("getconf", "CLK_TCK"))
const graceMillis = 3000
const longestUnread = 65_536

/** A process that runs until it is disposed of. */
export class Process implements AsyncDisposable {
  private readonly child: ChildProcessWithoutNullStreams
  readonly pid: number
  private readonly ended: Promise<never>
  private unread = ""
  private heard = (): void => {}

  constructor(what: Command, on: Place) {
    const pin = cores === undefined ? [] : ["taskset", "-c", cores[on]]
    // As many files as it may have, for a connection is one. Each word replaces the process before it, so the PID stays.
    const script = 'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$@"'
    const child = spawn("sh", ["-c", script, "sh", ...pin, what.command, ...what.args], {
      cwd: root,
      env: { ...process.env, ...what.env },
    })
    if (child.pid === undefined) throw new Error(`${what.command} didn't start`)
    this.child = child
    this.pid = child.pid
    running.add(child)
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        // What nobody waits for may be much.
        if (this.unread.length <= longestUnread) this.unread += text
        this.heard()
      })
    }
    this.ended = new Promise((_, reject) => {
      child.once("error", reject)
      child.once("close", (code, signal) =>
        reject(new Error(`${[what.command, ...what.args].join(" ")}: ${code ?? signal}\n${this.unread}`)),
      )
    })
    // Whoever waits for what it says hears of its end, and whoever writes to it waits.
    this.ended.catch(() => {})
    child.stdin.on("error", () => {})
  }

  /** Tells it a line. */
  tell(line: string): void {
    this.child.stdin.write(`${line}\n`)
  }

  /** Waits until it says something like this, on either of its streams, and gives the first group of it. */
  async said(pattern: RegExp, withinMillis: number): Promise<string> {
    const late = setTimeout(() => this.child.kill("SIGKILL"), withinMillis)
    try {
      for (;;) {
        const match = pattern.exec(this.unread)
        if (match !== null) {
          this.unread = this.unread.slice(match.index + match[0].length)
          return match[1] ?? ""
        }
        const { promise: more, resolve } = Promise.withResolvers<void>()
        this.heard = resolve
        await Promise.race([more, this.ended])
      }
    } finally {
      clearTimeout(late)
    }
  }

  moveTo(place: Place): void {
    move(this.pid, place)
  }

  /** The seconds of CPU that it has used so far, in all its threads: those that have ended, too. */
  cpu(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, "utf8")
    // The name comes second, in parentheses, and may have anything in it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
    return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond
  }

  /** The memory that it has now, in bytes. */
  rss(): number {
    const [, kibibytes] = /^VmRSS:\s*(\d+) kB$/m.exec(readFileSync(`/proc/${this.pid}/status`, "utf8")) ?? []
    if (kibibytes === undefined) throw new Error(`process ${this.pid} has no VmRSS`)
    return Number(kibibytes) * 1024
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGTERM")
    const stubborn = setTimeout(() => this.child.kill("SIGKILL"), graceMillis)
    await this.ended.catch(() => {})
    clearTimeout(stubborn)
    running.delete(this.child)
  }
}
