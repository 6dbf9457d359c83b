/**
 * h2load: unary calls from many streams at once.
 */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { promisify } from "node:util"
import { type Calling, calling } from "./messages.ts"

const run = promisify(execFile)

const folder = mkdtempSync(join(tmpdir(), "basel-bench-"))
process.once("exit", () => rmSync(folder, { recursive: true }))

// One file for each kind of call.
const bodies = new Map<Calling, string>()
const bodyOf = (what: Calling): string => {
  let body = bodies.get(what)
  if (body === undefined) {
    body = join(folder, `body${bodies.size}`)
    bodies.set(what, body)
    writeFileSync(body, what.body)
  }
  return body
}

/** How many connections there are, and how many calls are under way on each. */
export interface Width {
  readonly connections: number
  readonly streams: number
}

const usual: Width = { connections: 8, streams: 10 }
const pi999 = calling(999)

// A load that hangs is a failure, not a long one.
const longestMillis = 240_000

export interface Load {
  readonly calls: number
  readonly perSecond: number
}

const number = (pattern: RegExp, text: string): number => {
  const [, found] = pattern.exec(text) ?? []
  if (found === undefined) throw new Error(`h2load says no ${pattern}:\n${text}`)
  return Number(found)
}

/** Calls as often, or for as many seconds, as is said: `Calc` of 999 if nothing else is. All calls must have had their answers. */
export const h2load = async (
  port: number,
  amount: { readonly calls: number } | { readonly seconds: number },
  what: Calling = pi999,
  { connections, streams }: Width = usual,
): Promise<Load> => {
  const { path, responseLength } = what
  const args = [
    ...["-c", String(connections), "-m", String(streams), "-d", bodyOf(what)],
    ...("calls" in amount ? ["-n", String(amount.calls)] : ["-D", String(amount.seconds)]),
    ...["-H", "content-type: application/grpc", "-H", "te: trailers"],
    `http://127.0.0.1:${port}${path}`,
  ]
  const { stdout } = await run("h2load", args, { timeout: longestMillis })
  const done = number(/(\d+) done/, stdout)
  const good = number(/status codes: (\d+) 2xx/, stdout)
  const bytes = number(/\((\d+)\) data$/m, stdout)
  const whole =
    "calls" in amount
      ? done === amount.calls && bytes === done * responseLength
      : // When the time is over, some answers are under way.
        bytes >= done * responseLength && bytes <= (done + connections * streams) * responseLength
  // Errors of gRPC are 200, too, but have no message.
  if (done === 0 || good !== done || number(/(\d+) succeeded/, stdout) !== done || !whole) {
    throw new Error(`calls have failed:\n${stdout}`)
  }
  return { calls: done, perSecond: number(/([\d.]+) req\/s/, stdout) }
}
