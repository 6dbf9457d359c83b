/**
 * h2load: unary calls from many streams at once.
 */
import { execFile } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import process from "node:process"
import { promisify } from "node:util"
import { calcPath, calcResponseLength, prefixed, request } from "./messages.ts"

const run = promisify(execFile)

const folder = mkdtempSync(join(tmpdir(), "basel-bench-"))
process.once("exit", () => rmSync(folder, { recursive: true }))
const body = join(folder, "body")
writeFileSync(body, prefixed(request(999)))

const connections = 8
const streams = 10

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

/** Calls `Calc` as often, or for as many seconds, as is said. All calls must have had their answers. */
export const h2load = async (
  port: number,
  amount: { readonly calls: number } | { readonly seconds: number },
): Promise<Load> => {
  const args = [
    ...["-c", String(connections), "-m", String(streams), "-d", body],
    ...("calls" in amount ? ["-n", String(amount.calls)] : ["-D", String(amount.seconds)]),
    ...["-H", "content-type: application/grpc", "-H", "te: trailers"],
    `http://127.0.0.1:${port}${calcPath}`,
  ]
  const { stdout } = await run("h2load", args, { timeout: longestMillis })
  const done = number(/(\d+) done/, stdout)
  const good = number(/status codes: (\d+) 2xx/, stdout)
  const bytes = number(/\((\d+)\) data$/m, stdout)
  const whole =
    "calls" in amount
      ? done === amount.calls && bytes === done * calcResponseLength
      : // When the time is over, some answers are under way.
        bytes >= done * calcResponseLength && bytes <= (done + connections * streams) * calcResponseLength
  // Errors of gRPC are 200, too, but have no message.
  if (done === 0 || good !== done || number(/(\d+) succeeded/, stdout) !== done || !whole) {
    throw new Error(`calls have failed:\n${stdout}`)
  }
  return { calls: done, perSecond: number(/([\d.]+) req\/s/, stdout) }
}
