/**
 * The machine that figures are of, and what ran on it.
 */
import { readFileSync } from "node:fs"
import { arch, cpus, loadavg, platform, release, totalmem } from "node:os"
import { join } from "node:path"
import { cores, has, output, root } from "./process.ts"
import { Missing, node } from "./programs.ts"

export type Machine = Readonly<Record<string, string>>

const firstLine = (text: string): string => text.split("\n", 1)[0]?.trim() ?? ""

const nodeVersion = (): string => {
  try {
    return firstLine(output(node(), "--version"))
  } catch (error) {
    if (error instanceof Missing) return "missing"
    throw error
  }
}

const npmVersion = (name: string): string => {
  const json: unknown = JSON.parse(readFileSync(join(root, "node_modules", name, "package.json"), "utf8"))
  return typeof json === "object" && json !== null && "version" in json ? String(json.version) : "unknown"
}

const grpcGoVersion = (): string => {
  const [, version = "unknown"] =
    /google\.golang\.org\/grpc v(\S+)/.exec(readFileSync(join(root, "tests/bench/peers/grpcGo/go.mod"), "utf8")) ?? []
  return version
}

export const machine = (): Machine => ({
  CPU: cpus()[0]?.model ?? "unknown",
  cores: `${cpus().length}${cores === undefined ? "" : `, servers on ${cores.server}, load and clients on ${cores.load}`}`,
  // What others were doing then is in the figures, too.
  "load before": loadavg()[0]?.toFixed(1) ?? "unknown",
  memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
  system: `${platform()} ${release()} ${arch()}`,
  Bun: Bun.version,
  Deno: firstLine(output("deno", "--version")).split(" ")[1] ?? "unknown",
  Node: nodeVersion().replace(/^v/, ""),
  Go: has("go") ? output("go", "env", "GOVERSION").trim().replace(/^go/, "") : "missing",
  "grpc-go": grpcGoVersion(),
  "grpc-js": npmVersion("@grpc/grpc-js"),
  "connect-node": npmVersion("@connectrpc/connect-node"),
  h2load: has("h2load") ? firstLine(output("h2load", "--version")).replace("h2load nghttp2/", "nghttp2 ") : "missing",
})
