import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { fieldsToHeaders, headersToFields } from "../../../src/transport/connect/fields.ts"
import type { Field } from "../../../src/transport/http2/hpack.ts"

const list = (...pairs: ReadonlyArray<readonly [string, string]>): ReadonlyArray<Field> =>
  pairs.map(([name, value]) => ({ name, value }))

describe("headers made of fields", () => {
  test("have a cookie that came in pieces, as browsers send it, in one", () => {
    const headers = fieldsToHeaders(list(["cookie", "a=1"], ["x", "1"], ["cookie", "b=2; c=3"], ["cookie", "d=4"]))
    assert.equal(headers.get("cookie"), "a=1; b=2; c=3; d=4")
  })

  test("have the values of a repeated key in their order", () => {
    assert.equal(fieldsToHeaders(list(["x", "1"], ["y", "2"], ["x", "3"])).get("x"), "1, 3")
  })
})

describe("fields made of headers", () => {
  test("say nothing of the connection, which HTTP/2 takes for malformed", () => {
    const headers = new Headers({ a: "1", connection: "close", "keep-alive": "timeout=5", upgrade: "h2c", b: "2" })
    assert.deepEqual(headersToFields(headers), list(["a", "1"], ["b", "2"]))
  })
})
