import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { create, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf"
import { AnySchema, StructSchema, type Value, ValueSchema } from "@bufbuild/protobuf/wkt"
import fc from "fast-check"
import { LogEntrySchema, PiPointSchema, PiRequestSchema } from "../../../src/transport/gen/pi_pb.ts"
import { decodeBatch, encodeBatch } from "../../../src/transport/grpc/batch.ts"
import { envelopeLength, writeEnvelope } from "../../../src/transport/grpc/envelope.ts"
import { defaultScanLimits } from "../../../src/transport/protobuf/read.ts"

const envelop = (messages: ReadonlyArray<Uint8Array>): Uint8Array => {
  const parts = messages.map((message) => {
    const bytes = new Uint8Array(envelopeLength + message.length)
    bytes.set(message, writeEnvelope(bytes, 0, message.length, false))
    return bytes
  })
  return new Uint8Array(Buffer.concat(parts))
}

const unlimited = Number.POSITIVE_INFINITY

/** Codes messages at once and one by one, and sees that it comes to the same. */
const same = <D extends DescMessage>(desc: D, messages: ReadonlyArray<MessageShape<D>>) => {
  const envelopes = envelop(messages.map((message) => toBinary(desc, message)))
  assert.deepEqual(encodeBatch(desc, messages, unlimited), envelopes)
  assert.deepEqual(decodeBatch(desc, envelopes, defaultScanLimits), messages)
}

const point = fc
  .record({ n: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), value: fc.double() })
  .map((init) => create(PiPointSchema, init))

const entry = fc
  .record({
    time: fc.option(fc.record({ seconds: fc.bigInt({ min: 0n, max: 2n ** 40n }), nanos: fc.nat(999_999_999) }), {
      nil: undefined,
    }),
    level: fc.string(),
    text: fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom("x".repeat(127), "x".repeat(128), "y".repeat(20_000)),
    ),
  })
  .map(({ time, ...rest }) => create(LogEntrySchema, time === undefined ? rest : { ...rest, time }))

describe("a batch", () => {
  test("is coded to what its messages are one by one", () => {
    fc.assert(fc.property(fc.array(point, { maxLength: 50 }), (points) => same(PiPointSchema, points)))
    fc.assert(fc.property(fc.array(entry, { maxLength: 20 }), (entries) => same(LogEntrySchema, entries)))
  })

  test("has empty messages too, and isn't there for what has to be cut before", () => {
    same(
      PiRequestSchema,
      [{ n: 0 }, { n: 5 }, { n: 0 }].map((init) => create(PiRequestSchema, init)),
    )
    const unknown = envelop([toBinary(PiPointSchema, create(PiPointSchema, { n: 1, value: 2 }))])
    assert.throws(() => decodeBatch(PiRequestSchema, unknown, defaultScanLimits), /cut/)
  })

  test("is there for types of other files, and for those that contain themselves", () => {
    same(AnySchema, [create(AnySchema, { typeUrl: "a/b", value: new Uint8Array(300) }), create(AnySchema)])
    let nested: Value["kind"] = { case: "boolValue", value: true }
    for (let depth = 0; depth < 20; depth++) {
      nested = { case: "structValue", value: create(StructSchema, { fields: { deeper: { kind: nested } } }) }
    }
    same(ValueSchema, [create(ValueSchema, { kind: nested }), create(ValueSchema, { kind: nested })])
  })

  test("isn't there for Struct, of which protobuf-es makes another thing in a field", () => {
    assert.equal(encodeBatch(StructSchema, [create(StructSchema)], unlimited), undefined)
    assert.equal(decodeBatch(StructSchema, new Uint8Array(5), defaultScanLimits), undefined)
  })

  test("leaves the envelopes that it decodes as they were", () => {
    const envelopes = envelop([toBinary(PiRequestSchema, create(PiRequestSchema, { n: 999 }))])
    const before = envelopes.slice()
    decodeBatch(PiRequestSchema, envelopes, defaultScanLimits)
    assert.deepEqual(envelopes, before)
  })

  test("is refused as a whole where a message is malformed, of another type or too long", () => {
    const right = toBinary(PiRequestSchema, create(PiRequestSchema, { n: 999 }))
    // A field of the wrong kind, a cut-off one, and a tag that would swallow the next message.
    for (const wrong of [[0x0a], [0x08], [0x08, 0xff], [0x12, 0x20, 0x00], [0x12, 0x08]]) {
      assert.throws(
        () => decodeBatch(PiRequestSchema, envelop([right, Uint8Array.from(wrong), right]), defaultScanLimits),
        String(wrong),
      )
    }
    const message = create(PiRequestSchema, { n: 999 })
    assert.throws(() => encodeBatch(PiPointSchema, [message], unlimited))
    assert.equal(encodeBatch(PiRequestSchema, [message, message], 3)?.length, 16)
    assert.throws(() => encodeBatch(PiRequestSchema, [message, message], 2), /over the limit/)
  })
})
