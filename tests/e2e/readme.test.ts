import assert from "node:assert/strict"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { test as nodeTest } from "node:test"
import { Effect } from "effect"
import { test } from "../effect.ts"
import { etcdServer } from "../transport/etcd/server.ts"
import { root, running, start } from "./command.ts"

const readme = readFileSync(join(root, "README.md"), "utf8")

interface Step {
  readonly command: string
  readonly output: string
}

/** The commands of the README's console blocks with the output that stands under each. */
const steps: ReadonlyArray<Step> = [...readme.matchAll(/^```console\n(.*?)^```$/gms)].flatMap(([, block = ""]) =>
  block
    .split(/^\$ /m)
    .slice(1)
    .map((step) => {
      const [command = "", ...output] = step.split("\n")
      return { command, output: output.join("\n") }
    }),
)

// Where the README's server and etcd are; the test's are on free ports.
const host = "127.0.0.1:8080"
const etcdHost = "127.0.0.1:2379"

/** An output as a pattern: "…" stands for anything. */
const pattern = (output: string): RegExp => {
  const parts = output.split("…").map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
  return new RegExp(`^${parts.join("[^]*?")}$`)
}

// It starts its own servers, takes its time, and never the same.
const isExperiment = ({ command }: Step): boolean => command.endsWith("src/main.ts experiment")

/** The experiment's output without what this machine makes of it: times, rates and bars of ours, and the width of all. */
const withoutMeasurements = (output: string): string =>
  output.replace(/^( +\d+ +)[\d.]+ s +[\d,]+ (.*?) +[█-▏]+$/gm, "$1… $2").replace(/( |─)+/g, "$1")

const lastLine = /calc 1\.\.10 --address (http:\S+)\n| {2}curl --cacert .+(https:\S+?)\/pi\.\S+\n/

test("each command of the README's tour prints what the README says", () =>
  Effect.gen(function* () {
    assert.ok(steps.length >= 12, "the tour was found")
    const etcd = yield* etcdServer()
    let url = ""
    for (const { command, output } of steps.filter((step) => !isExperiment(step))) {
      const there = command.replace(etcdHost, etcd.host)
      const [, args] = /^bun run src\/main\.ts (serve.*)$/.exec(there) ?? []
      if (args !== undefined) {
        const server = yield* running(`bun run src/main.ts ${args} --port 0`)
        const { input, 1: plain, 2: secure } = yield* Effect.promise(() => server.said(lastLine))
        url = plain ?? secure ?? ""
        assert.match(input.replaceAll(new URL(url).host, host), pattern(output), command)
        if (args.includes("--etcd")) yield* Effect.promise(() => server.said(/ is registered as /))
      } else {
        const here = there
          .replace(host, new URL(url).host)
          .replace(/^(bun run src\/main\.ts(?!.* --address |.*\bdiscover ).*)$/, `$1 --address ${url}`)
        const { stdout } = yield* Effect.promise(() => start(`{ ${here}\n} 2>&1`).finished)
        assert.match(stdout.trimEnd().replaceAll(new URL(url).host, host), pattern(output.trimEnd()), command)
      }
    }
  }))

test("the experiment prints what the README says but for the times", () =>
  Effect.gen(function* () {
    const [{ command, output } = assert.fail("no experiment in the tour")] = steps.filter(isExperiment)
    const { code, stdout } = yield* Effect.promise(() => start(command).finished)
    assert.equal(code, 0)
    assert.equal(withoutMeasurements(stdout).trimEnd(), withoutMeasurements(output).trimEnd())
  }))

const links = [...readme.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)].map(([, target = ""]) => target)

nodeTest("every file that the README links to is there", () => {
  assert.ok(links.length > 20)
  assert.deepEqual(
    links.filter((target) => !existsSync(join(root, target))),
    [],
  )
})
