/**
 * The tools of others that the suite runs: Python with grpcio, grpcurl, curl. Without them it ends at once, for a test
 * that is skipped says nothing.
 */
import { spawnSync } from "node:child_process"
import { accessSync, constants, readFileSync } from "node:fs"
import { delimiter, join } from "node:path"

/** The repository's top, where every process of the suite runs. */
export const root = join(import.meta.dirname, "..", "..")

export const python = join(import.meta.dirname, ".venv", "bin", "python")

const folders = [join(root, "node_modules", ".bin"), join(root, ".tools"), ...(process.env.PATH ?? "").split(delimiter)]

/** What every process of the suite is given: the tools, and no proxy on the way to this machine. */
export const env = { ...process.env, PATH: folders.join(delimiter), no_proxy: "127.0.0.1", NO_PROXY: "127.0.0.1" }

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const requirements = readFileSync(join(import.meta.dirname, "requirements.txt"), "utf8")
  .trim()
  .split("\n")

const isInstalled =
  "import sys, importlib.metadata as m\nfor r in sys.argv[1:]: n, v = r.split('=='); assert m.version(n) == v"

const tools = [
  {
    name: `${requirements.join(", ")} in tests/interop/.venv`,
    there: () => spawnSync(python, ["-c", isInstalled, ...requirements]).status === 0,
    get: "python3 -m venv tests/interop/.venv && tests/interop/.venv/bin/pip install -r tests/interop/requirements.txt",
  },
  {
    name: "grpcurl on the PATH or in .tools",
    there: () => folders.some((folder) => isExecutable(join(folder, "grpcurl"))),
    get: "GOBIN=$PWD/.tools go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3",
  },
  {
    name: "curl with HTTP/2 on the PATH",
    there: () => /^Features:.* HTTP2\b/m.test(spawnSync("curl", ["--version"], { env, encoding: "utf8" }).stdout ?? ""),
    get: "apt-get install curl",
  },
  {
    name: "bun and deno in node_modules/.bin",
    there: () => ["bun", "deno"].every((name) => folders.some((folder) => isExecutable(join(folder, name)))),
    get: "npm ci",
  },
].filter(({ there }) => !there())

if (tools.length > 0) {
  const lines = tools.map(({ name, get }) => `  ${name}\n    ${get}\n`)
  process.stderr.write(
    `The interop suite can't run. This is missing; each with the command that gets it, from the repository's top:\n${lines.join("")}All at once: tests/interop/setup.sh\n`,
  )
  process.exit(1)
}
