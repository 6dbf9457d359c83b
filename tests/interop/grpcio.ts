/**
 * The programs of python/: clients and servers of grpcio.
 */
import assert from "node:assert/strict"
import { spawnSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { type Command, lines, run, server } from "./processes.ts"
import { python, root } from "./tools.ts"

// Both editions of pi.proto have the same names in them, so the modules of each are in a folder of their own.
const stubs = mkdtempSync(join(tmpdir(), "basel-interop-"))
process.once("exit", () => rmSync(stubs, { recursive: true }))

const generate = (folder: string, protos: string): string => {
  const out = join(stubs, folder)
  mkdirSync(out)
  const args = ["-m", "grpc_tools.protoc", `-I${protos}`, `--python_out=${out}`, `--grpc_python_out=${out}`, "pi.proto"]
  const { status, stderr } = spawnSync(python, args, { cwd: root, encoding: "utf8" })
  assert.equal(status, 0, stderr)
  return out
}

const edition = generate("pi", "proto")
const streamingEdition = generate("streaming", "proto/streaming")

const inPython = (program: string, args: ReadonlyArray<string | number>): Command => ({
  command: python,
  args: [join(import.meta.dirname, "python", program), ...args.map(String)],
  env: { PYTHONPATH: program.startsWith("streaming_") ? streamingEdition : edition },
})

/** Runs a program of python/ and gives the lines that it prints. */
export const grpcio = (
  program: string,
  ...args: ReadonlyArray<string | number>
): Effect.Effect<ReadonlyArray<string>> => Effect.map(run(inPython(program, args)), lines)

/** A server of python/, on a free port. */
export const grpcioServed = (program: string, ...args: ReadonlyArray<string | number>) =>
  server(inPython(program, ["127.0.0.1:0", ...args]), /^serving on port (\d+)$/m)
