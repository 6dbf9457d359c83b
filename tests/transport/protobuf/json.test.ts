import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { create, createRegistry, type DescMessage, toJsonString } from "@bufbuild/protobuf"
import fc from "fast-check"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { LogEntrySchema, PiRequestSchema } from "../../../src/transport/gen/pi_pb.ts"
import { readJson, writeJson } from "../../../src/transport/protobuf/json.ts"
import { checkJsonBounds } from "../../../src/transport/protobuf/jsonBounds.ts"
import { defaultScanLimits } from "../../../src/transport/protobuf/read.ts"
import { bytes } from "../support.ts"
import { nodeDesc } from "./types.ts"

const { maxWeight } = defaultScanLimits
const none = createRegistry()
const read = (desc: DescMessage, json: string) => readJson(desc, bytes(json), maxWeight, none)

const over = (error: unknown) => error instanceof RpcError && error.code === "resource_exhausted"

describe("JSON that is received", () => {
  test("is refused before it is parsed where it nests too deep, as unknown values do too", () => {
    assert.throws(() => read(PiRequestSchema, "[".repeat(1_900_000)), over)
    assert.throws(() => read(PiRequestSchema, '{"a":'.repeat(201)), over)
    const nested = `{"n":5,"unknown":${"[".repeat(199)}${"]".repeat(199)}}`
    assert.deepEqual(read(PiRequestSchema, nested), create(PiRequestSchema, { n: 5 }))
    assert.throws(() => read(PiRequestSchema, nested.replace("[]", "[[]]")), over)
  })

  test("is refused where it would take too much memory", () => {
    const keys = Array.from({ length: 350_000 }, (_, i) => `"k${i}":0`).join(",")
    assert.throws(() => read(PiRequestSchema, `{${keys}}`), over)
    assert.throws(() => read(PiRequestSchema, `{"x":[${"{},".repeat(500_000)}{}]}`), over)
    assert.throws(() => read(PiRequestSchema, `{"x":[${"0,".repeat(1_000_000)}0]}`), over)
    // An object is as heavy as what it may become.
    const objects = (list: string) => `{"${list}":[${"{},".repeat(50_000)}{}]}`
    assert.throws(() => read(nodeDesc, objects("nodes")), over)
    assert.deepEqual(read(PiRequestSchema, objects("x")), create(PiRequestSchema))
    const numbers = `{"numbers":[${"1,".repeat(100_000)}1]}`
    assert.ok(toJsonString(nodeDesc, read(nodeDesc, numbers)) === numbers)
    const text = "x".repeat(4_000_000)
    assert.deepEqual(read(LogEntrySchema, JSON.stringify({ text })), create(LogEntrySchema, { text }))
  })

  test("may have brackets, commas and colons in its texts", () => {
    const text = `\\"${'["{:,\\'.repeat(100_000)}`
    assert.deepEqual(read(LogEntrySchema, JSON.stringify({ text })), create(LogEntrySchema, { text }))
  })

  test("is counted alike however it is written", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6 }), fc.boolean(), (value, spaced) => {
        const depthOf = (one: unknown): number =>
          typeof one === "object" && one !== null ? 1 + Math.max(0, ...Object.values(one).map(depthOf)) : 0
        const json = bytes(JSON.stringify(value, undefined, spaced ? 2 : undefined))
        const deep = new Uint8Array(Buffer.concat([Buffer.from("[".repeat(200 - depthOf(value))), json]))
        checkJsonBounds(deep, Number.POSITIVE_INFINITY, 0)
        const deeper = new Uint8Array(Buffer.concat([Buffer.from("[".repeat(201 - depthOf(value))), json]))
        assert.throws(() => checkJsonBounds(deeper, Number.POSITIVE_INFINITY, 0), over)
      }),
    )
  })
})

describe("JSON that is sent", () => {
  test("is well-formed text, with a mark in place of half a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom("\\", "ud800", "\ud800", "\udc00", "😀", '"', "u") }), (text) => {
        const message = create(LogEntrySchema, { text })
        const json = new TextDecoder().decode(writeJson(LogEntrySchema, message, none))
        assert.equal(JSON.parse(json).text ?? "", text.toWellFormed())
      }),
    )
  })
})
