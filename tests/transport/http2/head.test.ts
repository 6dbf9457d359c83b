import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { Malformed, parseRequestHead, parseResponseHead, parseTrailers } from "../../../src/transport/http2/head.ts"
import type { Field } from "../../../src/transport/http2/hpack.ts"

const list = (...pairs: ReadonlyArray<readonly [string, string]>): ReadonlyArray<Field> =>
  pairs.map(([name, value]) => ({ name, value }))

const method = [":method", "POST"] as const
const scheme = [":scheme", "http"] as const
const path = [":path", "/a"] as const
const authority = [":authority", "localhost"] as const
const request = [method, scheme, path, authority]

/** What no field of any header list may be (sections 8.2.1 and 8.2.2). */
const badFields: Readonly<Record<string, readonly [string, string]>> = {
  "an upper-case name": ["X-a", "1"],
  "an empty name": ["", "1"],
  "a name with a space": ["a b", "1"],
  "a name with a colon": ["a:b", "1"],
  "a name with a control character": ["a\u0001", "1"],
  "a name beyond ASCII": ["é", "1"],
  "a name with DEL": ["a\u007f", "1"],
  "a value with NUL": ["a", "b\0c"],
  "a value with CR": ["a", "b\rc"],
  "a value with LF": ["a", "b\nc"],
  "a value that begins with a space": ["a", " b"],
  "a value that begins with a tab": ["a", "\tb"],
  "a value that ends with a space": ["a", "b "],
  "a value that ends with a tab": ["a", "b\t"],
  connection: ["connection", "close"],
  "keep-alive": ["keep-alive", "1"],
  "proxy-connection": ["proxy-connection", "close"],
  "transfer-encoding": ["transfer-encoding", "chunked"],
  upgrade: ["upgrade", "h2c"],
  "te that isn't trailers": ["te", "gzip"],
}

const malformed = (parsed: unknown) => assert.ok(parsed instanceof Malformed, JSON.stringify(parsed))

for (const [what, bad] of Object.entries(badFields)) {
  test(`a header list is malformed with ${what}`, () => {
    malformed(parseRequestHead(list(...request, bad)))
    malformed(parseRequestHead(list(...request, ["ok", "1"], bad, ["ok", "1"])))
    malformed(parseResponseHead(list([":status", "200"], bad)))
    malformed(parseTrailers(list(["ok", "1"], bad)))
  })
}

