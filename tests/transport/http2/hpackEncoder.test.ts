import assert from "node:assert/strict"
import { describe, test } from "node:test"
import type { Field } from "../../../src/transport/http2/hpack.ts"
import { Encoder } from "../../../src/transport/http2/hpackEncoder.ts"
import { decode, encode, encodeHex, frozen, list, newDecoder, request } from "./hpackSupport.ts"

describe("the encoder", () => {
  test("announces a smaller table at the next block, once", () => {
    const encoder = new Encoder()
    encoder.setMaxTableSize(0)
    assert.equal(encodeHex(encoder, list(request)), "2082")
    assert.equal(encodeHex(encoder, list(request)), "82")
  })

  test("announces the smallest of several sizes, then the last", () => {
    const encoder = new Encoder()
    for (const size of [100, 50, 60, 1337]) encoder.setMaxTableSize(size)
    assert.equal(encodeHex(encoder, []), "3f133f9a0a")
    for (const size of [2000, 1337]) encoder.setMaxTableSize(size)
    assert.equal(encodeHex(encoder, []), "")
    for (const size of [0, 1337]) encoder.setMaxTableSize(size)
    assert.equal(encodeHex(encoder, []), "203f9a0a")
  })

  test("uses no more than it wants of what the peer allows", () => {
    const encoder = new Encoder()
    encoder.setMaxTableSize(2 ** 32 - 1)
    assert.equal(encodeHex(encoder, []), "")
    const small = new Encoder(10)
    assert.equal(encodeHex(small, []), "2a")
    small.setMaxTableSize(4096)
    assert.equal(encodeHex(small, []), "")
    const large = new Encoder(8192)
    assert.equal(encodeHex(large, []), "")
    large.setMaxTableSize(5000)
    assert.equal(encodeHex(large, []), "3fe926")
  })

  test("lets a field enter the table when it comes again, and at once if its list is frozen", () => {
    const path = list([":path", "/a"])
    const encoder = new Encoder()
    assert.deepEqual(
      [1, 2, 3].map(() => encode(encoder, path)[0]),
      [0x04, 0x44, 0xbe],
    )
    const eager = new Encoder()
    assert.deepEqual(
      [1, 2].map(() => encode(eager, frozen([":path", "/a"]))[0]),
      [0x44, 0xbe],
    )
    assert.equal(encode(new Encoder(), list(["new-name", "/a"]))[0], 0x40)
  })

  test("finds each value of a name in the table, also when older ones have left", () => {
    const encoder = new Encoder()
    encoder.setMaxTableSize(200)
    const first = (value: number) => encode(encoder, frozen(["name", String(value)])).at(-1)
    for (let value = 1; value <= 5; value++) first(value)
    assert.deepEqual([5, 4, 3, 2].map(first), [0xbe, 0xbf, 0xc0, 0xc1])
    // Five fields of 37 bytes fit, a sixth takes the place of the first.
    first(6)
    assert.deepEqual([6, 5, 4, 3, 2].map(first), [0xbe, 0xbf, 0xc0, 0xc1, 0xc2])
    assert.notEqual(first(1), 0xc3)
  })

  test("takes a name from the static table rather than from the other", () => {
    const encoder = new Encoder()
    encode(encoder, frozen([":path", "/a"]))
    assert.equal(encode(encoder, list([":path", "/b"]))[0], 0x04)
  })

  test("keeps fields out of the table that change, but not their names", () => {
    const encoder = new Encoder()
    const timeout = (value: string) => encode(encoder, list(["grpc-timeout", value]))
    assert.equal(timeout("1S")[0], 0x40)
    for (const value of ["2S", "2S", "2S"]) assert.deepEqual([...timeout(value)].slice(0, 2), [0x0f, 62 - 15])
    assert.equal(timeout("1S")[0], 0xbe)
  })

  test("keeps fields out of the table that would take more than a quarter of it", () => {
    const encoder = new Encoder()
    const field = (length: number) => encode(encoder, frozen(["n", "x".repeat(length - 33)]))[0]
    assert.deepEqual([field(1025), field(1025), field(1024), field(1024)], [0x00, 0x00, 0x40, 0xbe])
  })

  test("never lets a sensitive field enter, whatever is in the table", () => {
    const encoder = new Encoder()
    const decoder = newDecoder()
    const open = frozen(["authorization", "x"], ["token", "y"], [":method", "GET"])
    const closed = Object.freeze(open.map((field) => ({ ...field, sensitive: true })))
    for (let again = 0; again < 3; again++) {
      assert.deepEqual(decode(decoder, encode(encoder, closed)), closed)
      assert.deepEqual(decode(decoder, encode(encoder, [...closed])), closed)
    }
    decode(decoder, encode(encoder, open))
    const block = encode(encoder, closed)
    assert.equal(block[0], 0x1f)
    for (const field of closed) assert.equal((encode(encoder, [field])[0] ?? 0) & 0xf0, 0x10)
    assert.deepEqual(decode(decoder, block), closed)
    assert.deepEqual(decode(decoder, encode(encoder, open)), open)
  })

  test("sends Huffman only where that is shorter", () => {
    const encoder = new Encoder(0)
    encode(encoder, [])
    assert.equal(encodeHex(encoder, list([":path", "aa"])), "04026161")
    assert.equal(encodeHex(encoder, list([":path", "aaaa"])), "048318c63f")
    assert.equal(encodeHex(encoder, list([":path", "\n\n"])), "04020a0a")
  })

  test("sends a character that is no byte as a question mark, in step with its table", () => {
    const encoder = new Encoder()
    const decoder = newDecoder()
    for (const name of ["x-a", "x-\u010a"]) {
      const fields = frozen([name, "\u010a\u{1f600}~~~~"])
      const sent = list([name.replace("\u010a", "?"), "???~~~~"])
      for (let again = 0; again < 3; again++) assert.deepEqual(decode(decoder, encode(encoder, fields)), sent)
    }
  })
})

