import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { readQuery } from "../../../src/transport/connect/get.ts"

const text = (query: string) => new TextDecoder().decode(readQuery(`/a.A/B?${query}`).message())

describe("the query of a GET", () => {
  test("has its message as text, or in either base64 with padding or without", () => {
    assert.equal(text("encoding=json&message=%7B%22a%22%3A1%7D"), '{"a":1}')
    for (const message of ["_-8", "_-8=", "%2F%2B8", "%2F%2B8%3D"]) {
      const bytes = readQuery(`/a.A/B?base64=1&encoding=proto&message=${message}`).message()
      assert.deepEqual([...bytes], [0xff, 0xef])
    }
  })

  test("says the format and the compression", () => {
    const { format, compression } = readQuery("/a.A/B?connect=v1&encoding=proto&compression=gzip")
    assert.deepEqual([format, compression], ["proto", "gzip"])
    for (const encoding of ["xml", "", "constructor", "__proto__"]) {
      assert.equal(readQuery(`/a.A/B?encoding=${encoding}`).format, undefined)
    }
    assert.equal(readQuery("/a.A/B").format, undefined)
  })

  test("has no message, and says so, where it is no base64 or of another version", () => {
    for (const query of ["base64=1&message=A", "base64=1&message=%25", "connect=v2", "connect="]) {
      assert.throws(
        () => text(query),
        (error) => error instanceof RpcError && error.code === "invalid_argument",
      )
    }
  })
})
