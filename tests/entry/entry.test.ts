/**
 * The ways in: each serves or tests in a copy of the project, with nothing installed and after npm has, and changes no file of
 * it. The copy has Bun and Deno on its path, as a machine has where they are installed for all.
 */
import assert from "node:assert/strict"
import { execFileSync, spawn } from "node:child_process"
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { delimiter, dirname, join } from "node:path"
import { test } from "node:test"

const root = join(import.meta.dirname, "..", "..")

interface Copy {
  readonly folder: string
  readonly env: NodeJS.ProcessEnv
  /** The same without Bun and Deno. */
  readonly bare: NodeJS.ProcessEnv
  readonly remove: () => void
}

const git = (folder: string, ...args: ReadonlyArray<string>): string =>
  execFileSync("git", ["-c", "user.name=test", "-c", "user.email=test@localhost", ...args], {
    cwd: folder,
    encoding: "utf8",
    // Of one large enough for all names of files.
    maxBuffer: 16 * 1024 * 1024,
  })

/** A repository of its own with the files that the project's has, and those that will be in it. */
const copied = (): Copy => {
  const temporary = mkdtempSync(join(tmpdir(), "basel-entry-"))
  const folder = join(temporary, "basel")
  for (const file of git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")) {
    // One that was moved is still listed until that is committed.
    if (file === "" || !existsSync(join(root, file))) continue
    mkdirSync(dirname(join(folder, file)), { recursive: true })
    cpSync(join(root, file), join(folder, file))
  }
  git(folder, "init", "--quiet")
  git(folder, "add", "--all")
  git(folder, "commit", "--quiet", "--message", "all")
  const runtimes = join(temporary, "runtimes")
  mkdirSync(runtimes)
  for (const name of ["bun", "deno"]) symlinkSync(join(root, "node_modules", ".bin", name), join(runtimes, name))
  const others = (process.env.PATH ?? "").split(delimiter).filter((path) => !path.startsWith(root))
  // What npm and the runner have told this process is about the project, not about its copy.
  const inherited = Object.entries(process.env).filter(([name]) => !/^(npm_|NODE_|INIT_CWD|DENO_)/.test(name))
  const bare = { ...Object.fromEntries(inherited), PATH: others.join(delimiter), NO_COLOR: "1" }
  return {
    folder,
    env: { ...bare, PATH: [runtimes, ...others].join(delimiter) },
    bare,
    remove: () => rmSync(temporary, { recursive: true, force: true }),
  }
}

/** Starts a command; `seen` gives the first match in what it says, and `end` interrupts it as Ctrl-C does. */
const start = ({ folder, env }: Copy, command: string) => {
  // In a process group of its own, which a terminal's Ctrl-C would reach as a whole.
  const child = spawn("sh", ["-c", command], { cwd: folder, env, detached: true, stdio: ["ignore", "pipe", "pipe"] })
  let said = ""
  const lookers = new Set<() => void>()
  for (const output of [child.stdout, child.stderr]) {
    output.setEncoding("utf8").on("data", (text: string) => {
      said += text
      for (const look of lookers) look()
    })
  }
  const finished = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject)
    child.once("close", resolve)
  })
  return {
    said: () => said,
    finished,
    seen: (pattern: RegExp) =>
      new Promise<RegExpExecArray>((resolve, reject) => {
        const look = () => {
          const found = pattern.exec(said)
          if (found !== null) resolve(found)
        }
        lookers.add(look)
        finished.then(() => reject(new Error(`${command} ended without ${pattern}:\n${said}`)), reject)
      }),
    end: async () => {
      if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, "SIGINT")
      await finished
    },
  }
}

const clean = ({ folder }: Copy, after: string) =>
  assert.equal(git(folder, "status", "--porcelain"), "", `${after} has changed files: ${git(folder, "diff", "--stat")}`)

const serves = async (copy: Copy, command: string) => {
  const server = start(copy, command)
  const [, url] = await server.seen(/serves pi\.PiCalculator on (http:\S+):/)
  const response = await fetch(`${url}/pi.PiCalculator/Calc`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"n":999}',
  })
  assert.deepEqual(await response.json(), { value: 3.1412740089419966 }, command)
  await server.end()
  clean(copy, command)
}

const succeeds = async (copy: Copy, command: string): Promise<string> => {
  const started = start(copy, command)
  assert.equal(await started.finished, 0, `${command} fails:\n${started.said()}`)
  clean(copy, command)
  return started.said()
}

// The whole suite runs elsewhere.
const tests = async (copy: Copy, command: string) => {
  const said = await succeeds(copy, `${command} tests/core/pi tests/e2e/examples`)
  assert.match(said, /\n[1-9]\d* passed, 0 failed\n$/, command)
  for (const suite of ["services", "interop", "h2spec", "conformance"]) {
    assert.match(said, new RegExp(`npm run test:${suite} `), `${command} says how to run the suite ${suite}`)
  }
}

const servers = ["deno task serve --port 0", "bun run src/main.ts serve --port 0", "npm start -- serve --port 0"]
const testers = ["deno task test", "npm test --"]

for (const command of [...servers, ...testers]) {
  test(`with nothing installed it works and leaves the tree clean: ${command}`, async () => {
    const copy = copied()
    try {
      await (servers.includes(command) ? serves : tests)(copy, command)
    } finally {
      copy.remove()
    }
  })
}

for (const install of ["npm ci", "npm install"]) {
  test(`after ${install} every way in works, and none changes a file`, async () => {
    const copy = copied()
    try {
      await succeeds(copy, install)
      for (const command of servers) await serves(copy, command)
      for (const command of testers) await tests(copy, command)
      const withNpmOnly = { ...copy, env: copy.bare }
      await serves(withNpmOnly, "npm start -- serve --port 0")
      for (const command of [
        "npx bun run src/main.ts",
        "npx deno run --allow-all src/main.ts",
        "npx node src/main.ts",
      ]) {
        assert.match(await succeeds(withNpmOnly, `${command} --version`), /basel \d/, command)
      }
    } finally {
      copy.remove()
    }
  })
}
