import assert from "node:assert/strict"
import { describe, test } from "node:test"
import fc from "fast-check"
import { HpackError } from "../../../src/transport/http2/hpack.ts"
import type { Decoder } from "../../../src/transport/http2/hpackDecoder.ts"
import { staticTable } from "../../../src/transport/http2/hpackStaticTable.ts"
import { assertMalformed, decode, hex, integer, list, literal, Model, newDecoder, request } from "./hpackSupport.ts"

describe("a malformed block", () => {
  test("has an index that no field has", () => {
    assertMalformed("80")
    assertMalformed("be")
    assertMalformed("ff00")
    assertMalformed("7f00 0161")
    assertMalformed("0f30 0161")
    assert.deepEqual(decode(newDecoder(), "bd"), list(["www-authenticate", ""]))
    assert.deepEqual(decode(newDecoder(), "0f2e 0161"), list(["www-authenticate", "a"]))
  })

  test("has an integer over 2^31 - 1, or one of more than 6 bytes", () => {
    // 127 + the number that the rest gives; nothing is that long, so what differs is the reason.
    const reason = (block: string): string => {
      try {
        decode(newDecoder(), block)
      } catch (error) {
        if (error instanceof HpackError) return error.message
      }
      return "none"
    }
    assert.match(reason("ff 80 ff ff ff 07"), /no field has the index 2147483647/)
    assert.match(reason("ff 81 ff ff ff 07"), /integer/)
    assert.match(reason("ff ff ff ff ff 7f"), /integer/)
    assert.match(reason("ff 80 80 80 80 80 00"), /integer/)
    assert.match(reason(`ff ${"80".repeat(100)}`), /integer/)
    assert.match(reason("00 ff ff ff ff ff ff ff 7f"), /integer/)
    // Zeros in front are no error as long as they fit.
    assert.deepEqual(decode(newDecoder(), "0f 80 80 80 80 00 01 61"), list(["accept-charset", "a"]))
  })

  test("ends too early", () => {
    for (const block of ["ff", "ff80", "40", "41", "4101", "4081", "0001", "00016101", "3f", "7f", "00ff"]) {
      assertMalformed(block)
    }
  })

  test("has a string that reaches into the bytes behind it", () => {
    const bytes = hex("41 02 61 62 63")
    assert.throws(() => newDecoder().decode(bytes, 0, 3), HpackError)
    assert.deepEqual(newDecoder().decode(bytes, 0, 4), list([":authority", "ab"]))
  })

  test("has a string that is not in the Huffman code", () => {
    for (const block of ["4181 00", "4182 1fff", "4184 ffffffff", "4181 ff"]) assertMalformed(block)
    assert.deepEqual(decode(newDecoder(), "4181 1f"), list([":authority", "a"]))
    assert.deepEqual(decode(newDecoder(), "4180"), list([":authority", ""]))
  })

  test("is the only thing that bytes can be, and is told from others as the RFC tells them", () => {
    const byte = fc.oneof(
      fc.nat(255),
      fc.constantFrom(0x82, 0xbe, 0xbf, 0xc0, 0x40, 0x41, 0x00, 0x10, 0x20, 0x30, 0x3f, 0x01, 0x02, 0x7f),
    )
    fc.assert(
      fc.property(fc.array(fc.array(byte, { maxLength: 24 }), { maxLength: 4 }), (blocks) => {
        const decoder = newDecoder()
        const model = new Model()
        for (const block of blocks) {
          const expected = attempt(() => model.decode(block, 4096))
          assert.deepEqual(
            attempt(() => decode(decoder, Uint8Array.from(block))),
            expected,
          )
          if (expected === "malformed") return
        }
      }),
      { numRuns: 20_000 },
    )
  })
})

const attempt = <A>(run: () => A): A | "malformed" => {
  try {
    return run()
  } catch (error) {
    assert.ok(error instanceof HpackError, String(error))
    return "malformed"
  }
}

