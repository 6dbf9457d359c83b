import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import { connectEnd, webEnd } from "../../../src/transport/connect/endStream.ts"
import { detailTypes } from "../../../src/transport/details.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { readLength } from "../../../src/transport/grpc/envelope.ts"

const types = detailTypes(PiCalculator.file)
const trailer = Metadata.of([
  ["x-a", "1"],
  ["x-a", "2"],
  ["x-bin", new Uint8Array([255])],
])
const error = new RpcError({ code: "aborted", message: "100 %", metadata: Metadata.of({ "x-e": "3" }) })

const open = (bytes: Uint8Array): [flag: number | undefined, text: string] => {
  assert.equal(readLength(bytes, 0), bytes.length - 5)
  return [bytes[0], new TextDecoder().decode(bytes.subarray(5))]
}

describe("the last envelope of a stream", () => {
  test("is JSON in Connect, with an error if there is one and all values of each key", () => {
    assert.deepEqual(open(connectEnd(undefined, [], types)), [2, "{}"])
    const [flag, text] = open(connectEnd(error, trailer, types))
    assert.equal(flag, 2)
    assert.deepEqual(JSON.parse(text), {
      error: { code: "aborted", message: "100 %" },
      metadata: { "x-a": ["1", "2"], "x-bin": ["/w"], "x-e": ["3"] },
    })
  })

  test("is a block of fields in gRPC-Web, with the status among them", () => {
    assert.deepEqual(open(webEnd(undefined, [], types)), [0x80, "grpc-status: 0\r\n"])
    const [flag, text] = open(webEnd(error, trailer, types))
    assert.equal(flag, 0x80)
    assert.deepEqual(text.split("\r\n"), [
      "grpc-status: 10",
      "grpc-message: 100 %25",
      "x-e: 3",
      "x-a: 1",
      "x-a: 2",
      "x-bin: /w",
      "",
    ])
  })
})
