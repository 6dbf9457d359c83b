/**
 * The README's tour: the commands of its console blocks, and what it says that they print.
 */
import assert from "node:assert/strict"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { root, running, start } from "./command.ts"

export const readme = readFileSync(join(root, "README.md"), "utf8")

export interface Step {
  readonly command: string
  readonly output: string
}

/** The steps of each console block. */
export const tour: ReadonlyArray<ReadonlyArray<Step>> = [...readme.matchAll(/^```console\n(.*?)^```$/gms)].map(
  ([, block = ""]) =>
    block
      .split(/^\$ /m)
      .slice(1)
      .map((step) => {
        const [command = "", ...output] = step.split("\n")
        return { command, output: output.join("\n") }
      }),
)

// Where the README's server is; the test's is on a free port.
const host = "127.0.0.1:8080"

/** An output as a pattern: "…" stands for anything. */
const pattern = (output: string): RegExp => {
  const parts = output.split("…").map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
  return new RegExp(`^${parts.join("[^]*?")}$`)
}

const lastLine = /calc 1\.\.10 --address (http:\S+)\n| {2}curl --cacert .+(https:\S+?)\/pi\.\S+\n/

/** Takes steps one after another, each at the server that the last one before it has started. */
export const follow = Effect.fnUntraced(function* (steps: ReadonlyArray<Step>) {
  let url = ""
  for (const { command, output } of steps) {
    const [, args] = /^bun run src\/main\.ts (serve.*)$/.exec(command) ?? []
    if (args !== undefined) {
      const server = yield* running(`bun run src/main.ts ${args} --port 0`)
      const { input, 1: plain, 2: secure } = yield* Effect.promise(() => server.said(lastLine))
      url = plain ?? secure ?? ""
      assert.match(input.replaceAll(new URL(url).host, host), pattern(output), command)
      if (args.includes("--etcd")) yield* Effect.promise(() => server.said(/ is registered as /))
    } else {
      const here = command
        .replace(host, new URL(url).host)
        .replace(/^(bun run src\/main\.ts(?!.* --address |.*\bdiscover ).*)$/, `$1 --address ${url}`)
      const { stdout } = yield* Effect.promise(() => start(`{ ${here}\n} 2>&1`).finished)
      assert.match(stdout.trimEnd().replaceAll(new URL(url).host, host), pattern(output.trimEnd()), command)
    }
  }
})
