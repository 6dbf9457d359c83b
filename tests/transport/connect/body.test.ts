import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import { Body } from "../../../src/transport/connect/body.ts"

describe("a body", () => {
  test("is read in one piece, whatever number of pieces it came in, and counts as taken only then", async () => {
    const taken: Array<number> = []
    const body = new Body((length) => taken.push(length))
    const chunk = Buffer.from(Array.from({ length: 10_000 }, (_, i) => i))
    const sent = Buffer.from(chunk)
    for (let i = 0; i < sent.length; i++) body.push(chunk, i, i + 1)
    // The bytes are the socket's.
    chunk.fill(0)
    assert.deepEqual(taken, [])
    const reading = body[Symbol.asyncIterator]()
    assert.deepEqual(Buffer.from((await reading.next()).value ?? []), sent)
    assert.deepEqual(taken, [sent.length])
    const next = reading.next()
    body.push(sent, 0, 3)
    assert.deepEqual(Buffer.from((await next).value ?? []), sent.subarray(0, 3))
    body.end()
    assert.equal((await reading.next()).done, true)
  })

  test("that fails gives what has arrived, and then the error", async () => {
    const body = new Body(() => {})
    body.push(Buffer.of(1, 2), 0, 2)
    body.fail(new Error("reset"))
    const reading = body[Symbol.asyncIterator]()
    assert.equal((await reading.next()).value?.length, 2)
    await assert.rejects(reading.next(), /reset/)
  })
})
