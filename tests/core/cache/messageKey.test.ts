import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { messageKey } from "../../../src/core/cache/messageKey.ts"

// Of whatever stands between fields.
const text = fc.string({ unit: fc.constantFrom("1", ":", ",", "{", "}", "[", "]"), maxLength: 4 })
const fields = {
  text,
  number: fc.oneof(fc.integer({ min: -1, max: 1 }), fc.double()),
  long: fc.bigInt({ min: -1n, max: 1n }),
  bytes: fc.uint8Array({ maxLength: 2 }),
  list: fc.array(text, { maxLength: 2 }),
  map: fc.dictionary(text, text, { maxKeys: 2, noNullPrototype: true }),
}
const message = fc.record(fields, { noNullPrototype: true })

test("equal messages have the same key, and those that differ have another", () => {
  fc.assert(
    fc.property(message, message, fc.subarray(Object.keys(fields)), (a, b, names) => {
      // Alike in all but some fields.
      const other = { ...a, ...Object.fromEntries(Object.entries(b).filter(([name]) => names.includes(name))) }
      assert.equal(messageKey(a, 1000), messageKey(structuredClone(a), 1000))
      if (messageKey(a, 1000) === messageKey(other, 1000)) assert.deepStrictEqual(a, other)
    }),
    { numRuns: 1000 },
  )
})

test("no value passes for another", () => {
  const values = [0, -0, 1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, null]
  const texts = ["", "1", "1,", "}", "1:n", "\0", "ä", "\u{1F600}"]
  const others = [true, [], [0], [0, 0], [[0], 0], {}, { n: 0 }, { n: undefined }, { n: { n: 0 } }, { "1:n0,": 0 }]
  const keys = [...values, ...texts, ...others].map((n) => messageKey({ n }, 100))
  assert.equal(new Set(keys).size, keys.length)
})

test("a message that is too long has none, however long it is", () => {
  assert.equal(messageKey({ n: "x".repeat(100) }, 100), undefined)
  assert.equal(messageKey({ n: new Uint8Array(10_000_000) }, 100), undefined)
  assert.equal(
    messageKey(
      Array.from({ length: 1_000_000 }, () => ({ n: 1 })),
      100,
    ),
    undefined,
  )
  assert.equal(messageKey({ n: 999 }, 9)?.length, 9)
  assert.equal(messageKey({ n: 999 }, 8), undefined)
})