describe("a request", () => {
  test("gives its pseudo fields by name, and all others in order", () => {
    const fields = list(["te", "trailers"], ["b", ""], ["a", "x y\tz"], ["b", "é"])
    assert.deepEqual(parseRequestHead([...list(authority, path, scheme, method), ...fields]), {
      method: "POST",
      scheme: "http",
      path: "/a",
      authority: "localhost",
      fields,
      contentLength: -1,
      expectsContinue: false,
    })
  })

  test("is the very same for the very same list, if that is frozen", () => {
    const frozen = Object.freeze(list(...request))
    assert.equal(parseRequestHead(frozen), parseRequestHead(frozen))
    assert.ok(Object.isFrozen(parseRequestHead(frozen)))
    const changing = list(...request)
    assert.notEqual(parseRequestHead(changing), parseRequestHead(changing))
  })

  test("says whether it waits to be told to go on", () => {
    const parsed = parseRequestHead(list(...request, ["expect", "100-Continue"]))
    assert.ok(!(parsed instanceof Malformed) && parsed.expectsContinue)
  })

  test("may go without an authority; CONNECT has nothing but one", () => {
    assert.ok(!(parseRequestHead(list(method, scheme, path)) instanceof Malformed))
    assert.ok(!(parseRequestHead(list([":method", "CONNECT"], authority)) instanceof Malformed))
  })

  for (const [what, ...fields] of [
    ["nothing at all"],
    ["no method", scheme, path, authority],
    ["no scheme", method, path, authority],
    ["no path", method, scheme, authority],
    ["an empty path", method, scheme, [":path", ""]],
    ["two methods", ...request, method],
    ["two paths", ...request, path],
    ["a status", ...request, [":status", "200"]],
    ["an unknown pseudo field", ...request, [":protocol", "websocket"]],
    ["a pseudo field behind another one", method, scheme, ["a", "1"], path],
    ["a control character in its path", method, scheme, [":path", "/a\r\nb"]],
    ["a space behind its method", [":method", "POST "], scheme, path],
    ["a content-length that is no number", ...request, ["content-length", "x"]],
    ["a negative content-length", ...request, ["content-length", "-1"]],
    ["an empty content-length", ...request, ["content-length", ""]],
    ["a content-length that no number can hold", ...request, ["content-length", "9".repeat(40)]],
    ["a path for CONNECT", [":method", "CONNECT"], authority, path],
    ["a scheme for CONNECT", [":method", "CONNECT"], authority, scheme],
    ["nowhere to CONNECT to", [":method", "CONNECT"]],
    ["two content-lengths", ...request, ["content-length", "1"], ["content-length", "2"]],
  ] as ReadonlyArray<readonly [string, ...ReadonlyArray<readonly [string, string]>]>) {
    test(`is malformed with ${what}`, () => malformed(parseRequestHead(list(...fields))))
  }

  test("names its host once, be it in :authority or in host", () => {
    for (const [fields, expected] of [
      [[...request, ["host", "localhost"]], "localhost"],
      [[...request, ["host", "LOCALHOST"]], "localhost"],
      [[method, scheme, path, ["host", "example.org"]], "example.org"],
      [[method, scheme, path], ""],
    ] as const) {
      const head = parseRequestHead(list(...fields))
      assert.ok(!(head instanceof Malformed))
      assert.equal(head.authority, expected)
    }
    malformed(parseRequestHead(list(...request, ["host", "example.org"])))
    malformed(parseRequestHead(list(...request, ["host", "localhost:81"])))
    malformed(parseRequestHead(list(...request, ["host", "localhost"], ["host", "localhost"])))
  })

  test("tells its content-length, also if it says so twice", () => {
    const parsed = parseRequestHead(list(...request, ["content-length", "12"], ["content-length", "12"]))
    assert.ok(!(parsed instanceof Malformed) && parsed.contentLength === 12)
  })
})

describe("a response", () => {
  test("gives its status, and all other fields in order", () => {
    const fields = list(["a", "1"], ["content-length", "3"])
    assert.deepEqual(parseResponseHead([...list([":status", "204"]), ...fields]), {
      status: 204,
      fields,
      contentLength: 3,
    })
  })

  for (const [what, ...fields] of [
    ["nothing at all"],
    ["no status", ["a", "1"]],
    ["two statuses", [":status", "200"], [":status", "200"]],
    ["a status behind a field", ["a", "1"], [":status", "200"]],
    ["a status of two digits", [":status", "20"]],
    ["a status below 100", [":status", "099"]],
    ["a status that is no number", [":status", "2x0"]],
    ["a path", [":status", "200"], path],
  ] as ReadonlyArray<readonly [string, ...ReadonlyArray<readonly [string, string]>]>) {
    test(`is malformed with ${what}`, () => malformed(parseResponseHead(list(...fields))))
  }
})

describe("the head of a response, and trailers", () => {
  test("are the very same for the very same list, if that is frozen", () => {
    for (const [parse, fields] of [
      [parseResponseHead, [":status", "200"]],
      [parseTrailers, ["grpc-status", "0"]],
    ] as const) {
      const frozen = Object.freeze(list(fields))
      assert.equal(parse(frozen), parse(frozen))
      assert.ok(Object.isFrozen(parse(frozen)))
      const changing = list(fields)
      assert.notEqual(parse(changing), parse(changing))
      const wrong = Object.freeze(list(["A", "1"]))
      malformed(parse(wrong))
      malformed(parse(wrong))
    }
  })
})

describe("trailers", () => {
  test("are any fields but pseudo ones", () => {
    assert.deepEqual(parseTrailers(list(["grpc-status", "0"])), list(["grpc-status", "0"]))
    assert.deepEqual(parseTrailers([]), [])
    for (const pseudo of [...request, [":status", "200"] as const]) malformed(parseTrailers(list(["a", "1"], pseudo)))
  })
})
