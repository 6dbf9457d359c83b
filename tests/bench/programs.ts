/**
 * Programs: how ours are run on each runtime, and how those of peers are built.
 */
import { existsSync } from "node:fs"
import { join } from "node:path"
import { type Command, has, output, root } from "./process.ts"

/** Something that a measure needs isn't there. The message says what to do about it. */
export class Missing extends Error {
  override readonly name = "Missing"
}

export const runtimes = ["bun", "deno", "node"] as const
export type Runtime = (typeof runtimes)[number]

export const runtimeNames: Readonly<Record<Runtime, string>> = { bun: "Bun", deno: "Deno", node: "Node" }

/** Node as the conformance suites have it, for it must run TypeScript. */
export const node = (): string => {
  const path = join(root, ".tools", "node", "node_modules", ".bin", "node")
  if (!existsSync(path)) throw new Missing("Node is missing: tests/conformance/setup.sh")
  return path
}

/** A file of this repository on a runtime. */
export const program = (runtime: Runtime, file: string, ...args: ReadonlyArray<string>): Command => {
  switch (runtime) {
    case "bun":
      return { command: "bun", args: ["run", file, ...args] }
    case "deno":
      return { command: "deno", args: ["run", "--no-prompt", "--allow-net", "--no-lock", file, ...args] }
    case "node":
      return { command: node(), args: [file, ...args] }
  }
}

const grpcGoSource = "tests/bench/peers/grpcGo"
const grpcGoBinaries = join(root, ".tools", "benchPeers")

/** Builds the programs of grpc-go anew each time, so that they are always those of pi.proto; Go keeps what is still good. */
export const grpcGo = (name: "server" | "client", ...args: ReadonlyArray<string>): Command => {
  if (!has("go")) throw new Missing("grpc-go is missing: install Go 1.26 or later, https://go.dev/dl")
  output("buf", "generate", "proto", "--path", "proto/pi.proto", "--template", `${grpcGoSource}/buf.gen.yaml`)
  output("go", "-C", grpcGoSource, "build", "-o", `${grpcGoBinaries}/`, "./server", "./client")
  return { command: join(grpcGoBinaries, name), args, env: { GOMAXPROCS: "1" } }
}
