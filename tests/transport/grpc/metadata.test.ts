import assert from "node:assert/strict"
import { describe, test } from "node:test"
import fc from "fast-check"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import { mostValues } from "../../../src/transport/binary.ts"
import { fromFields, toFields } from "../../../src/transport/grpc/metadata.ts"

const one = (value: string, name = "x-bin") =>
  fromFields([{ name, value }]).map(([, bytes]) => (typeof bytes === "string" ? bytes : [...bytes]))

describe("metadata", () => {
  test("comes back as it was sent: text, bytes, repeated keys and their order", () => {
    const text = fc.tuple(
      fc.constantFrom("a", "b", "x-text"),
      fc.stringMatching(/^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/),
    )
    const bytes = fc.tuple(fc.constantFrom("a-bin", "x-bin"), fc.uint8Array())
    fc.assert(
      fc.property(fc.array(fc.oneof(text, bytes)), (entries) => {
        const metadata = Metadata.of(entries)
        const fields = toFields(metadata)
        for (const { value } of fields) assert.match(value, /^[\x20-\x7e]*$/)
        const plain = (all: Metadata.Metadata) =>
          all.map(([key, value]) => [key, typeof value === "string" ? value : [...value]])
        assert.deepEqual(plain(fromFields(fields)), plain(metadata))
      }),
    )
  })

  test("has bytes with padding or without, and joined with commas", () => {
    assert.deepEqual(one("AQI"), [[1, 2]])
    assert.deepEqual(one("AQI="), [[1, 2]])
    assert.deepEqual(one("AQ=="), [[1]])
    assert.deepEqual(one(""), [[]])
    assert.deepEqual(one("AQI=,AQ, AQID"), [[1, 2], [1], [1, 2, 3]])
    assert.deepEqual(one("+/+/"), [[0xfb, 0xff, 0xbf]])
    assert.deepEqual(one("a, b", "x-text"), ["a, b"])
  })

  test("leaves out what is no base64", () => {
    for (const bad of ["A", "AQI==", "AQ=", "=", "A=Q=", "AQ I", "-_-_", "é", "AQIDA"]) {
      assert.deepEqual(one(bad), [], JSON.stringify(bad))
    }
  })

  test("has no more bytes than a head should say, however many commas it has, and all text", () => {
    const many = { name: "x-bin", value: "AA,".repeat(1200) }
    const text = Array.from({ length: 400 }, () => ({ name: "x", value: "text" }))
    const metadata = fromFields([...text, many, many, { name: "y-bin", value: "AA" }])
    assert.deepEqual([Metadata.getAll(metadata, "x").length, metadata.length], [400, 400 + mostValues])
  })

  test("has nothing of what belongs to the protocol", () => {
    const fields = ["content-type", "te", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "x-own"]
    assert.deepEqual(
      fromFields(fields.map((name) => ({ name, value: "v" }))).map(([name]) => name),
      ["x-own"],
    )
    assert.equal(fromFields([]), Metadata.empty)
  })
})
