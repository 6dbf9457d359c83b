import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { create, createRegistry } from "@bufbuild/protobuf"
import { BoolValueSchema, StructSchema, timestampFromMs, ValueSchema } from "@bufbuild/protobuf/wkt"
import { SetRequestSchema } from "../../../src/transport/gen/cache_pb.ts"
import { LogEntrySchema, PiRequestSchema, PiResponseSchema } from "../../../src/transport/gen/pi_pb.ts"
import { codecOf } from "../../../src/transport/grpc/codec.ts"
import { checkMessage } from "../../../src/transport/protobuf/check.ts"
import { holderDesc, nodeDesc } from "./types.ts"

const codecs = ["application/grpc", "application/grpc+json"].map((contentType) => {
  const codec = codecOf(contentType, createRegistry())
  assert.ok(codec)
  return { contentType, codec }
})

// What isn't of the field's type, as a program may say it that gets round the types.
const wrong: ReadonlyArray<readonly [field: string, value: unknown]> = [
  ["number", 1.5],
  ["number", 2 ** 31],
  ["number", Number.NaN],
  ["number", "hunter2"],
  ["text", 5],
  ["text", { secret: "hunter2" }],
  ["bytes", "hunter2"],
  ["real", "hunter2"],
  ["real", undefined],
  ["long", "hunter2"],
  ["long", 1.5],
  ["flag", "hunter2"],
  ["single", "hunter2"],
  ["fixed", -1],
  ["child", "hunter2"],
  ["child", { $typeName: "kinds.Node", real: "hunter2" }],
  ["nodes", ["hunter2"]],
  ["nodes", { 0: "hunter2" }],
  ["numbers", "123"],
  ["numbers", [1, "hunter2"]],
  ["reals", [1, undefined]],
  ["texts", "hunter2"],
  ["counts", "hunter2"],
  ["counts", { a: 1.5 }],
  ["named", { a: "hunter2" }],
  ["one", { case: "oneText", value: 5 }],
]

describe("a message that can't be encoded", () => {
  for (const { contentType, codec } of codecs) {
    test(`as ${contentType} throws, and says where and not what`, () => {
      for (const [field, value] of wrong) {
        const message = { ...create(nodeDesc), [field]: value }
        assert.throws(
          () => codec.encode(nodeDesc, message),
          (error) => error instanceof Error && !error.message.includes("hunter2"),
          `${field}: ${JSON.stringify(value)}`,
        )
      }
    })

    test(`as ${contentType} is none that has values of its types alone`, () => {
      const right = [
        [PiRequestSchema, { n: -(2 ** 31) }],
        [PiResponseSchema, { value: Number.NaN }],
        [LogEntrySchema, { time: timestampFromMs(5), level: "info" }],
        [LogEntrySchema, {}],
        [SetRequestSchema, { value: new Uint8Array(3), condition: { case: "ifVersion", value: 5n } }],
        [BoolValueSchema, { value: true }],
        [StructSchema, { fields: { a: { kind: { case: "structValue", value: { fields: {} } } } } }],
        [ValueSchema, { kind: { case: "nullValue", value: 0 } }],
        [holderDesc, {}],
        [holderDesc, { group: { number: 5 } }],
        [nodeDesc, { named: { a: { text: "b" } }, one: { case: "oneText", value: "c" }, numbers: [1] }],
      ] as const
      for (const [desc, init] of right) codec.encode(desc, create(desc, { ...init }))
    })
  }

  test("is what is no object at all", () => {
    for (const message of [undefined, null, "hunter2", 5]) {
      assert.throws(() => checkMessage(nodeDesc, message), /a kinds.Node must be an object/)
    }
  })

  test("is told by its field and the kind of what is there", () => {
    const message = { ...create(PiResponseSchema), value: "hunter2" }
    assert.throws(() => checkMessage(PiResponseSchema, message), {
      message: "the field pi.PiResponse.value must be a number, and is of the type string",
    })
  })
})
