/**
 * What the tests of HPACK share: short ways to say lists and blocks, and a decoder to compare with.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { type Field, HpackError } from "../../../src/transport/http2/hpack.ts"
import { Decoder } from "../../../src/transport/http2/hpackDecoder.ts"
import { Encoder } from "../../../src/transport/http2/hpackEncoder.ts"
import { staticTable } from "../../../src/transport/http2/hpackStaticTable.ts"
import { huffmanDecode, huffmanRoom } from "../../../src/transport/http2/huffman.ts"

export const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(/\s/g, ""), "hex")

export const list = (...pairs: ReadonlyArray<readonly [string, string]>): ReadonlyArray<Field> =>
  pairs.map(([name, value]) => ({ name, value }))

export const frozen = (...pairs: ReadonlyArray<readonly [string, string]>): ReadonlyArray<Field> =>
  Object.freeze(list(...pairs))

export const request = [":method", "GET"] as const

export const newDecoder = (maxListSize = 1 << 20, maxTableSize = 4096): Decoder =>
  new Decoder({ maxListSize, maxTableSize })

/** Decodes a block out of the middle of a buffer, which must not matter. */
export const decode = (decoder: Decoder, block: Uint8Array | string) => {
  const bytes = typeof block === "string" ? hex(block) : block
  return decoder.decode(Uint8Array.of(0x82, 0xbe, ...bytes, 0x00, 0xff), 2, 2 + bytes.length)
}

export const encode = (encoder: Encoder, fields: ReadonlyArray<Field>): Uint8Array => {
  const bound = Encoder.bound(fields)
  const out = new Uint8Array(bound + 6).fill(0xaa)
  const end = encoder.encode(fields, out, 3)
  assert.ok(end - 3 <= bound, `${end - 3} bytes are over the bound ${bound}`)
  assert.deepEqual([...out.subarray(0, 3), ...out.subarray(end)], Array(out.length - end + 3).fill(0xaa))
  return out.slice(3, end)
}

export const encodeHex = (encoder: Encoder, fields: ReadonlyArray<Field>): string =>
  Buffer.from(encode(encoder, fields)).toString("hex")

export const assertMalformed = (block: string, decoder = newDecoder()) =>
  assert.throws(() => decode(decoder, block), HpackError, block)

/** The block of a string literal without Huffman. */
export const literal = (text: string): ReadonlyArray<number> => [
  ...integer(0, 0x7f, text.length),
  ...Buffer.from(text, "latin1"),
]

export const integer = (bits: number, mask: number, value: number): ReadonlyArray<number> => {
  if (value < mask) return [bits | value]
  const bytes = [bits | mask]
  let left = value - mask
  for (; left >= 128; left = Math.floor(left / 128)) bytes.push(0x80 | (left & 0x7f))
  return [...bytes, left]
}

/** An independent decoder, as simple as the RFC's text: a list for the table, and nothing remembered. */
export class Model {
  table: Array<Field> = []
  maxSize = 4096

  decode(bytes: ReadonlyArray<number>, maxTableSize: number): ReadonlyArray<Field> {
    const left = [...bytes]
    const fail = (): never => {
      throw new HpackError("model")
    }
    const next = (): number => left.shift() ?? fail()
    const int = (first: number, mask: number): number => {
      let value = first & mask
      if (value < mask) return value
      for (let i = 0; i < 5; i++) {
        const byte = next()
        value += (byte & 127) * 128 ** i
        if (byte < 128) return value < 2 ** 31 ? value : fail()
      }
      return fail()
    }
    const string = (): string => {
      const first = next()
      const length = int(first, 127)
      if (length > left.length) fail()
      const raw = Uint8Array.from(left.splice(0, length))
      if (first < 128) return Buffer.from(raw).toString("latin1")
      const out = new Uint8Array(huffmanRoom(length))
      const decoded = huffmanDecode(raw, 0, length, out)
      return decoded < 0 ? fail() : Buffer.from(out.subarray(0, decoded)).toString("latin1")
    }
    const at = (index: number): Field => [...staticTable, ...this.table][index] ?? fail()
    const literal = (index: number) => ({ name: index === 0 ? string() : at(index).name, value: string() })
    const fields: Array<Field> = []
    let updates = 0
    while (left.length > 0) {
      const first = next()
      if (first >= 128) fields.push(at(int(first, 127)))
      else if (first >= 64) {
        const field = literal(int(first, 63))
        this.table.unshift(field)
        this.evict()
        fields.push(field)
      } else if (first >= 32) {
        if (fields.length > 0 || ++updates > 2) fail()
        this.maxSize = int(first, 31)
        if (this.maxSize > maxTableSize) fail()
        this.evict()
      } else if (first >= 16) fields.push({ ...literal(int(first, 15)), sensitive: true })
      else fields.push(literal(int(first, 15)))
    }
    return fields
  }

  private evict(): void {
    const size = () => this.table.reduce((sum, { name, value }) => sum + name.length + value.length + 32, 0)
    while (size() > this.maxSize) this.table.pop()
  }
}
