import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import fc from "fast-check"
import { RequestReader } from "../../../src/transport/http1/reader.ts"
import { Refused } from "../../../src/transport/http1/refused.ts"
import { oddRequests } from "./requests.ts"

const maxHeadSize = 16_384

/** What is found in bytes that come in pieces: pieces of a body that follow each other are one. */
const found = (pieces: ReadonlyArray<Uint8Array>): ReadonlyArray<unknown> => {
  const events: Array<unknown> = []
  let body = ""
  const reader = new RequestReader(
    {
      head: (head) => events.push(head),
      data: (bytes, start, end) => {
        body += Buffer.from(bytes.subarray(start, end)).toString("latin1")
      },
      end: (trailers) => {
        events.push(body, trailers)
        body = ""
      },
    },
    "http",
    maxHeadSize,
  )
  try {
    for (const piece of pieces) for (let at = 0; at < piece.length; ) at = reader.read(piece, at)
  } catch (error) {
    assert.ok(error instanceof Refused)
    // Of a body that is refused nobody needs to know how much came before.
    events.push([error.status, error.message])
  }
  return events
}

const cut = (bytes: Uint8Array, places: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return at.slice(1).map((to, i) => bytes.subarray(at[i], to))
}

const runs = { numRuns: Math.ceil(300 * Number(process.env.FUZZ_RUNS ?? 1)) }

describe("a reader of HTTP/1.1", () => {
  for (const { name, bytes, status } of oddRequests) {
    test(`gives ${status === 200 ? "a request" : `the status ${status}`} for ${name}`, () => {
      const all = Buffer.from(bytes, "latin1")
      const events = found([all])
      const last = events.at(-1)
      const refusal = status === 200 ? [] : last
      assert.equal(Array.isArray(last) && typeof last[0] === "number" ? last[0] : 200, status, JSON.stringify(refusal))
      assert.deepEqual(found(Array.from(all, (byte) => Uint8Array.of(byte))), events)
    })
  }

  test("finds the same wherever the bytes are cut", () => {
    const requests = fc.array(fc.constantFrom(...oddRequests), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(requests, fc.array(fc.nat(), { maxLength: 12 }), (several, places) => {
        const bytes = Buffer.from(several.map((one) => one.bytes).join(""), "latin1")
        assert.deepEqual(found(cut(bytes, places)), found([bytes]))
      }),
      runs,
    )
  })

  test("finds the same in any bytes at all, wherever they are cut, and throws nothing but what refuses them", () => {
    const some = fc.constantFrom(
      "GET / HTTP/1.1\r\n",
      "host: x\r\n",
      "\r\n",
      "\n",
      "\r",
      "transfer-encoding: chunked\r\n",
      "content-length: 3\r\n",
      "3\r\nabc\r\n",
      "0\r\n\r\n",
      ":",
      " ",
      "\0",
      "\xff",
    )
    fc.assert(
      fc.property(fc.array(some, { maxLength: 20 }), fc.array(fc.nat(), { maxLength: 8 }), (parts, places) => {
        const bytes = Buffer.from(parts.join(""), "latin1")
        assert.deepEqual(found(cut(bytes, places)), found([bytes]))
      }),
      runs,
    )
  })

  test("finds requests one behind the other, with or without an empty line between them", () => {
    const get = "GET /a HTTP/1.1\r\nhost: x\r\n\r\n"
    const post = "POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
    const heads = found([Buffer.from(`${post}\r\n${get}${post}${get}`)]).filter(
      (event): event is { readonly path: string } => typeof event === "object" && event !== null && "path" in event,
    )
    assert.deepEqual(
      heads.map(({ path }) => path),
      ["/b", "/a", "/b", "/a"],
    )
  })

  test("stops behind each request", () => {
    const ends: Array<number> = []
    const ignore = () => {}
    const reader = new RequestReader({ head: ignore, data: ignore, end: () => ends.push(1) }, "http", maxHeadSize)
    const get = Buffer.from("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert.equal(reader.read(Buffer.concat([get, get]), 0), get.length)
    assert.equal(ends.length, 1)
  })

  test("takes from the fields what speaks of the connection and of the host", () => {
    const [head] = found([
      Buffer.from(
        "GET /a?b HTTP/1.1\r\nHost: X:80\r\nConnection: keep-alive, Close\r\nUpgrade: h2c\r\nX-A: 1\r\nX-A: 2\r\n\r\n",
      ),
    ])
    assert.deepEqual(head, {
      method: "GET",
      scheme: "http",
      path: "/a?b",
      authority: "X:80",
      fields: [
        { name: "x-a", value: "1" },
        { name: "x-a", value: "2" },
      ],
      chunked: false,
      contentLength: -1,
      expectsContinue: false,
      version: "1.1",
      persistent: false,
      // 32 are counted for each field.
      size: 254,
    })
  })

  test("takes a line of spaces in time that grows with its length", () => {
    const text = (length: number) => Buffer.from(`GET / HTTP/1.1\r\nhost: x\r\nx: a${" ".repeat(length)}b\r\n\r\n`)
    assert.equal(found([text(16_000)]).length, 3)
  })
})
