import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import fc from "fast-check"
import { huffmanDecode, huffmanEncode, huffmanLength, huffmanRoom } from "../../../src/transport/http2/huffman.ts"

const encode = (text: string): Uint8Array => {
  const out = new Uint8Array(huffmanLength(text))
  assert.equal(huffmanEncode(text, out, 0), out.length)
  return out
}

const decode = (bytes: Uint8Array): string | undefined => {
  const out = new Uint8Array(huffmanRoom(bytes.length))
  const length = huffmanDecode(bytes, 0, bytes.length, out)
  return length < 0 ? undefined : String.fromCharCode(...out.subarray(0, length))
}

const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex")
const fromHex = (hex: string): Uint8Array => Buffer.from(hex, "hex")
const toBits = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(2).padStart(8, "0")).join("")
const fromBits = (bits: string): Uint8Array => Uint8Array.from(bits.match(/.{8}/g) ?? [], (byte) => parseInt(byte, 2))

const eos = "1".repeat(30)

const latin1 = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map((unit) => String.fromCharCode(unit)) })

// All bytes from 0 to 255 in the code of appendix B, as python-hyper/hpack 4.1.0 encodes them.
const allBytes =
  "ffc7fffd8fffffe2fffffe3fffffe4fffffe5fffffe6fffffe7fffffe8ffffeafffffff3fffffa7fffffabffffffdfffffebfffffecf" +
  "ffffedfffffeefffffefffffff0ffffff1ffffff2fffffffbfffffcffffffd3fffffd7fffffdbfffffdffffffe3fffffe7fffffebfff" +
  "ffed4fe3f9ffaffcabf1febfafefe7fdfd2cbb00089969b71d79fb9f7fff20ffbff3ff50ddbd7f061c58f265cd9f469d5af66dddbf87" +
  "1e5f9cff7ff7fffc3ff9ffe45fff4719242cb34e6e9d68a6a3d7dac426defe3cfaf7fffbfe7ffbffdffffffcfffe6ffff4bfff9ffffa" +
  "3fffd3ffff53fffd5ffffb3fffeb7fffdaffffb7ffff73fffeeffffdeffffebffffbfffffd9ffffdbfffebffffe0ffffeeffffc3ffff" +
  "8bffff1ffffe4fffee7fffb1ffff97fffd9ffffcdffff9fffffbffffdafffeeffff4ffffb7fffee7fffe8ffffd3fffdeffffd5fffeef" +
  "fffbdffffe1fffdfffff7fffff5ffffecffff07fff87fffe0ffff17fffedffff87ffff77fffeffffeaffff8bfffe3ffff93ffff87fff" +
  "cbffff37ffff1fffff83ffffe1fffebfffe3ffff3fffff2ffffa3ffffd9fffff17ffffc7fffff27ffffdefffffbffffff2fffff8ffff" +
  "fb7fff97fff8fffffe6fffffc1fffff87ffffe7fffffc5ffffe5fffe4ffff2fffffd1fffff4ffffffefffffe3fffffc9fffff97fffb3" +
  "ffffcffffb7fffcdffff4ffff9ffffd1ffffcffffeaffffafffffddffffeffffff4fffff5fffffabffffa7ffffd7fffff9bffffecfff" +
  "ffb7fffff3fffffe8fffffd3fffffabfffff5fffffff7ffffecfffffdbfffffbbfffff7ffffff0fffffbbf"

const everyByte = String.fromCharCode(...Array(256).keys())

