import assert from "node:assert/strict"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { test as nodeTest } from "node:test"
import { Effect } from "effect"
import { test } from "../effect.ts"
import { root, start } from "./command.ts"
import { follow, readme, type Step, tour } from "./readmeTour.ts"

// It starts its own servers, takes its time, and never the same.
const isExperiment = ({ command }: Step): boolean => command.endsWith("src/main.ts experiment")

/** The experiment's output without what this machine makes of it: times, rates and bars of ours, and the width of all. */
const withoutMeasurements = (output: string): string =>
  output.replace(/^( +\d+ +)[\d.]+ s +[\d,]+ (.*?) +[█-▏]+$/gm, "$1… $2").replace(/( |─)+/g, "$1")

// Its own test runs these, with an etcd.
const needsEtcd = (steps: ReadonlyArray<Step>): boolean => steps.some(({ command }) => command.includes("etcd://"))
// They run in a project of their own.
const isElsewhere = ({ command }: Step): boolean => command === "node client.ts"

const steps = tour
  .filter((block) => !needsEtcd(block))
  .flat()
  .filter((step) => !isExperiment(step) && !isElsewhere(step))
// A server and the commands that call it, up to the next server.
const starts = steps.flatMap(({ command }, at) => (/main\.ts serve/.test(command) ? [at] : []))

nodeTest("the README has a tour, which begins with a server", () => {
  assert.ok(steps.length >= 12)
  assert.equal(starts[0], 0)
})

for (const [at, start] of starts.entries()) {
  const part = steps.slice(start, starts[at + 1])
  test(`each command of the README's tour prints what the README says: ${part[0]?.command}`, () => follow(part))
}

test("the experiment prints what the README says but for the times", () =>
  Effect.gen(function* () {
    const [{ command, output } = assert.fail("no experiment in the tour")] = tour.flat().filter(isExperiment)
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
