/**
 * Runs a suite on a runtime, and ends with one line of the total: `bun tests/run.ts <suite>`.
 */
import { spawnSync } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, join } from "node:path"

const root = join(import.meta.dirname, "..")
const report = (folder: string) => join(folder, "junit.xml")

// A test that hangs fails; the longest ones take some seconds on a slow machine.
const timeoutMillis = 60_000

const onBun = (folders: ReadonlyArray<string>) => (out: string) => [
  "bun",
  "test",
  `--timeout=${timeoutMillis}`,
  "--reporter=junit",
  `--reporter-outfile=${report(out)}`,
  ...folders,
]
const onDeno = (folders: ReadonlyArray<string>) => (out: string) => [
  "deno",
  "test",
  "--allow-all",
  "--no-check",
  "--quiet",
  `--junit-path=${report(out)}`,
  ...folders,
]

const main = ["tests/core", "tests/transport", "tests/cli", "tests/e2e", "tests/faults", "tests/bench/scale"]

const suites: Readonly<Record<string, (out: string) => ReadonlyArray<string>>> = {
  bun: onBun(main),
  deno: onDeno(main),
  interop: onBun(["tests/interop"]),
}

const count = (xml: string, attribute: string): number => {
  const [, value] = new RegExp(`<testsuites\\b[^>]*\\b${attribute}="(\\d+)"`).exec(xml) ?? []
  return Number(value ?? 0)
}

const [name = ""] = process.argv.slice(2)
const suite = suites[name]
if (suite === undefined) {
  process.stderr.write(`no suite ${JSON.stringify(name)}: give one of ${Object.keys(suites).join(", ")}\n`)
  process.exit(2)
}

const out = mkdtempSync(join(tmpdir(), "basel-tests-"))
const [command = "", ...args] = suite(out)
// The runtimes are dependencies of the project; those that the machine has come second.
const path = [join(root, "node_modules", ".bin"), process.env.PATH].join(delimiter)
const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit", env: { ...process.env, PATH: path } })

let passed = 0
let failed = 0
try {
  const xml = readFileSync(report(out), "utf8")
  failed = count(xml, "failures") + count(xml, "errors")
  passed = count(xml, "tests") - failed - count(xml, "skipped")
} catch {
  process.stderr.write("the runner left no report: see above why it didn't get to its end\n")
}
rmSync(out, { recursive: true })
// A runner that fails without a failed test, or finds none at all, hasn't passed.
if ((status !== 0 && failed === 0) || passed + failed === 0) failed += 1
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exit(failed === 0 ? 0 : 1)
