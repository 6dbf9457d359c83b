import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import fc from "fast-check"
import { HpackError } from "../../../src/transport/http2/hpack.ts"
import { Decoder } from "../../../src/transport/http2/hpackDecoder.ts"
import { huffmanEncode, huffmanLength } from "../../../src/transport/http2/huffman.ts"
import { decode, integer, list, literal } from "./hpackSupport.ts"
import { cut } from "./support.ts"

const essential = new Set(["content-type"])
const newDecoder = () => new Decoder({ maxListSize: 1 << 20, essential })

const skim = (decoder: Decoder, block: Uint8Array, sizes: ReadonlyArray<number>) => {
  for (const part of cut(block, sizes)) decoder.skim(Uint8Array.of(0xbe, ...part, 0x40), 1, 1 + part.length)
  decoder.endSkim()
}

const compressed = (text: string): ReadonlyArray<number> => {
  const bytes = new Uint8Array(huffmanLength(text))
  huffmanEncode(text, bytes, 0)
  return [...integer(0x80, 0x7f, bytes.length), ...bytes]
}

/** What there is in the table of a decoder, from the newest on. */
const table = (decoder: Decoder): ReadonlyArray<unknown> => {
  const found: Array<unknown> = []
  for (let index = 62; ; index++) {
    try {
      found.push(decode(decoder, Uint8Array.from(integer(0x80, 0x7f, index))))
    } catch (error) {
      assert.ok(error instanceof HpackError)
      return found
    }
  }
}

// How large the table may be: there are strings here that are too long for each of these.
const sizes = [0, 64, 200, 4096]
const text = fc.oneof(
  fc.stringMatching(/^[a-z0-9-]{1,12}$/),
  fc.nat(40_000).map((length) => "v~".repeat(length / 2)),
  fc.nat(2000).map((length) => "a".repeat(length)),
)
const string = fc.tuple(text, fc.boolean()).map(([value, small]) => (small ? compressed(value) : literal(value)))
const field = fc.oneof(
  fc.constantFrom([0x82], [0x90]),
  fc.tuple(fc.constantFrom(0x40, 0x00, 0x10), string, string).map(([bits, name, value]) => [bits, ...name, ...value]),
  fc.tuple(fc.constantFrom(0x44, 0x04, 0x14), string).map(([bits, value]) => [bits, ...value]),
)

describe("a header block that is skimmed", () => {
  test("leaves the table as one that is decoded, wherever it is cut", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...sizes),
        fc.array(field, { maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 5 }),
        (size, all, cuts) => {
          const block = Buffer.concat([integer(0x20, 0x1f, size), ...all].map((one) => Buffer.from(one)))
          const [skimmed, decoded] = [newDecoder(), newDecoder()]
          for (const decoder of [skimmed, decoded])
            decode(decoder, Uint8Array.of(0x40, ...literal("a"), ...literal("b")))
          decoded.decode(block, 0, block.length)
          skim(skimmed, block, cuts)
          assert.deepEqual(table(skimmed), table(decoded))
        },
      ),
      { numRuns: 300 },
    )
  })

  test("may be cut behind each byte", () => {
    const block = Buffer.from([
      ...integer(0x20, 0x1f, 300),
      ...[0x40, ...compressed("first"), ...literal("1")],
      ...[0x00, ...literal("passing"), ...literal("v".repeat(3000))],
      ...[0x40, ...compressed("second"), ...literal("2")],
      ...[0x10, ...literal("n".repeat(3000)), ...compressed("v".repeat(3000))],
      0xbe,
    ])
    const decoder = newDecoder()
    skim(decoder, block, [1])
    assert.deepEqual(table(decoder), [list(["second", "2"]), list(["first", "1"])])
  })

  test("empties the table by a field that is too large for it, of which nothing is held", () => {
    const decoder = newDecoder()
    decode(decoder, Uint8Array.of(0x40, ...literal("a"), ...literal("b")))
    const megabyte = Buffer.alloc(1_000_000, "v")
    for (const part of [Uint8Array.from([0x40, ...literal("x"), ...integer(0, 0x7f, megabyte.length)]), megabyte]) {
      decoder.skim(part, 0, part.length)
    }
    decoder.endSkim()
    assert.deepEqual(table(decoder), [])
  })

  test("keeps the essential fields, wherever they stand, if they are short", () => {
    const decoder = newDecoder()
    const long = [0x00, ...literal("x"), ...literal("v".repeat(50_000))]
    const type = (value: string) => [0x00, ...literal("content-type"), ...literal(value)]
    skim(decoder, Uint8Array.from([...long, ...type("v".repeat(300)), ...type("text/plain"), ...long]), [7000])
    assert.deepEqual(decoder.essentials, list(["content-type", "text/plain"]))
    skim(decoder, Uint8Array.from([...long, ...Array.from({ length: 50 }, () => type("a")).flat()]), [7000])
    assert.equal(decoder.essentials.length, 16)
  })

  test("is malformed if it ends within a field, or has an index that no field has", () => {
    const long = literal("v".repeat(50_000))
    for (const block of [
      [0x00],
      [0x00, ...literal("x")],
      [0x00, ...literal("x"), ...long.slice(0, -1)],
      [0x00, ...long],
      [0x00, ...long, 0x7f],
      [0xbe],
      [0x00, ...literal("x"), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ]) {
      assert.throws(() => skim(newDecoder(), Uint8Array.from(block), [1000]), HpackError)
    }
  })
})

describe("a list that is too large", () => {
  test("has its essential fields kept, before the limit and behind it", () => {
    const decoder = new Decoder({ maxListSize: 200, essential })
    const type = (value: string) => [0x40, ...literal("content-type"), ...literal(value)]
    const long = [0x00, ...literal("x"), ...literal("v".repeat(150))]
    assert.equal(decode(decoder, Uint8Array.from([...type("a"), ...long, ...type("b")])), undefined)
    assert.deepEqual(decoder.essentials, list(["content-type", "a"], ["content-type", "b"]))
    assert.equal(table(decoder).length, 2)
  })
})
