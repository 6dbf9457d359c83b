import assert from "node:assert/strict"
import { describe, test } from "node:test"
import fc from "fast-check"
import { decodeEntry, drawVersion, encodeEntry, encodeHeader } from "../../../src/transport/redis/entry.ts"

describe("an entry in Redis", () => {
  test("is what it was when it is read, and begins with its header", () => {
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.uint8Array(), (version, value) => {
        const bytes = encodeEntry(version, value)
        assert.deepEqual(decodeEntry("key", bytes), { key: "key", value, version })
        assert.ok(bytes.subarray(0, 10).equals(encodeHeader(version)))
      }),
    )
  })

  test("is told from any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        assert.equal(decodeEntry("key", Buffer.from(text)), undefined)
      }),
    )
    assert.equal(decodeEntry("key", encodeHeader(1n).subarray(0, 9)), undefined)
  })

  test("holds on to no bytes but its own", () => {
    const read = Buffer.concat([encodeEntry(1n, new Uint8Array([1, 2, 3])), Buffer.alloc(1000)])
    const entry = decodeEntry("key", read.subarray(0, 13))
    read.fill(0)
    assert.deepEqual(entry?.value, new Uint8Array([1, 2, 3]))
    assert.equal(entry?.value.buffer.byteLength, 3)
  })

  test("has a version that no other has", () => {
    assert.equal(new Set(Array.from({ length: 10_000 }, drawVersion)).size, 10_000)
  })
})
