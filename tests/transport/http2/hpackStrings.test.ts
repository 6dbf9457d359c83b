import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { Encoder } from "../../../src/transport/http2/hpackEncoder.ts"
import { decode, encode, list, literal, newDecoder } from "./hpackSupport.ts"

describe("strings", () => {
  const bytesOfAll = String.fromCharCode(...Array(256).keys())

  test("are any bytes, of any length, whether they were seen before or not", () => {
    const decoder = newDecoder()
    const encoder = new Encoder()
    for (const length of [0, 1, 8, 31, 32, 33, 63, 64, 65, 127, 128, 1023, 1024, 1025, 2048, 5000]) {
      for (const text of ["a".repeat(length), bytesOfAll.repeat(20).slice(0, length), `${"b".repeat(length)}\x80`]) {
        const fields = list(["x", text], [text, "y"])
        for (let again = 0; again < 2; again++) {
          const plain = fields.flatMap(({ name, value }) => [0x00, ...literal(name), ...literal(value)])
          assert.deepEqual(decode(decoder, Uint8Array.from(plain)), fields)
          assert.deepEqual(decode(decoder, encode(encoder, fields)), fields)
        }
      }
    }
  })

  test("that differ in one byte only are told apart", () => {
    const decoder = newDecoder()
    for (const [at, other] of [
      [0, "b"],
      [10, "b"],
      [20, "b"],
    ] as const) {
      const text = "a".repeat(21)
      const changed = text.slice(0, at) + other + text.slice(at + 1)
      for (const value of [text, changed, text, changed]) {
        assert.deepEqual(decode(decoder, Uint8Array.from([0x01, ...literal(value)])), list([":authority", value]))
      }
    }
  })
})
