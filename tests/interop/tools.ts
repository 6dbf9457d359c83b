/**
 * The tools of others that the suite runs: Python with grpcio, grpc-go's client and server, etcd and a program in Go that
 * uses it, grpcurl, curl, nghttp2's clients, nginx, Envoy, and Chromium. Without them it ends at once, for a test that is skipped says
 * nothing.
 */
import { spawnSync } from "node:child_process"
import { accessSync, constants, readFileSync } from "node:fs"
import { delimiter, join } from "node:path"

/** The repository's top, where every process of the suite runs. */
export const root = join(import.meta.dirname, "..", "..")

export const python = join(import.meta.dirname, ".venv", "bin", "python")

/** Envoy as PyPI has it. */
export const envoy = join(import.meta.dirname, ".venv", "bin", "envoy")

// Their version is in their path, so that another one is another file.
const grpcGo = join(root, ".tools", "grpc-go-interop-v1.85.0")

/** The client and the server of grpc-go's interop suite. */
export const grpcGoClient = join(grpcGo, "client")
export const grpcGoServer = join(grpcGo, "server")

/** A server and a client in Go that find each other through etcd. */
export const etcdGo = join(root, ".tools", "etcdGo")

/** A Node that runs TypeScript: the machine's own may be too old to. */
export const node = join(root, "node_modules", ".bin", "node")

const folders = [join(root, "node_modules", ".bin"), join(root, ".tools"), ...(process.env.PATH ?? "").split(delimiter)]

/** What every process of the suite is given: the tools, and no proxy on the way to this machine. */
export const env = {
  ...process.env,
  PATH: folders.join(delimiter),
  no_proxy: "127.0.0.1",
  NO_PROXY: "127.0.0.1",
  // Node would otherwise strip the types of all files anew for each process.
  NODE_COMPILE_CACHE: join(root, "node_modules", ".cache", "node"),
}

const isExecutable = (file: string): boolean => {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

const isOnPath = (name: string): boolean => folders.some((folder) => isExecutable(join(folder, name)))

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
    there: () => isOnPath("grpcurl"),
    get: "GOBIN=$PWD/.tools go install github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3",
  },
  {
    name: "grpc-go's interop client and server in .tools",
    there: () => [grpcGoClient, grpcGoServer].every(isExecutable),
    get: "GOBIN=$PWD/.tools/grpc-go-interop-v1.85.0 go install google.golang.org/grpc/interop/{client,server}@v1.85.0",
  },
  {
    name: "etcd and etcdctl on the PATH",
    there: () => ["etcd", "etcdctl"].every(isOnPath),
    get: "apt-get install --no-install-recommends etcd-server etcd-client",
  },
  {
    name: "tests/interop/go/etcd in .tools",
    there: () => isExecutable(etcdGo),
    get: 'buf generate proto --path proto/pi.proto --template tests/bench/peers/grpcGo/buf.gen.yaml && go -C tests/interop/go/etcd build -o "$PWD/.tools/etcdGo" .',
  },
  {
    name: "curl with HTTP/2 on the PATH",
    there: () => /^Features:.* HTTP2\b/m.test(spawnSync("curl", ["--version"], { env, encoding: "utf8" }).stdout ?? ""),
    get: "apt-get install curl",
  },
  {
    name: "h2load and nghttp on the PATH",
    there: () => ["h2load", "nghttp"].every(isOnPath),
    get: "apt-get install nghttp2-client",
  },
  {
    name: "nginx on the PATH",
    there: () => isOnPath("nginx"),
    get: "apt-get install --no-install-recommends nginx-light",
  },
  {
    name: "chromium on the PATH",
    there: () => isOnPath("chromium"),
    get: "apt-get install --no-install-recommends chromium",
  },
  {
    name: "bun and deno in node_modules/.bin",
    there: () => ["bun", "deno"].every(isOnPath),
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
