import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf"
import fc from "fast-check"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { PiRequestSchema } from "../../../src/transport/gen/pi_pb.ts"
import { defaultScanLimits, readBinary, scanLimits } from "../../../src/transport/protobuf/read.ts"
import { type ScanLimits, scanned } from "../../../src/transport/protobuf/scan.ts"
import { shapeOf } from "../../../src/transport/protobuf/shape.ts"
import { holderDesc, nodeDesc } from "./types.ts"

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex.replaceAll(" ", ""), "hex"))
const repeat = (hex: string, count: number) => new Uint8Array(Buffer.alloc((hex.length / 2) * count, hex, "hex"))
const read = (desc: DescMessage, hex: string, limits: ScanLimits = defaultScanLimits) =>
  readBinary(desc, bytes(hex), limits)
const get = (message: object, name: string): unknown => Reflect.get(message, name)
const none = new Uint8Array(0)
const few = { numRuns: 50 }

const over = (error: unknown) => error instanceof RpcError && error.code === "resource_exhausted"

/** Messages of a type with fields of every kind, so many deep. */
const node = (depth: number): fc.Arbitrary<Record<string, unknown>> =>
  fc.record(
    {
      number: fc.integer(),
      text: fc.string({ unit: "binary" }).map((text) => text.toWellFormed()),
      bytes: fc.uint8Array(),
      real: fc.double(),
      long: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      flag: fc.boolean(),
      fixed: fc.nat(),
      numbers: fc.array(fc.integer()),
      longs: fc.array(fc.bigInt({ min: 0n, max: 2n ** 40n })),
      reals: fc.array(fc.double()),
      texts: fc.array(fc.string()),
      blobs: fc.array(fc.uint8Array()),
      floats: fc.array(fc.float()),
      flags: fc.array(fc.boolean()),
      counts: fc.dictionary(fc.string(), fc.integer()),
      ...(depth === 0
        ? {}
        : {
            child: node(depth - 1),
            nodes: fc.array(node(depth - 1), { maxLength: 2 }),
            named: fc.dictionary(fc.string(), node(depth - 1), { maxKeys: 2 }),
            one: fc.record({ case: fc.constant("oneNode"), value: node(depth - 1) }),
          }),
    },
    { requiredKeys: [] },
  )

// Fields that the type doesn't have, and fields of other wire types than it has them with.
const foreign = [
  "f80701",
  "fa0703010203",
  "f90700000000000000ff",
  "fd07000000ff",
  "fb07fb07fc07fc07",
  "0a00",
  "0b0c",
  "0d00000000",
  "1001",
  "4b4c",
  "4801",
  "5001",
  "8001 05",
]

const concat = (...parts: ReadonlyArray<Uint8Array>) => new Uint8Array(Buffer.concat(parts))

/** The bytes of a message in a field `nodes`. */
const asNode = (message: Uint8Array): Uint8Array => {
  const head = [0x52]
  for (let left = message.length; left > 0x7f || head.push(left) === 0; left >>>= 7) head.push((left & 0x7f) | 0x80)
  return concat(Uint8Array.from(head), message)
}