describe("the dynamic table", () => {
  // Fields of 50 bytes each.
  const a = ["aaaaaaaa", "0123456789"] as const
  const b = ["bbbbbbbb", "0123456789"] as const
  const entering = (...pairs: ReadonlyArray<readonly [string, string]>): Uint8Array =>
    Uint8Array.from(pairs.flatMap(([name, value]) => [0x40, ...literal(name), ...literal(value)]))
  const sized = (size: number): Decoder => {
    const decoder = newDecoder()
    decode(decoder, Uint8Array.from(integer(0x20, 0x1f, size)))
    return decoder
  }

  test("keeps what just fits, and no byte more", () => {
    const exact = sized(100)
    decode(exact, entering(a, b))
    assert.deepEqual(decode(exact, "bebf"), list(b, a))
    const short = sized(99)
    decode(short, entering(a, b))
    assert.deepEqual(decode(short, "be"), list(b))
    assertMalformed("bf", short)
  })

  test("is emptied by a field that is larger than it, which is no error", () => {
    const decoder = sized(99)
    const large = ["c", "x".repeat(67)] as const
    assert.deepEqual(decode(decoder, entering(a, large)), list(a, large))
    assertMalformed("be", decoder)
  })

  test("can give a field its name and lose it to that field", () => {
    const decoder = sized(60)
    decode(decoder, entering(a))
    assert.deepEqual(decode(decoder, "7e 02 6162"), list(["aaaaaaaa", "ab"]))
    assert.deepEqual(decode(decoder, "be"), list(["aaaaaaaa", "ab"]))
  })

  test("loses fields when it shrinks, and none of the others when it grows again", () => {
    const decoder = newDecoder()
    decode(decoder, entering(a, b))
    assert.deepEqual(decode(decoder, Uint8Array.of(...integer(0x20, 0x1f, 50), 0xbe)), list(b))
    assert.deepEqual(decode(decoder, Uint8Array.of(...integer(0x20, 0x1f, 4096), 0xbe)), list(b))
    assertMalformed("bf", decoder)
    decode(decoder, "20")
    assertMalformed("be", decoder)
  })

  test("holds hundreds of small fields", () => {
    const decoder = newDecoder(1 << 20, 1 << 16)
    decode(decoder, Uint8Array.from(integer(0x20, 0x1f, 1 << 16)))
    const fields = list(...Array.from({ length: 1500 }, (_, i): [string, string] => ["n", String(i)]))
    const block = fields.flatMap(({ name, value }) => [0x40, ...literal(name), ...literal(value)])
    assert.deepEqual(decode(decoder, Uint8Array.from(block)), fields)
    const indexes = fields.flatMap((_, i) => integer(0x80, 0x7f, 62 + i))
    assert.deepEqual(decode(decoder, Uint8Array.from(indexes)), fields.toReversed())
  })

  test("changes its size at a block's start only, at most twice, and within the limit", () => {
    assert.deepEqual(decode(newDecoder(), "20 3fe11f 82"), list(request))
    assertMalformed("20 20 20")
    assertMalformed("82 20")
    assertMalformed("3fe21f")
    assertMalformed("2a", newDecoder(0, 9))
  })
})

describe("a list over the limit", () => {
  test("is counted with 32 bytes a field", () => {
    assert.deepEqual(decode(newDecoder(42 + 43), "8286"), list(request, [":scheme", "http"]))
    assert.equal(decode(newDecoder(42 + 42), "8286"), undefined)
    assert.deepEqual(decode(newDecoder(0), ""), [])
  })

  test("is undefined, and the next ones are decoded with the table it gives", () => {
    const decoder = newDecoder(100)
    const over = [...literal("a"), ...literal("1".repeat(60)), 0x82, 0x40, ...literal("b"), ...literal("2")]
    assert.equal(decode(decoder, Uint8Array.of(0x40, ...over)), undefined)
    assert.deepEqual(decode(decoder, "be"), list(["b", "2"]))
    assert.deepEqual(decode(decoder, "bf"), list(["a", "1".repeat(60)]))
    assert.equal(decode(decoder, "bebf"), undefined)
    assert.equal(decode(decoder, "bebf"), undefined)
  })

  test("is read to its end: what is malformed there is still an error", () => {
    assertMalformed("8282 80", newDecoder(50))
  })

  test("can't be made to take memory by many indexes of one large field", () => {
    const decoder = newDecoder(16384)
    decode(decoder, Uint8Array.from([0x40, ...literal("n"), ...literal("v".repeat(3000))]))
    let stored = 0
    const { push } = Array.prototype
    Array.prototype.push = function (...items: ReadonlyArray<unknown>) {
      stored += items.length
      return push.apply(this, [...items])
    }
    try {
      assert.equal(decoder.decode(new Uint8Array(100_000).fill(0xbe), 0, 100_000), undefined)
    } finally {
      Array.prototype.push = push
    }
    assert.equal(stored, 5)
    assert.equal(decode(decoder, "bebebebebe")?.length, 5)
    assert.equal(decode(decoder, "bebebebebebe"), undefined)
  })
})

describe("what the decoder remembers", () => {
  test("an equal block gives the same array, until its fields move", () => {
    const decoder = newDecoder()
    decode(decoder, "4001610131")
    const times = [1, 2, 3, 4].map(() => decode(decoder, "82be"))
    for (const fields of times) assert.deepEqual(fields, list(request, ["a", "1"]))
    assert.equal(times[3], times[2])
    decode(decoder, "4001620132")
    for (let again = 0; again < 4; again++) assert.deepEqual(decode(decoder, "82be"), list(request, ["b", "2"]))
    decode(decoder, "20")
    assertMalformed("82be", decoder)
  })

  test("blocks of one length don't take each other's place, however many there are", () => {
    const decoder = newDecoder()
    for (let round = 0; round < 5; round++) {
      for (let index = 1; index <= 61; index++) {
        assert.deepEqual(decode(decoder, Uint8Array.of(0x82, 0x80 | index)), [staticTable[2], staticTable[index]])
      }
    }
  })

  test("blocks of one hash are told apart", () => {
    const decoder = newDecoder()
    for (let round = 0; round < 4; round++) {
      assert.deepEqual(decode(decoder, "82a8"), [staticTable[2], staticTable[40]])
      assert.deepEqual(decode(decoder, "8389"), [staticTable[3], staticTable[9]])
    }
  })
})
