/**
 * Processes of ours and of others, which live no longer than their scope, and servers among them, on free ports of this
 * machine.
 */
import assert from "node:assert/strict"
import { spawn } from "node:child_process"
import { Effect, Option, type Scope } from "effect"
import { env, root } from "./tools.ts"

export interface Command {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env?: NodeJS.ProcessEnv
}

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

const start = (what: Command) => {
  const child = spawn(what.command, what.args, {
    cwd: root,
    env: { ...env, ...what.env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  const output = { stdout: "", stderr: "" }
  for (const name of ["stdout", "stderr"] as const) {
    child[name].setEncoding("utf8").on("data", (text: string) => {
      output[name] += text
    })
  }
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", (code) => resolve({ code, ...output }))
  })
  const said = (pattern: RegExp, name: keyof typeof output = "stdout") =>
    Effect.promise(async () => {
      for (;;) {
        const match = pattern.exec(output[name])
        if (match !== null) return match
        const more = new Promise<void>((resolve) => child[name].once("data", () => resolve()))
        const end = await Promise.race([more, finished])
        assert.ok(!end, `it ended without ${pattern}: ${JSON.stringify({ ...what, ...end })}`)
      }
    })
  return { child, said, finished: Effect.promise(() => finished) }
}

/** A process that lives no longer than the scope. */
export const started = (what: Command) =>
  Effect.acquireRelease(
    Effect.sync(() => start(what)),
    ({ child, finished }) =>
      Effect.andThen(
        Effect.sync(() => child.kill("SIGKILL")),
        Effect.ignoreCause(finished),
      ),
  )

/** Runs a process to its end. */
export const run = (what: Command): Effect.Effect<Finished> =>
  Effect.scoped(Effect.flatMap(started(what), ({ finished }) => finished))

/** Runs a line of a shell. */
export const shell = (line: string): Effect.Effect<Finished> => run({ command: "sh", args: ["-c", line] })

/** What a process that must have succeeded has printed. */
export const printedBy = ({ code, stdout, stderr }: Finished): string => {
  assert.equal(code, 0, `${stderr}\n${stdout}`)
  return stdout
}

/** The same as lines, without empty ones. */
export const lines = (finished: Finished): ReadonlyArray<string> =>
  printedBy(finished)
    .split("\n")
    .filter((line) => line !== "")

export interface Server {
  readonly host: string
  readonly url: string
  readonly port: number
  /** The first match in standard output, as soon as there is one. */
  readonly said: (pattern: RegExp) => Effect.Effect<RegExpExecArray>
}

export interface ServerOptions {
  readonly scheme?: "http" | "https"
  /** Where it says that it listens. Default: `stdout`. */
  readonly on?: "stdout" | "stderr"
  /** Its exit code after Ctrl-C; `null` for one that the signal just ends. Default: 0. */
  readonly code?: number | null
}

/** A server until the scope closes: then Ctrl-C must end it, and well. `listening` finds the port in its first line. */
export const server = Effect.fnUntraced(function* (
  what: Command,
  listening: RegExp,
  { scheme = "http", on = "stdout", code = 0 }: ServerOptions = {},
): Effect.fn.Return<Server, never, Scope.Scope> {
  const { child, said, finished } = yield* started(what)
  const [, port] = yield* said(listening, on)
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      child.kill("SIGINT")
      const end = yield* Effect.timeoutOption(Effect.interruptible(finished), "12 seconds")
      assert.equal(Option.getOrUndefined(end)?.code, code, `${what.args.join(" ")} ended badly: ${JSON.stringify(end)}`)
    }),
  )
  const host = `127.0.0.1:${port}`
  return { host, url: `${scheme}://${host}`, port: Number(port), said: (pattern) => said(pattern) }
})