describe("a scan", () => {
  test("leaves every message alone that has only what its type has", () => {
    fc.assert(
      fc.property(node(2), (init) => {
        const encoded = toBinary(nodeDesc, create(nodeDesc, init))
        assert.equal(scanned(shapeOf(nodeDesc), encoded, defaultScanLimits), encoded)
        assert.deepEqual(readBinary(nodeDesc, encoded), fromBinary(nodeDesc, encoded))
      }),
      few,
    )
  })

  test("cuts out what the type doesn't have, at any depth, and leaves the rest as it was", () => {
    const salt = fc.array(fc.constantFrom(...foreign), { maxLength: 4 }).map((all) => bytes(all.join("")))
    fc.assert(
      fc.property(node(1), node(1), salt, salt, (outer, inner, first, second) => {
        const encoded = [outer, inner].map((init) => toBinary(nodeDesc, create(nodeDesc, init)))
        const [whole = none, child = none] = encoded
        const salted = concat(first, whole, second, asNode(concat(second, child, first)), first)
        assert.deepEqual(readBinary(nodeDesc, salted), fromBinary(nodeDesc, concat(whole, asNode(child))))
      }),
      few,
    )
  })

  test("takes a field of another wire type than its declaration for unknown", () => {
    // A group, a fixed64, a fixed32 and bytes under the number of an int32.
    for (const hex of ["0b0c", "0900000000000000ff", "0d000000ff", "0a0107"]) {
      assert.deepEqual(read(PiRequestSchema, hex), create(PiRequestSchema))
      assert.deepEqual(read(PiRequestSchema, `${hex}0805`), create(PiRequestSchema, { n: 5 }))
    }
    assert.throws(() => read(PiRequestSchema, "0b0b"))
    // A list is read packed and unpacked; a text isn't.
    assert.deepEqual(get(read(nodeDesc, "5801 5a020203"), "numbers"), [1, 2, 3])
    assert.equal(get(read(nodeDesc, "1001"), "text"), "")
    // A key and a value of an entry, of other types than the map has.
    assert.deepEqual(get(read(nodeDesc, "82010a 0a0161 1203010203 1007"), "counts"), { a: 7 })
  })

  test("refuses what is malformed where protobuf-es would read on", () => {
    const wrong = [
      // A message, a packed list and a text over the end of the message that they are in.
      "4a03080a05",
      "4a020a05 0000",
      "4a0108 05",
      "5a0180 01",
      "6a07 00000000000000",
      // A group that ends another, one that has no end, and an end without a group.
      "4b54",
      "fb07",
      "fc07",
      // The number 0, a wire type that isn't there, a tag and a number that are too long.
      "0000",
      "0e00",
      "888080808000 01",
      "08ffffffffffffffffffffff01",
    ]
    for (const hex of wrong) assert.throws(() => read(nodeDesc, hex), hex)
  })

  test("refuses messages and groups that lie too deep in each other", () => {
    const nested = (depth: number) => {
      let message: Record<string, unknown> = { number: 1 }
      for (let i = 1; i < depth; i++) message = { child: message }
      return toBinary(nodeDesc, create(nodeDesc, message))
    }
    assert.equal(readBinary(nodeDesc, nested(100)).$typeName, "kinds.Node")
    assert.throws(() => readBinary(nodeDesc, nested(101)), /deeper/)
    assert.throws(() => readBinary(nodeDesc, repeat("fb07", 1_000_000)), /deeper/)
    assert.throws(
      () => readBinary(nodeDesc, new Uint8Array([...repeat("fb07", 150), ...repeat("fc07", 150)])),
      /deeper/,
    )
  })

  test("never ends otherwise than in bytes that can be decoded, or an error", () => {
    const wild = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.tuple(node(2), fc.nat(), fc.nat(255)).map(([init, at, byte]) => {
        const encoded = toBinary(nodeDesc, create(nodeDesc, init))
        if (encoded.length > 0) encoded[at % encoded.length] = byte
        return encoded
      }),
    )
    fc.assert(
      fc.property(wild, (input) => {
        let clean: Uint8Array
        try {
          clean = scanned(shapeOf(nodeDesc), input, defaultScanLimits)
        } catch (error) {
          assert.ok(error instanceof Error)
          return
        }
        assert.equal(scanned(shapeOf(nodeDesc), clean, defaultScanLimits), clean)
      }),
      { numRuns: 300 },
    )
  })

  test("keeps extensions, and where it is asked to all that is unknown", () => {
    const extension = "a2060161"
    assert.equal(read(holderDesc, `${extension} c80c01`).$unknown?.length, 1)
    const keeping = scanLimits({ keepUnknownFields: true })
    assert.equal(read(PiRequestSchema, "0805 7801 0a00", keeping).$unknown?.length, 1)
    assert.equal(read(PiRequestSchema, "0805 7801").$unknown, undefined)
    assert.deepEqual(
      get(read(holderDesc, "0b0805 7801 0c"), "group"),
      get(fromBinary(holderDesc, bytes("0b08050c")), "group"),
    )
  })

  test("bounds the memory that a message may take, whatever it consists of", () => {
    const MiB = 1024 * 1024
    // 4 MiB each: empty messages, texts, bytes, entries, long packed numbers, ones over each other, and all in a message.
    for (const hex of ["5200", "7200", "7a00", "820100", "8a0100", "0801", "4a00"]) {
      assert.throws(() => readBinary(nodeDesc, repeat(hex, Math.floor((8 * MiB) / hex.length))), over, hex)
    }
    const packed = new Uint8Array([0x62, 0x80, 0x80, 0x80, 0x02, ...new Uint8Array(4 * MiB)])
    assert.throws(() => readBinary(nodeDesc, packed), over)
    assert.throws(() => readBinary(holderDesc, repeat("1005", 2 * MiB)), over)
    assert.throws(() => readBinary(holderDesc, repeat("a20600", MiB)), over)
    assert.throws(() => readBinary(PiRequestSchema, repeat("7801", MiB), scanLimits({ keepUnknownFields: true })), over)
    // What is left out takes nothing, and a long text takes what it is.
    assert.deepEqual(readBinary(PiRequestSchema, repeat("7801", 2 * MiB)), create(PiRequestSchema))
    const text = "x".repeat(4 * MiB - 10)
    assert.equal(get(readBinary(nodeDesc, toBinary(nodeDesc, create(nodeDesc, { text }))), "text"), text)
    const numbers = Array(MiB).fill(1)
    assert.deepEqual(get(readBinary(nodeDesc, toBinary(nodeDesc, create(nodeDesc, { numbers }))), "numbers"), numbers)
    assert.throws(() => readBinary(nodeDesc, repeat("5200", 1000), scanLimits({ maxMessageMemory: 100_000 })), over)
  })
})
