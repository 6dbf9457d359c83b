import assert from "node:assert/strict"
import { execFile } from "node:child_process"
import { join } from "node:path"
import { test } from "node:test"
import { promisify } from "node:util"
import { protocols } from "../../src/transport/channel.ts"

const hour = 3_600_000
const program = join(import.meta.dirname, "wallClockProgram.ts")

const expected = Object.fromEntries([
  ...protocols.flatMap((protocol) =>
    ["server's", "client's"].flatMap((whose) =>
      ["unary", "stream"].map((kind) => [`${protocol}, ${kind}, the ${whose} deadline`, "deadline_exceeded"]),
    ),
  ),
  ["retry's backoff", "ok"],
  ["keepalive", "unavailable"],
  ["circuit", "ok"],
  ["a short lease", "gone"],
  ["a long lease", "there"],
  ["a lease that is renewed", "there"],
  ["a short ttl", "gone"],
  ["a long ttl", "there"],
])

for (const [direction, jump] of [
  ["back", -hour],
  ["forth", hour],
] as const) {
  test(`deadlines, leases, caches, keepalive, backoff and circuits go by the time that passes when the wall clock is set ${direction} by an hour`, async () => {
    const flags = "Deno" in globalThis ? ["run", "-A", "--no-check", "--quiet"] : []
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, program, `${jump}`])
    // The log is before it.
    const [last = ""] = stdout.trim().split("\n").slice(-1)
    assert.deepEqual(JSON.parse(last), expected)
  })
}
