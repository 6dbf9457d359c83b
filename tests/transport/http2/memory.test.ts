import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { errorCode } from "../../../src/transport/http2/frames.ts"
import { MemoryBudget } from "../../../src/transport/http2/memory.ts"
import { fields, headers, rstStream, victim } from "./support.ts"

const streamMemory = 8192

describe("a budget that is a part of another", () => {
  test("takes from both or from neither, and says which of them is short", () => {
    const whole = new MemoryBudget("whole", 100)
    const part = new MemoryBudget("part", 80, whole)
    assert.equal(part.take(81), part)
    assert.equal(whole.take(30), undefined)
    assert.equal(part.room, 70)
    assert.equal(part.take(71), whole)
    assert.deepEqual([part.used, whole.used], [0, 30])
    assert.equal(part.take(70), undefined)
    part.give(70)
    assert.deepEqual([part.used, whole.used], [0, 30])
  })
})

describe("the memory of a connection", () => {
  test("has a price for each stream, gives it back at its end, and refuses streams over it", () => {
    const memory = new MemoryBudget("connection", 2 * streamMemory)
    const server = victim({}, {}, memory)
    server.send(headers(1), headers(3), headers(5))
    assert.deepEqual([1, 3, 5].map(server.resets), [[], [], [errorCode.enhanceYourCalm]])
    assert.equal(memory.used, 2 * streamMemory)
    server.send(rstStream(1), headers(7, true))
    assert.deepEqual(server.resets(7), [])
    server.connection.sendHeaders(server.stream(7), fields({ ":status": "200" }), true)
    assert.equal(memory.used, streamMemory)
    server.connection.abandon()
    assert.equal(memory.used, 0)
    assert.deepEqual(server.failures, [])
  })
})
