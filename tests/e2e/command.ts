/**
 * The command as a user runs it: a process of its own, on the runtime that the tests run on.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { delimiter, join } from "node:path"
import { Effect, type Scope } from "effect"

export const root = join(import.meta.dirname, "..", "..")

/** Where the tests' certificates are. */
export const certificates = "tests/transport/certificates"
/** Where their service configs are. */
export const configs = "tests/e2e/configs"

/** The runtime that the tests run on. */
export const runtimeName = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node"

const run = { bun: "bun run", deno: "deno run --no-prompt --allow-net", node: "node" }[runtimeName]
const denoMay = (...permissions: ReadonlyArray<string>) =>
  runtimeName === "deno" ? [run, ...permissions].join(" ") : run
// Where a runtime has permissions, the command may read those and, for the threads that it starts, its own code.
const runtime = denoMay(`--allow-read=${certificates},${configs},src`)
// A command that starts processes needs more, and hands on what it has as a whole.
const parentRuntime = denoMay("--allow-read", "--allow-env", "--allow-run")

// The runtimes that are dependencies of the project, before any that the machine has.
const env = {
  ...process.env,
  PATH: [join(root, "node_modules", ".bin"), process.env.PATH].join(delimiter),
  NO_COLOR: "1",
}

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Started {
  readonly process: ChildProcess
  /** Sends a signal, as Ctrl-C does. Deno's `child.kill` would hide the exit code that follows. */
  readonly signal: (name: NodeJS.Signals) => void
  /** Ends when the process has said something that matches. Fails if it ends before. */
  readonly said: (pattern: RegExp) => Promise<RegExpExecArray>
  /** What it has said so far. */
  readonly output: () => string
  readonly finished: Promise<Finished>
}

/** Starts a shell command; what it says on both outputs is kept. */
export const start = (command: string, stdin?: string): Started => {
  // `exec` makes the shell the command, so that signals reach it.
  const child = spawn("sh", ["-c", command.startsWith("{") ? command : `exec ${command}`], { cwd: root, env })
  const output = { stdout: "", stderr: "" }
  const listeners = new Set<() => void>()
  const collect = (name: "stdout" | "stderr") => (chunk: string) => {
    output[name] += chunk
    for (const listener of listeners) listener()
  }
  child.stdout.setEncoding("utf8").on("data", collect("stdout"))
  child.stderr.setEncoding("utf8").on("data", collect("stderr"))
  if (stdin !== undefined) child.stdin.end(stdin)
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => resolve({ code, ...output }))
  })
  const said = (pattern: RegExp) =>
    new Promise<RegExpExecArray>((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(output.stdout + output.stderr)
        if (match === null) return
        listeners.delete(look)
        resolve(match)
      }
      listeners.add(look)
      look()
      finished.then(
        ({ stdout, stderr }) => reject(new Error(`it ended without ${pattern}:\n${stdout}${stderr}`)),
        reject,
      )
    })
  const signal = (name: NodeJS.Signals) => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(child.pid, name)
  }
  return { process: child, signal, said, output: () => output.stdout + output.stderr, finished }
}

/** Starts a command for as long as the scope is open; then it is killed if it still runs. */
export const running = (command: string): Effect.Effect<Started, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => start(command)),
    (started) =>
      Effect.promise(() => {
        started.signal("SIGKILL")
        return started.finished
      }),
  )

const quote = (args: ReadonlyArray<string>): string => args.map((arg) => `'${arg.replaceAll("'", "'\\''")}'`).join(" ")

/** The shell command that runs a TypeScript file on the runtime that the tests run on. */
export const file = (path: string, ...args: ReadonlyArray<string>): string => `${runtime} ${path} ${quote(args)}`

/** The shell command that runs `basel serve --workers`, on a free port unless it is told one. */
export const workersCommand = (count: number, ...args: ReadonlyArray<string>): string => {
  const port = args.includes("--port") ? [] : ["--port", "0"]
  return `${parentRuntime} src/main.ts ${quote(["serve", "--workers", `${count}`, ...port, ...args])}`
}

/** The processes that a process has started. */
export const childrenOf = ({ pid }: ChildProcess): ReadonlyArray<number> =>
  spawnSync("pgrep", ["-P", `${pid}`], { encoding: "utf8" })
    .stdout.split("\n")
    .filter(Boolean)
    .map(Number)

/** Whether processes still run. One that nobody has waited for, since its parent is gone, doesn't. */
export const anyRuns = (pids: ReadonlyArray<number>): boolean =>
  spawnSync("ps", ["-o", "stat=", "-p", pids.join(",")], { encoding: "utf8" })
    .stdout.split("\n")
    .some((state) => state !== "" && !state.startsWith("Z"))

/** Runs `basel` with arguments to its end. */
export const basel = (args: ReadonlyArray<string>, stdin = ""): Effect.Effect<Finished> =>
  Effect.promise(() => start(file("src/main.ts", ...args), stdin).finished)

/** The address that a server has said it serves on. */
export const addressOf = (server: Started): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() => server.said(/ on (https?:\S+): gRPC/)),
    ([, url = ""]) => url,
  )

/** Runs `basel serve`, on a free port unless it is told one, and gives its address. */
export const served = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
  const port = args.includes("--port") ? [] : ["--port", "0"]
  const server = yield* running(file("src/main.ts", "serve", ...port, ...args))
  return { ...server, url: yield* addressOf(server) }
})

/** Runs `basel serve --workers`, and gives its address once all of them listen. */
export const servedByWorkers = Effect.fnUntraced(function* (count: number, ...args: ReadonlyArray<string>) {
  const server = yield* running(workersCommand(count, ...args))
  return { ...server, url: yield* addressOf(server) }
})
