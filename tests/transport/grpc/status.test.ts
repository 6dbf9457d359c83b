import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import { createRegistry, fromBinary } from "@bufbuild/protobuf"
import fc from "fast-check"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import { StatusSchema } from "../../../src/transport/gen/google/rpc/status_pb.ts"
import { encodeMessage, errorTrailers, okTrailers } from "../../../src/transport/grpc/status.ts"

const pairs = (error: RpcError) => errorTrailers(error, createRegistry()).map(({ name, value }) => [name, value])

describe("grpc-message", () => {
  test("gives every text back, with a mark in place of half a character", () => {
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({ unit: fc.constantFrom("%", "ü", "\ud800", "\udc00", "😀", "\0", "\n", "~", "!", " ") }),
    )
    fc.assert(
      fc.property(text, (message) => {
        const encoded = encodeMessage(message)
        assert.match(encoded, /^[\x20-\x7e]*$/)
        assert.equal(decodeURIComponent(encoded), message.toWellFormed())
      }),
      { numRuns: 2000 },
    )
  })

  test("leaves printable ASCII as it is, but for the percent sign", () => {
    const printable = Array.from({ length: 95 }, (_, i) => String.fromCharCode(0x20 + i)).join("")
    assert.equal(encodeMessage(printable), printable.replace("%", "%25"))
    assert.equal(encodeMessage("é😀\u007f"), "%C3%A9%F0%9F%98%80%7F")
    assert.equal(encodeMessage("a\ud800b"), "a%EF%BF%BDb")
  })
})

describe("the trailers", () => {
  test("of a call that went well are always the same list", () => {
    assert.deepEqual(okTrailers, [{ name: "grpc-status", value: "0" }])
    assert.ok(Object.isFrozen(okTrailers))
  })

  test("of an error have its number, its message if it has one, and its metadata", () => {
    const metadata = Metadata.of({ "x-text": "t", "x-bin": new Uint8Array([1, 2]) })
    assert.deepEqual(pairs(new RpcError({ code: "not_found", message: "no é", metadata })), [
      ["grpc-status", "5"],
      ["grpc-message", "no %C3%A9"],
      ["x-text", "t"],
      ["x-bin", "AQI"],
    ])
    assert.deepEqual(pairs(new RpcError({ code: "unauthenticated", message: "" })), [["grpc-status", "16"]])
  })

  test("of an error with details repeat number and message in google.rpc.Status", () => {
    const detail = { type: "google.rpc.Unknown", value: new Uint8Array([8, 1]) }
    const trailers = pairs(new RpcError({ code: "internal", message: "m", details: [detail] }))
    const [, value = ""] = trailers.find(([name]) => name === "grpc-status-details-bin") ?? []
    const { code, message, details } = fromBinary(StatusSchema, Buffer.from(value, "base64"))
    assert.deepEqual([code, message], [13, "m"])
    assert.deepEqual(
      details.map(({ typeUrl, value: bytes }) => [typeUrl, [...bytes]]),
      [["type.googleapis.com/google.rpc.Unknown", [8, 1]]],
    )
  })
})
