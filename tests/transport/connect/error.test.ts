import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { create, fromJson, type JsonObject, toBinary } from "@bufbuild/protobuf"
import { ConnectError } from "@connectrpc/connect"
import fc from "fast-check"
import { badRequest, type Detail, errorInfo, retryInfo } from "../../../src/core/rpc/details.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import * as Status from "../../../src/core/rpc/status.ts"
import { fromConnectError, toConnectError } from "../../../src/transport/connect/error.ts"
import { detailTypes } from "../../../src/transport/details.ts"
import { file_pi, PiPointSchema } from "../../../src/transport/gen/pi_pb.ts"

const types = detailTypes(file_pi)

const codes = Status.names.filter((name) => name !== "ok")
// JSON of protobuf leaves out what is empty, so only what is not comes back as it was.
const word = fc.string({ minLength: 1, unit: "grapheme" })
// A plain object forgets a key of this name.
const name = word.filter((one) => one !== "__proto__")
const plain = { noNullPrototype: true } as const
const key = fc.stringMatching(/^[a-z][a-z0-9_.]{0,8}$/)
const detail: fc.Arbitrary<Detail> = fc.oneof(
  fc
    .array(fc.record({ field: word, description: word, reason: word }, plain), { minLength: 1, maxLength: 3 })
    .map(badRequest),
  fc
    .record(
      { reason: word, domain: word, metadata: fc.dictionary(name, word, { minKeys: 1, maxKeys: 3, ...plain }) },
      plain,
    )
    .map(errorInfo),
  fc.integer({ min: 0, max: 1_000_000 }).map((seconds) => retryInfo(`${seconds} seconds`)),
  fc
    .record({ n: fc.integer({ min: 1, max: 2 ** 31 - 1 }), value: fc.double({ min: 0.5, max: 4, noNaN: true }) }, plain)
    .map((value): Detail => ({ type: "pi.PiPoint", value })),
  fc.uint8Array().map((value): Detail => ({ type: "elsewhere.Unknown", value })),
)
const metadata = fc
  .dictionary(key, fc.oneof(fc.stringMatching(/^([!-~]([ -~]{0,10}[!-~])?)?$/), fc.uint8Array()), { maxKeys: 5 })
  .map((entries) =>
    Metadata.of(
      Object.entries(entries)
        .map(([name, value]) => [typeof value === "string" ? `x-${name}` : `x-${name}-bin`, value] as const)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    ),
  )
const rpcError = fc
  .record({
    code: fc.constantFrom(...codes),
    message: fc.string({ unit: "grapheme" }),
    details: fc.array(detail, { maxLength: 4 }),
    metadata,
  })
  .map((fields) => new RpcError(fields))

/** The error as it is after a journey: its details are bytes. */
const arrived = (sent: ConnectError): ConnectError => {
  const error = new ConnectError(sent.rawMessage, sent.code, sent.metadata)
  error.details = sent.details.map((one) =>
    "desc" in one
      ? { type: one.desc.typeName, value: toBinary(one.desc, create(one.desc, one.value)) }
      : { type: one.type, value: one.value },
  )
  return error
}

const fields = ({ code, message, details, metadata }: RpcError) => ({ code, message, details, metadata })

describe("an error", () => {
  test("keeps its code, message, details and metadata through Connect-ES and back", () => {
    fc.assert(
      fc.property(rpcError, (error) => {
        const sent = toConnectError(error, types)
        assert.deepEqual(fields(fromConnectError(arrived(sent), types)), fields(error))
        assert.deepEqual(fields(fromConnectError(sent, types)), fields(error))
      }),
      { numRuns: 500 },
    )
  })

  test("keeps each of the 16 codes, by gRPC's number", () => {
    for (const code of codes) {
      const sent = toConnectError(new RpcError({ code, message: "" }), types)
      assert.equal(sent.code, Status.toNumber(code))
      assert.equal(fromConnectError(sent, types).code, code)
    }
    assert.equal(codes.length, 16)
  })

  test("leaves its cause here", () => {
    const sent = toConnectError(new RpcError({ code: "internal", message: "m", cause: new Error("secret") }), types)
    assert.equal(sent.cause, undefined)
  })

  test("that comes back as it is stays the one it was", () => {
    const error = new RpcError({ code: "aborted", message: "m" })
    assert.equal(fromConnectError(error, types), error)
  })

  test("that is anything else thrown is unknown, with what was thrown as its cause", () => {
    const reason = new Error("odd")
    const error = fromConnectError(reason, types)
    assert.deepEqual([error.code, error.message, error.cause], ["unknown", "odd", reason])
  })
})

describe("a detail", () => {
  test("given as an object that no type here fits is refused by name", () => {
    const error = new RpcError({ code: "internal", message: "m", details: [{ type: "x.Y", value: { a: 1 } }] })
    assert.throws(
      () => toConnectError(error, types),
      /the detail x\.Y is no message of google\.rpc .* give it as bytes/,
    )
  })

  test("with a field that its type doesn't have is refused by name", () => {
    const error = new RpcError({ code: "internal", message: "m", details: [{ type: "pi.PiPoint", value: { a: 1 } }] })
    assert.throws(() => toConnectError(error, types), /pi\.PiPoint.*"a"/)
  })

  test("may be a message of the service's own file, and arrives with that message's JSON names", () => {
    const value: JsonObject = { count: 2, meanError: 0.5 }
    const error = new RpcError({ code: "internal", message: "m", details: [{ type: "pi.PiSummary", value }] })
    assert.deepEqual(fromConnectError(arrived(toConnectError(error, types)), types).details, error.details)
  })

  test("whose bytes are not what it says they are arrives as those bytes", () => {
    const bytes = new Uint8Array([0xff, 0xff])
    const error = new ConnectError("m")
    error.details = [{ type: "pi.PiPoint", value: bytes }]
    assert.deepEqual(fromConnectError(error, types).details, [{ type: "pi.PiPoint", value: bytes }])
  })

  test("given as the bytes of a known type arrives as that type", () => {
    const value = toBinary(PiPointSchema, fromJson(PiPointSchema, { n: 3, value: 3.5 }))
    const error = new RpcError({ code: "internal", message: "m", details: [{ type: "pi.PiPoint", value }] })
    const [arrivedDetail] = fromConnectError(arrived(toConnectError(error, types)), types).details
    assert.deepEqual(arrivedDetail, { type: "pi.PiPoint", value: { n: 3, value: 3.5 } })
  })
})