describe("the Huffman code", () => {
  test("is that of appendix B for every byte", () => {
    assert.equal(toHex(encode(everyByte)), allBytes)
    assert.equal(decode(fromHex(allBytes)), everyByte)
  })

  test("gives the strings of appendix C", () => {
    const strings = {
      "www.example.com": "f1e3c2e5f23a6ba0ab90f4ff",
      "no-cache": "a8eb10649cbf",
      "custom-value": "25a849e95bb8e8b4bf",
      "Mon, 21 Oct 2013 20:13:21 GMT": "d07abe941054d444a8200595040b8166e082a62d1bff",
      "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1":
        "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    }
    for (const [text, hex] of Object.entries(strings)) {
      assert.equal(toHex(encode(text)), hex)
      assert.equal(decode(fromHex(hex)), text)
    }
  })

  test("takes back any bytes it gave, anywhere in a buffer", () => {
    fc.assert(
      fc.property(latin1, fc.nat(9), (text, offset) => {
        const length = huffmanLength(text)
        const buffer = new Uint8Array(offset + length + 3).fill(0xaa)
        assert.equal(huffmanEncode(text, buffer, offset), offset + length)
        assert.ok(buffer.subarray(0, offset).every((byte) => byte === 0xaa))
        assert.ok(buffer.subarray(offset + length).every((byte) => byte === 0xaa))
        const out = new Uint8Array(huffmanRoom(length))
        assert.equal(huffmanDecode(buffer, offset, offset + length, out), text.length)
        assert.equal(String.fromCharCode(...out.subarray(0, text.length)), text)
      }),
      { numRuns: 2000 },
    )
  })

  test("sends a character that is no byte as a question mark", () => {
    assert.equal(decode(encode("a\u010ab\u{1f600}")), "a?b??")
  })
})

describe("a Huffman string is refused", () => {
  test("with EOS in it", () => {
    const a = "00011"
    for (const bits of [eos, a + eos, eos + a, a.repeat(3) + eos + a]) {
      const padded = bits + "1".repeat((8 - (bits.length % 8)) % 8)
      assert.equal(decode(fromBits(padded)), undefined, bits)
    }
  })

  test("with more than 7 bits of padding", () => {
    fc.assert(
      fc.property(latin1, fc.integer({ min: 1, max: 5 }), (text, extra) => {
        assert.equal(decode(Uint8Array.of(...encode(text), ...Array(extra).fill(0xff))), undefined)
      }),
    )
  })

  test("with a 0 in its padding", () => {
    // "0" is 00000, and so short that no 3 bits behind it can be another byte.
    assert.equal(decode(Uint8Array.of(0b00000_111)), "0")
    for (let padding = 0; padding < 7; padding++) assert.equal(decode(Uint8Array.of(padding)), undefined)
  })

  test("where it ends within a code", () => {
    const whole = encode(everyByte)
    for (let length = 0; length < whole.length; length++) {
      const decoded = decode(whole.subarray(0, length))
      if (decoded !== undefined) assert.ok(everyByte.startsWith(decoded), `${length} bytes`)
    }
    // A code of 30 bits, cut after each of its bytes.
    const newline = encode("\n")
    for (let length = 1; length < newline.length; length++) assert.equal(decode(newline.subarray(0, length)), undefined)
  })

  test("exactly when reading it bit by bit says so", () => {
    const codes = codesOf(toBits(fromHex(allBytes)))
    // Rare codes, EOS and padding are ones for the most part.
    const byte = fc.oneof(fc.nat(255), fc.constantFrom(0xff, 0xfe, 0x7f))
    fc.assert(
      fc.property(fc.array(byte, { maxLength: 12 }), (array) => {
        const bytes = Uint8Array.from(array)
        assert.equal(decode(bytes), readBits(codes, bytes))
      }),
      { numRuns: 20_000 },
    )
  })
})

/** The codes of all bytes, cut out of the bits of appendix B. */
const codesOf = (bits: string): ReadonlyMap<string, string> => {
  const codes = new Map<string, string>()
  let at = 0
  for (const char of everyByte) {
    // Eight of them take as many bytes as one takes bits.
    const length = huffmanLength(char.repeat(8))
    codes.set(bits.slice(at, at + length), char)
    at += length
  }
  assert.ok(bits.length - at < 8)
  return codes
}

const readBits = (codes: ReadonlyMap<string, string>, bytes: Uint8Array): string | undefined => {
  let text = ""
  let code = ""
  for (const bit of toBits(bytes)) {
    code += bit
    if (code === eos) return undefined
    const char = codes.get(code)
    if (char === undefined) continue
    text += char
    code = ""
  }
  return /^1{0,7}$/.test(code) ? text : undefined
}
