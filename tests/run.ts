/**
 * Runs a suite and ends with one line of its total: `bun tests/run.ts <suite> [path…]`. With paths it runs only the test
 * files whose names begin with one of them.
 */
import { spawnSync } from "node:child_process"
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import process from "node:process"

const root = join(import.meta.dirname, "..")
const nodeModules = join(root, "node_modules")
const installed = existsSync(nodeModules)

// A test that hangs fails; the longest ones take some seconds on a slow machine. Long fuzzing sets another.
const testMillis = Number(process.env.TEST_TIMEOUT_MILLIS ?? 60_000)

type Runtime = "bun" | "deno" | "node"

/** The command that runs test files on a runtime, and writes a report in JUnit's format. */
const commands: Readonly<Record<Runtime, (report: string, timeoutMillis: number) => ReadonlyArray<string>>> = {
  bun: (report, timeoutMillis) => [
    "bun",
    "test",
    `--timeout=${timeoutMillis}`,
    "--reporter=junit",
    `--reporter-outfile=${report}`,
  ],
  deno: (report) => [
    ...["deno", "test", "--allow-all", "--no-check", "--quiet", `--junit-path=${report}`],
    ...(installed ? [] : ["--lock=deno.lock", "--frozen"]),
  ],
  node: (report, timeoutMillis) => [
    // By force: Node 26 may spin for ever at its end where a socket was destroyed at the last moment.
    ...["node", "--test", "--test-force-exit", `--test-timeout=${timeoutMillis}`],
    ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
    ...["--test-reporter=junit", `--test-reporter-destination=${report}`],
  ],
}

interface Suite {
  readonly runtimes: ReadonlyArray<Runtime>
  readonly folders: ReadonlyArray<string>
  /** Whether its files are those that start a Redis or an etcd, or all others. */
  readonly services?: boolean
  /** The script that gets what it needs. */
  readonly setup?: string
  /** How long a test may take, if not as long as others. */
  readonly timeoutMillis?: number
}

const folders = ["core", "transport", "cli", "e2e", "faults", "attacks", "bench/scale"].map((name) => `tests/${name}`)

const suites: Readonly<Record<string, Suite>> = {
  bun: { runtimes: ["bun"], folders },
  deno: { runtimes: ["deno"], folders },
  node: { runtimes: ["node"], folders },
  services: { runtimes: ["bun", "deno", "node"], folders, services: true, setup: "tests/setup.sh" },
  interop: { runtimes: ["bun"], folders: ["tests/interop"], setup: "tests/interop/setup.sh" },
  entry: { runtimes: ["bun"], folders: ["tests/entry"], timeoutMillis: 15 * 60_000 },
}

const further = `Not run here, since they need more than npm has. Each gets what it needs, and runs:
  npm run test:services     with Redis and etcd, on Bun, Deno and Node
  npm run test:interop      with clients and servers of others: Python, Go, Chromium
  npm run test:h2spec       with h2spec
  npm run test:conformance  with Connect's conformance suite
`

// They start Bun and other tools that are dependencies from npm.
const needInstall = ["deployment", "readme", "readmeSnippets"].map((name) => `tests/e2e/${name}.test.ts`)

const filesOf = ({ folders, services = false }: Suite, paths: ReadonlyArray<string>): ReadonlyArray<string> =>
  folders
    .flatMap((folder) => globSync(`${folder}/**/*.test.ts`, { cwd: root }))
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => file.endsWith(".services.test.ts") === services)
    .filter((file) => installed || !needInstall.includes(file))
    .filter((file) => paths.length === 0 || paths.some((path) => file.startsWith(path)))
    .toSorted()

/** How many there are of something in a report: Bun and Deno say it in an attribute, Node in a comment. */
const count = (xml: string, attribute: string, comment: string): number => {
  const [, inAttribute, inComment] =
    new RegExp(`<testsuites\\b[^>]*\\b${attribute}="(\\d+)"|<!-- ${comment} (\\d+) -->`).exec(xml) ?? []
  return Number(inAttribute ?? inComment ?? 0)
}

// The runtimes are dependencies of the project. Then comes what runs this, and what else the machine has.
const path = [join(nodeModules, ".bin"), dirname(process.execPath), process.env.PATH].join(delimiter)
const env = {
  ...process.env,
  PATH: path,
  // Node would strip the types of all modules again for each test file.
  NODE_COMPILE_CACHE: join(nodeModules, ".cache", "node"),
  // Without a node_modules Deno finds packages by deno.json, and would install those of package.json first.
  ...(installed ? {} : { DENO_NO_PACKAGE_JSON: "1" }),
}

const run = (command: string, args: ReadonlyArray<string>) =>
  spawnSync(command, args, { cwd: root, stdio: "inherit", env }).status

/** Runs test files on a runtime, and gives how many tests have passed and failed. */
const runOn = (
  runtime: Runtime,
  files: ReadonlyArray<string>,
  timeoutMillis: number,
): readonly [passed: number, failed: number] => {
  const out = mkdtempSync(join(tmpdir(), "basel-tests-"))
  const report = join(out, "junit.xml")
  const [command = "", ...args] = commands[runtime](report, timeoutMillis)
  const status = run(command, [...args, ...files.map((file) => `./${file}`)])
  let passed = 0
  let failed = 0
  try {
    const xml = readFileSync(report, "utf8")
    failed = count(xml, "failures", "fail") + count(xml, "errors", "cancelled")
    passed = count(xml, "tests", "tests") - failed - count(xml, "skipped", "skipped") - count(xml, "todo", "todo")
  } catch {
    process.stderr.write("the runner left no report: see above why it didn't get to its end\n")
  }
  rmSync(out, { recursive: true })
  // A runner that fails without a failed test, or finds none at all, hasn't passed.
  if ((status !== 0 && failed === 0) || passed + failed === 0) failed += 1
  return [passed, failed]
}

const [name = "", ...paths] = process.argv.slice(2)
const suite = suites[name]
if (suite === undefined) {
  process.stderr.write(`no suite ${JSON.stringify(name)}: give one of ${Object.keys(suites).join(", ")}\n`)
  process.exit(2)
}

if (suite.setup !== undefined && run(suite.setup, []) !== 0) {
  process.stdout.write(
    `${suite.setup} didn't get what this suite needs: see above what is missing\n0 passed, 1 failed\n`,
  )
  process.exit(1)
}
const files = filesOf(suite, paths)
if (files.length === 0) {
  process.stderr.write(`no test file of this suite begins with ${paths.join(" or ")}\n`)
  process.exit(2)
}
let passed = 0
let failed = 0
for (const runtime of suite.runtimes) {
  const [ok, wrong] = runOn(runtime, files, suite.timeoutMillis ?? testMillis)
  passed += ok
  failed += wrong
  if (suite.runtimes.length > 1) process.stdout.write(`on ${runtime}: ${ok} have passed, ${wrong} have failed\n`)
}
if (!installed) process.stdout.write(`Left out, since they start what npm install gets: ${needInstall.join(", ")}\n`)
if (suite.folders === folders && suite.services !== true) process.stdout.write(further)
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exit(failed === 0 ? 0 : 1)
