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

// Both editions of pi.proto have the same names in them, so the modules of each proto are in a folder of their own.
const stubs = mkdtempSync(join(tmpdir(), "basel-interop-"))
process.once("exit", () => rmSync(stubs, { recursive: true }))

const generate = (folder: string, protos: string, file = "pi.proto"): string => {
  const out = join(stubs, folder)
  mkdirSync(out)
  const args = ["-m", "grpc_tools.protoc", `-I${protos}`, `--python_out=${out}`, `--grpc_python_out=${out}`, file]
  const { status, stderr } = spawnSync(python, args, { cwd: root, encoding: "utf8" })
  assert.equal(status, 0, stderr)
  return out
}

const edition = generate("pi", "proto")
const streamingEdition = generate("streaming", "proto/streaming")
// Not by its package's folders, which are those of grpcio's own modules.
const testEdition = generate("test", "tests/interop/proto/grpc/testing", "test.proto")

const modules = (program: string): string => {
  if (program.startsWith("streaming_")) return streamingEdition
  return program.startsWith("test_") ? testEdition : edition
}

const inPython = (program: string, args: ReadonlyArray<string | number>): Command => ({
  command: python,
  args: [join(import.meta.dirname, "python", program), ...args.map(String)],
  env: { PYTHONPATH: modules(program) },
})

/** Runs a program of python/ and gives the lines that it prints. */
export const grpcio = (
  program: string,
  ...args: ReadonlyArray<string | number>
): Effect.Effect<ReadonlyArray<string>> => Effect.map(run(inPython(program, args)), lines)

/** A server of python/, on a free port. */
export const grpcioServed = (program: string, ...args: ReadonlyArray<string | number>) =>
  server(inPython(program, ["127.0.0.1:0", ...args]), /^serving on port (\d+)$/m)
