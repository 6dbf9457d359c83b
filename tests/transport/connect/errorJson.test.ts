import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { badRequest } from "../../../src/core/rpc/details.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { errorJson } from "../../../src/transport/connect/errorJson.ts"
import { detailTypes } from "../../../src/transport/details.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"

const types = detailTypes(PiCalculator.file)

describe("an error in Connect's JSON", () => {
  test("has the code's name as Connect spells it, and no more than there is", () => {
    assert.deepEqual(errorJson(new RpcError({ code: "cancelled", message: "" }), types), { code: "canceled" })
    const error = new RpcError({ code: "not_found", message: "no such" })
    assert.deepEqual(errorJson(error, types), { code: "not_found", message: "no such" })
  })

  test("has details as bytes in base64, and what they say for a person where their type is known", () => {
    const known = badRequest([{ field: "n", description: "bad" }])
    const unknown = { type: "x.Y", value: new Uint8Array([0xff, 0xff]) }
    const { details = [] } = errorJson(new RpcError({ code: "aborted", message: "", details: [known, unknown] }), types)
    assert.deepEqual(details, [
      { type: "google.rpc.BadRequest", value: "CggKAW4SA2JhZA", debug: known.value },
      { type: "x.Y", value: "//8" },
    ])
  })

  test("throws for a detail of a type that nobody knows, which its program has to learn of", () => {
    const details = [{ type: "x.Y", value: { a: 1 } }]
    assert.throws(() => errorJson(new RpcError({ code: "aborted", message: "", details }), types), /x\.Y/)
  })

  test("has a text that is well formed, whatever the program's is", () => {
    const { message } = errorJson(new RpcError({ code: "aborted", message: "a\ud800b" }), types)
    assert.equal(message, "a\ufffdb")
  })
})
