import assert from "node:assert/strict"
import { describe, test } from "node:test"
import fc from "fast-check"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import { mostValues } from "../../../src/transport/binary.ts"
import { fromHeaders, toHeaders } from "../../../src/transport/connect/headers.ts"

const key = fc.stringMatching(/^[a-z][a-z0-9_.-]{0,8}$/).map((name) => `x-${name}`)
// Headers cut off the blanks at both ends of a value, as HTTP does. Deno's forget an empty one that has others beside it.
const text = fc.stringMatching(/^[!-~]([ -~]{0,20}[!-~])?$/)
const entry: fc.Arbitrary<readonly [string, Metadata.Value]> = fc.oneof(
  fc.tuple(
    key.filter((name) => !name.endsWith("-bin")),
    text,
  ),
  fc.tuple(
    key.map((name) => `${name}-bin`),
    fc.uint8Array({ minLength: 1 }),
  ),
)

describe("metadata", () => {
  test("keeps all values of all keys as headers and back, repeated bytes apart and repeated text joined", () => {
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        const sent = Metadata.of(entries)
        const arrived = fromHeaders(toHeaders(sent))
        const keys = [...new Set(sent.map(([name]) => name))]
        for (const name of keys) {
          const values = Metadata.getAll(sent, name)
          const expected = name.endsWith("-bin") ? values : [values.join(", ")]
          assert.deepEqual(Metadata.getAll(arrived, name), expected)
        }
        assert.deepEqual(new Set(arrived.map(([name]) => name)), new Set(keys))
      }),
      { numRuns: 500 },
    )
  })

  test("has no more bytes than a head should say, however many commas it has", () => {
    const arrived = fromHeaders(new Headers({ "a-bin": "AA,".repeat(1200), "b-bin": "AA", "x-text": "text" }))
    assert.deepEqual([arrived.length, Metadata.get(arrived, "x-text")], [mostValues + 1, "text"])
  })

  test("of bytes is the base64 without padding that gRPC sends, from a view into larger memory too", () => {
    const view = new Uint8Array([9, 1, 2, 9]).subarray(1, 3)
    assert.equal(toHeaders(Metadata.of({ "x-bin": view })).get("x-bin"), "AQI")
  })

  test("may have empty values", () => {
    const sent = Metadata.of({ "x-text": "", "x-bin": new Uint8Array() })
    assert.deepEqual(new Map(fromHeaders(toHeaders(sent))), new Map(sent))
  })

  test("leaves out what belongs to the protocols and to HTTP", () => {
    const headers = new Headers({
      "accept-encoding": "gzip",
      "connect-protocol-version": "1",
      "content-type": "application/grpc",
      date: "today",
      "grpc-status": "0",
      host: "here",
      server: "some",
      te: "trailers",
      "x-grpc-web": "1",
      "x-mine": "kept",
    })
    assert.deepEqual(fromHeaders(headers), [["x-mine", "kept"]])
  })

  test("takes base64 with padding and without", () => {
    const headers = new Headers([
      ["x-bin", "AQ=="],
      ["x-bin", "AQ"],
    ])
    assert.deepEqual(fromHeaders(headers), [
      ["x-bin", new Uint8Array([1])],
      ["x-bin", new Uint8Array([1])],
    ])
  })

  test("leaves out bytes that are not base64, alone or among others", () => {
    for (const bad of ["%%%", "A", "A=", "=", "===", "AQ=A", "AB CD", "naïve"]) {
      assert.deepEqual(fromHeaders(new Headers({ "x-bin": bad })), [], bad)
      assert.deepEqual(fromHeaders(new Headers({ "x-bin": `AQ, ${bad}` })), [["x-bin", new Uint8Array([1])]], bad)
    }
  })

  test("of any text under a -bin key is read without an error, and only what stands there", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary-ascii" }).filter(isHeaderValue), (value) => {
        const arrived = fromHeaders(new Headers({ "x-bin": value }))
        const given = value.split(",").map((one) => Buffer.from(one, "base64"))
        for (const [, read] of arrived) assert.ok(typeof read !== "string" && given.some((one) => one.equals(read)))
      }),
      { numRuns: 2000 },
    )
  })
})

const isHeaderValue = (value: string): boolean => /^[\x20-\x7e]*$/.test(value)
