import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import fc from "fast-check"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { EnvelopeReader, envelopeLength, readLength, writeEnvelope } from "../../../src/transport/grpc/envelope.ts"
import { cut } from "../http2/support.ts"

/** A reader, and the messages that it has found. */
const open = (maxBytes = 1 << 20) => {
  const messages: Array<readonly [Uint8Array, boolean]> = []
  const reader = new EnvelopeReader(maxBytes, {
    messages: (bytes, start, end, count) => {
      let at = start
      for (let i = 0; i < count; i++) {
        const from = at + envelopeLength
        at = from + readLength(bytes, at)
        messages.push([bytes.slice(from, at), false])
      }
      assert.equal(at, end)
    },
    compressed: (bytes, start, end) => messages.push([bytes.slice(start, end), true]),
  })
  return { reader, messages }
}

/** A message in its envelope. */
const envelop = (message: Uint8Array, compressed: boolean): Uint8Array => {
  const bytes = new Uint8Array(envelopeLength + message.length)
  bytes.set(message, writeEnvelope(bytes, 0, message.length, compressed))
  return bytes
}

/** Only the envelope of a message that says it is as long as this. */
const promise = (length: number, flags = 0): Buffer => {
  const bytes = Buffer.alloc(envelopeLength, flags)
  bytes.writeUInt32BE(length, 1)
  return bytes
}

const isError = (code: RpcError["code"], message: RegExp) => (error: unknown) =>
  error instanceof RpcError && error.code === code && message.test(error.message)

describe("an envelope reader", () => {
  test("finds the same messages wherever the body is cut", () => {
    const message = fc.tuple(fc.uint8Array({ maxLength: 3000 }), fc.boolean())
    const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 })
    fc.assert(
      fc.property(fc.array(message), sizes, fc.nat(7), (sent, chunks, before) => {
        const { reader, messages } = open()
        for (const chunk of cut(Buffer.concat(sent.map(([bytes, compressed]) => envelop(bytes, compressed))), chunks)) {
          // Out of the middle of a buffer that is somebody else's before and behind it, and soon.
          const around = Uint8Array.from([...Array(before).fill(1), ...chunk, 1, 1, 1])
          reader.read(around, before, before + chunk.length)
          around.fill(0xff)
        }
        assert.deepEqual(
          messages.map(([bytes, compressed]) => [Buffer.from(bytes), compressed]),
          sent.map(([bytes, compressed]) => [Buffer.from(bytes), compressed]),
        )
        assert.ok(reader.complete)
      }),
      { numRuns: 300 },
    )
  })

  test("passes on in one go what messages come whole, in one piece and not compressed", () => {
    const rows: Array<number> = []
    const reader = new EnvelopeReader(1000, {
      messages: (_bytes, _start, _end, count) => rows.push(count),
      compressed: () => rows.push(0),
    })
    const short = envelop(Buffer.from("abc"), false)
    const parts = [short, short, short, envelop(Buffer.from("z"), true), short, short, short.subarray(0, 6)]
    const bytes = Buffer.concat(parts)
    reader.read(bytes, 0, bytes.length)
    reader.read(Buffer.concat([short.subarray(6), short, short]), 0, 2 + 2 * short.length)
    assert.deepEqual(rows, [3, 0, 2, 1, 2])
  })

  test("passes on the messages before one that can't be taken", () => {
    const { reader, messages } = open(10)
    const bytes = Buffer.concat([envelop(Buffer.from("abc"), false), promise(11)])
    assert.throws(() => reader.read(bytes, 0, bytes.length), isError("resource_exhausted", /11 bytes/))
    assert.equal(messages.length, 1)
  })

  test("says that a body may not end within a message, nor within its envelope", () => {
    const whole = envelop(Buffer.from("abc"), false)
    for (let length = 0; length <= whole.length; length++) {
      const { reader } = open()
      reader.read(whole, 0, length)
      assert.equal(reader.complete, length === 0 || length === whole.length, `${length} bytes`)
    }
  })

  test("takes a message of its limit, and not one that says it is a byte longer, before it has come", () => {
    const { reader, messages } = open(10)
    reader.read(envelop(new Uint8Array(10), false), 0, 15)
    assert.equal(messages.length, 1)
    for (const parts of [1, 5]) {
      const { reader } = open(10)
      const read = () => {
        for (const part of cut(promise(11), [parts === 1 ? 5 : 1])) reader.read(part, 0, part.length)
      }
      assert.throws(read, isError("resource_exhausted", /11 bytes.*10/))
    }
    assert.throws(() => open().reader.read(promise(0xffff_ffff), 0, 5), isError("resource_exhausted", /4294967295/))
  })

  test("refuses flags that gRPC doesn't have", () => {
    for (let flags = 2; flags < 256; flags++) {
      assert.throws(() => open().reader.read(promise(0, flags), 0, 5), isError("internal", /flags/))
    }
  })

  test("reserves for a message what has come of it, not what it says it will be", () => {
    const { reader } = open()
    const bytes = Buffer.concat([promise(1 << 20), Buffer.alloc(1000)])
    reader.read(bytes, 0, bytes.length)
    const kept: unknown = Reflect.get(reader, "partial")
    assert.ok(kept instanceof Uint8Array && kept.length <= 6 * 1000)
  })

  test("copies no byte more than a few times, be the pieces as small as they can", () => {
    const { reader, messages } = open()
    const bytes = envelop(new Uint8Array(1 << 19), false)
    const from = performance.now()
    for (let at = 0; at < bytes.length; at++) reader.read(bytes, at, at + 1)
    assert.equal(messages[0]?.[0].length, 1 << 19)
    assert.ok(performance.now() - from < 3000)
  })

  test("reads the lengths that are written", () => {
    fc.assert(
      fc.property(fc.nat(0xffff_ffff), fc.boolean(), (length, compressed) => {
        const bytes = Buffer.alloc(7)
        assert.equal(writeEnvelope(bytes, 1, length, compressed), 6)
        assert.deepEqual([bytes[0], bytes[1], bytes.readUInt32BE(2), bytes[6]], [0, compressed ? 1 : 0, length, 0])
        assert.equal(readLength(bytes, 1), length)
      }),
    )
  })
})
