import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { connectionsFor, defaultMaxConnections } from "../../../src/transport/net/openFiles.ts"

describe("how many connections there may be by default", () => {
  test("is below the limit on open files, and leaves some to the rest of the process", () => {
    assert.deepEqual([64, 150, 256, 1024, 20_000, 1_048_576].map(connectionsFor), [32, 86, 192, 922, 18_000, 65_536])
  })

  test("is known for this process, without asking whoever sits at the terminal", () => {
    assert.ok(defaultMaxConnections() >= 32)
  })
})
