import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import { errorCode, flag, frameType } from "../../../src/transport/http2/frames.ts"
import { MemoryBudget } from "../../../src/transport/http2/memory.ts"
import { frame } from "../support.ts"
import { block, data, fields, headers, requestFields, rstStream, settings, victim, windowUpdate } from "./support.ts"

const streamMemory = 8192
const full = new Uint8Array(16_384)

describe("a budget that is a part of another", () => {
  test("takes from both or from neither, and says which of them is short", () => {
    const whole = new MemoryBudget("whole", 100)
    const part = new MemoryBudget("part", 80, whole)
    assert.equal(part.take(81), part)
    assert.equal(whole.take(30), undefined)
    assert.deepEqual([part.spare, whole.spare], [20, 20])
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

  test("is taken by a long head for as long as its stream is there, and is wanting for the next one", () => {
    const memory = new MemoryBudget("connection", 60_000)
    const server = victim({}, {}, memory)
    const long = block([...requestFields, { name: "x-long", value: "x".repeat(30_000) }])
    const parts = (id: number) => [
      frame(frameType.headers, 0, id, long.subarray(0, 16_384)),
      frame(frameType.continuation, flag.endHeaders, id, long.subarray(16_384)),
    ]
    server.send(...parts(1))
    assert.ok(memory.used > streamMemory + 30_000)
    server.send(...parts(3))
    assert.deepEqual([1, 3].map(server.resets), [[], [errorCode.enhanceYourCalm]])
    server.send(rstStream(1))
    assert.equal(memory.used, 0)
    assert.deepEqual(server.failures, [])
  })

  test("is taken by what no program has read, and given back as it reads", () => {
    const memory = new MemoryBudget("connection", 2 ** 20)
    const server = victim({}, {}, memory)
    server.send(headers(1), data(1, full), data(1, full), data(1, full))
    assert.equal(memory.used, 3 * full.length)
    // A part of a message is taken in, and held all the same.
    server.connection.taken(server.stream(1), 3 * full.length, 2 * full.length)
    assert.equal(memory.used, full.length)
    server.connection.taken(server.stream(1), 0, full.length)
    assert.equal(memory.used, streamMemory)
    server.send(data(1, full), rstStream(1))
    assert.equal(memory.used, 0)
  })

  test("is wanting for one stream, which ends alone", () => {
    const memory = new MemoryBudget("connection", 45_000)
    const short: Array<string> = []
    const server = victim({}, { exhausted: (_, { name }) => short.push(name) }, memory)
    server.send(headers(1), headers(3), data(1, full), data(3, full))
    assert.deepEqual(short, [])
    server.send(data(3, full))
    assert.deepEqual(short, ["connection"])
    assert.deepEqual([server.resets(1), server.resets(3)], [[], [errorCode.enhanceYourCalm]])
    server.send(data(1, full), headers(5, true))
    assert.deepEqual([server.ended, server.failures], [[5], []])
    server.connection.abandon()
    assert.equal(memory.used, 0)
  })

  test("is taken by what no peer has taken, which is dropped where there is none: who made it may say so", () => {
    const memory = new MemoryBudget("connection", 100_000)
    const server = victim(
      {},
      {
        exhausted: (stream) => server.connection.sendEnd(stream, fields({ "grpc-status": "8" })),
      },
      memory,
    )
    server.send(settings([4, 0]), headers(1, true), headers(3, true), headers(5, true))
    const respond = (id: number) => {
      const stream = server.stream(id)
      server.connection.sendHeaders(stream, fields({ ":status": "200" }), false)
      server.connection.sendData(stream, Buffer.alloc(60_000))
      server.flush()
      return stream
    }
    const waits = respond(1)
    assert.equal(memory.used, 60_000 + 2 * streamMemory)
    const refused = respond(3)
    assert.deepEqual([waits.closed, refused.closed], [false, true])
    assert.ok(server.sent.some(({ streamId, flags: f }) => streamId === 3 && (f & flag.endStream) !== 0))
    server.send(windowUpdate(1, 60_000))
    assert.equal(server.body(1).length, 60_000)
    assert.equal(memory.used, 2 * streamMemory)
  })

  test("is given back only as far as what waits leaves its buffer", () => {
    const memory = new MemoryBudget("connection", 2 ** 21)
    const server = victim({}, {}, memory)
    server.send(settings([4, 1_000_000]), windowUpdate(0, 1_000_000), headers(1))
    const stream = server.stream(1)
    server.connection.sendHeaders(stream, fields({ ":status": "200" }), false)
    server.connection.sendData(stream, new Uint8Array(1_000_100))
    server.flush()
    // More of the request has it counted what is held now.
    server.send(data(1, Buffer.of(0)))
    const held = stream.pending.reduce((sum, { buffer }) => sum + buffer.byteLength, 0)
    assert.equal(stream.pendingBytes, 100)
    assert.ok(held <= memory.used, `${held} bytes are held, and ${memory.used} are counted`)
  })

  test("that is wanting for long heads again and again ends the connection", () => {
    const memory = new MemoryBudget("connection", 20_000)
    const server = victim({ maxResets: 10, maxResetsPerSecond: 0 }, {}, memory)
    const long = block([...requestFields, { name: "x-long", value: "x".repeat(14_000) }])
    for (let i = 0; i < 11; i++) server.send(headers(2 * i + 1, false, long))
    assert.deepEqual(server.failures, [errorCode.enhanceYourCalm])
  })

  test("lets windows grow only while half of it stays for others, however many streams there are", () => {
    const memory = new MemoryBudget("connection", 2 ** 21)
    const server = victim({}, { data: (stream, _, start, end) => server.connection.taken(stream, end - start) }, memory)
    for (let id = 1; id < 64; id += 2) {
      server.send(headers(id))
      for (let i = 0; i < 200; i++) server.send(data(id, full))
    }
    assert.ok(memory.used <= 2 ** 20 + 32 * streamMemory, `${memory.used} bytes are used`)
    assert.deepEqual(server.failures, [])
  })

  test("lets a window grow only while half of it stays for others", () => {
    const memory = new MemoryBudget("connection", 300_000)
    const server = victim({}, { data: (stream, _, start, end) => server.connection.taken(stream, end - start) }, memory)
    server.send(headers(1))
    for (let i = 0; i < 200; i++) server.send(data(1, full))
    assert.equal(server.stream(1).receive.full, 131_072)
    assert.equal(memory.used, 65_536)
  })
})

describe("what waits to be sent", () => {
  const waiting = (id: number) => {
    const resets: Array<number> = []
    const server = victim({}, { reset: (stream) => resets.push(stream.id) })
    server.send(settings([4, 10]), headers(id, true))
    const stream = server.stream(id)
    server.connection.sendHeaders(stream, fields({ ":status": "200" }), false)
    server.connection.sendLast(stream, Buffer.alloc(1000))
    server.flush()
    return { server, stream, resets }
  }

  test("is dropped when it should be gone, and its stream is reset", () => {
    const { server, stream, resets } = waiting(1)
    server.connection.sendBy(stream, 500)
    assert.equal(server.connection.sendsBy, 500)
    server.connection.endOverdue(499, 60_000)
    assert.equal(server.connection.sendsBy, 500)
    server.connection.endOverdue(500, 60_000)
    server.flush()
    assert.deepEqual([server.resets(1), resets], [[errorCode.cancel], [1]])
    assert.deepEqual([server.connection.sending, server.connection.sendsBy], [false, Number.POSITIVE_INFINITY])
  })

  test("is dropped after a time in which none of it went, and not while some does", () => {
    const { server } = waiting(1)
    for (let now = 0; now < 1000; now += 50) {
      server.connection.endOverdue(now, 100)
      server.send(windowUpdate(1, 10))
    }
    assert.deepEqual(server.resets(1), [])
    for (let now = 1000; now < 1150; now += 50) server.connection.endOverdue(now, 100)
    server.flush()
    assert.deepEqual(server.resets(1), [errorCode.cancel])
  })
})
