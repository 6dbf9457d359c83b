/**
 * What the interop tests share: processes of ours and of others, on free ports of this machine.
 */
import assert from "node:assert/strict"
import { spawn, spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { test as nodeTest } from "node:test"
import { Effect, Option, type Scope } from "effect"
import { env, python, root } from "./tools.ts"

/**
 * A test of an Effect, in a scope of its own. Processes take longer than the runner gives a test by default; and it is
 * the Effect that ends when something hangs, so that they are stopped.
 */
export const test = <E>(name: string, body: () => Effect.Effect<void, E, Scope.Scope>): void => {
  const limited = Effect.timeout(Effect.scoped(Effect.suspend(body)), "30 seconds")
  nodeTest(name, { timeout: 60_000 }, () => Effect.runPromise(limited))
}

interface Command {
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly env?: NodeJS.ProcessEnv
}

interface Finished {
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
  const said = (pattern: RegExp) =>
    Effect.promise(async () => {
      for (;;) {
        const match = pattern.exec(output.stdout)
        if (match !== null) return match
        const more = new Promise<void>((resolve) => child.stdout.once("data", () => resolve()))
        const end = await Promise.race([more, finished])
        assert.ok(!end, `it ended without ${pattern}: ${JSON.stringify({ ...what, ...end })}`)
      }
    })
  return { child, said, finished: Effect.promise(() => finished) }
}

/** A process that lives no longer than the scope. */
const started = (what: Command) =>
  Effect.acquireRelease(
    Effect.sync(() => start(what)),
    ({ child, finished }) =>
      Effect.andThen(
        Effect.sync(() => child.kill("SIGKILL")),
        Effect.ignoreCause(finished),
      ),
  )

/** Runs a process to its end. */
const run = (what: Command): Effect.Effect<Finished> =>
  Effect.scoped(Effect.flatMap(started(what), ({ finished }) => finished))

/** Runs a line of a shell. */
export const shell = (line: string): Effect.Effect<Finished> => run({ command: "sh", args: ["-c", line] })

export interface Server {
  readonly host: string
  readonly url: string
  readonly port: number
  /** The first match in standard output, as soon as there is one. */
  readonly said: (pattern: RegExp) => Effect.Effect<RegExpExecArray>
}

/** A server until the scope closes: then Ctrl-C must end it, and well. `listening` finds the port in its first line. */
const server = Effect.fnUntraced(function* (
  what: Command,
  listening: RegExp,
): Effect.fn.Return<Server, never, Scope.Scope> {
  const { child, said, finished } = yield* started(what)
  const [, port] = yield* said(listening)
  yield* Effect.addFinalizer(() =>
    Effect.gen(function* () {
      child.kill("SIGINT")
      const end = yield* Effect.timeoutOption(Effect.interruptible(finished), "12 seconds")
      assert.equal(Option.getOrUndefined(end)?.code, 0, `${what.args.join(" ")} ended badly: ${JSON.stringify(end)}`)
    }),
  )
  const host = `127.0.0.1:${port}`
  return { host, url: `http://${host}`, port: Number(port), said }
})

const runtimes = { bun: ["bun", "run"], deno: ["deno", "run", "--no-prompt", "--allow-net"] } as const

type Runtime = keyof typeof runtimes

const ours = (args: ReadonlyArray<string>, runtime: Runtime): Command => {
  const [command, ...first] = runtimes[runtime]
  return { command, args: [...first, "src/main.ts", ...args] }
}

/** Runs our command to its end. */
export const basel = (args: ReadonlyArray<string>, runtime: Runtime = "bun"): Effect.Effect<Finished> =>
  run(ours(args, runtime))

/** Our server, on a free port. */
export const served = (args: ReadonlyArray<string> = [], runtime: Runtime = "bun") =>
  server(ours(["serve", "--port", "0", ...args], runtime), /^basel serves \S+ on http:\/\/127\.0\.0\.1:(\d+): /)

// Both editions of pi.proto have the same names in them, so the modules of each are in a folder of their own.
const stubs = mkdtempSync(join(tmpdir(), "basel-interop-"))
process.once("exit", () => rmSync(stubs, { recursive: true }))

const generate = (folder: string, protos: string): string => {
  const out = join(stubs, folder)
  mkdirSync(out)
  const args = ["-m", "grpc_tools.protoc", `-I${protos}`, `--python_out=${out}`, `--grpc_python_out=${out}`, "pi.proto"]
  const { status, stderr } = spawnSync(python, args, { cwd: root, encoding: "utf8" })
  assert.equal(status, 0, stderr)
  return out
}

const edition = generate("pi", "proto")
const streamingEdition = generate("streaming", "proto/streaming")

const inPython = (program: string, args: ReadonlyArray<string | number>): Command => ({
  command: python,
  args: [join(import.meta.dirname, "python", program), ...args.map(String)],
  env: { PYTHONPATH: program.startsWith("streaming_") ? streamingEdition : edition },
})

/** Runs a program of python/ and gives the lines that it prints. */
export const grpcio = (
  program: string,
  ...args: ReadonlyArray<string | number>
): Effect.Effect<ReadonlyArray<string>> => Effect.map(run(inPython(program, args)), lines)

/** A server of python/, on a free port. */
export const grpcioServed = (program: string, ...args: ReadonlyArray<string | number>) =>
  server(inPython(program, ["127.0.0.1:0", ...args]), /^serving on port (\d+)$/m)

/** The lines of a process that must have succeeded, without empty ones. */
export const lines = ({ code, stdout, stderr }: Finished): ReadonlyArray<string> => {
  assert.equal(code, 0, stderr)
  return stdout.split("\n").filter((line) => line !== "")
}

/** A way to a server that keeps the bytes of its clients. */
export const wiretap = Effect.fnUntraced(function* ({ port }: Server) {
  const chunks: Array<Uint8Array> = []
  const sockets = new Set<net.Socket>()
  const proxy = net.createServer((client) => {
    const target = net.connect(port, "127.0.0.1")
    client.on("data", (chunk) => typeof chunk === "string" || chunks.push(chunk))
    client.pipe(target).pipe(client)
    for (const socket of [client, target]) sockets.add(socket.on("error", () => {}))
  })
  yield* Effect.callback<void>((resume) => {
    proxy.listen(0, "127.0.0.1", () => resume(Effect.void))
  })
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      proxy.close()
      for (const socket of sockets) socket.destroy()
    }),
  )
  const address = proxy.address()
  assert.ok(typeof address === "object" && address !== null)
  const host = `127.0.0.1:${address.port}`
  return { host, url: `http://${host}`, sent: () => Buffer.concat(chunks) }
})

/** Whether the first gzip stream in bytes is the content of a gRPC message that says so: flag 1, then its length. */
export const hasGzip = (bytes: Buffer): boolean => bytes[bytes.indexOf("1f8b08", 0, "hex") - 5] === 1

/** pi(n) as the tutorial computes it. */
export const pi = (n: number): number => {
  let sum = 0
  for (let i = 0; i < n; i++) sum += 1 / (2 * i + 1) / (2 * i + 1)
  return Math.sqrt(8 * sum)
}

export const upTo = (last: number): ReadonlyArray<number> => Array.from({ length: last }, (_, i) => i + 1)

export const assertNear = (value: number, expected: number): void =>
  assert.ok(Math.abs(value - expected) < 1e-13, `${value} is not ${expected}`)

/** The numbers of lines such as `pi(999) = 3.1412740089419966`, whose values must be right up to their last digits. */
export const numbersOf = (printed: ReadonlyArray<string>): ReadonlyArray<number> =>
  printed.map((line) => {
    const [, n, value] = /(\d+)\D+(\d\.\d+)$/.exec(line) ?? assert.fail(`no point: ${line}`)
    assertNear(Number(value), pi(Number(n)))
    return Number(n)
  })
