import assert from "node:assert/strict"
import { Effect } from "effect"
import { test } from "../effect.ts"
import { etcdServer } from "../transport/etcd/server.ts"
import { follow, tour } from "./readmeTour.ts"

// Where the README's etcd is; the test's is on a free port.
const etcdHost = "127.0.0.1:2379"

test("discovery in the README's tour prints what the README says", () =>
  Effect.gen(function* () {
    const etcd = yield* etcdServer()
    const blocks = tour.filter((steps) => steps.some(({ command }) => command.includes(etcdHost)))
    assert.equal(blocks.length, 1, "the block was found")
    const there = (text: string) => text.replaceAll(etcdHost, etcd.host)
    yield* follow(blocks.flat().map(({ command, output }) => ({ command: there(command), output: there(output) })))
  }))