describe("what the encoder remembers", () => {
  test("a frozen list gives the same bytes, until its fields move", () => {
    const encoder = new Encoder()
    const decoder = newDecoder()
    const head = frozen([":status", "200"], ["content-type", "application/grpc"])
    const first = [1, 2, 3].map(() => encodeHex(encoder, head))
    assert.deepEqual(first.slice(1), ["88be", "88be"])
    encode(encoder, frozen(["a", "1"]))
    assert.deepEqual(
      [1, 2, 3].map(() => encodeHex(encoder, head)),
      ["88bf", "88bf", "88bf"],
    )
    encoder.setMaxTableSize(0)
    decode(decoder, "20")
    for (let again = 0; again < 3; again++) assert.deepEqual(decode(decoder, encode(encoder, head)), head)
  })

  // What no caller may do, a change of a frozen list's field, shows whether its block is made anew.
  const remembers = (
    encoder: Encoder,
    field: { name: string; value: string },
    fields: ReadonlyArray<Field>,
  ): boolean => {
    const before = encodeHex(encoder, fields)
    const { value } = field
    field.value = "changed"
    const after = encodeHex(encoder, fields)
    field.value = value
    return before === after
  }

  test("a frozen list is remembered, however many there are", () => {
    const encoder = new Encoder()
    for (let i = 0; i < 20; i++) {
      const field = { name: "n", value: `${i}` }
      const fields = Object.freeze([field])
      encode(encoder, fields)
      assert.ok(remembers(encoder, field, fields))
    }
  })

  test("a frozen list is remembered again after its fields have moved", () => {
    const encoder = new Encoder()
    const field = { name: "n", value: "1" }
    const fields = Object.freeze([field])
    encode(encoder, fields)
    for (let i = 0; i < 20; i++) {
      encode(encoder, frozen(["other", `${i}`]))
      assert.ok(remembers(encoder, field, fields))
    }
  })

  test("a list that is not frozen may change between two blocks", () => {
    const encoder = new Encoder()
    const decoder = newDecoder()
    const fields = [{ name: "a", value: "1" }]
    for (let i = 0; i < 8; i++) {
      fields.push({ name: "b", value: String(i % 3) })
      assert.deepEqual(decode(decoder, encode(encoder, fields)), fields)
    }
  })
})
