import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { type Accepted, readAnswerHead, readHead } from "../../../src/transport/grpc/head.ts"
import { readTrailers } from "../../../src/transport/grpc/status.ts"
import type { ResponseHead } from "../../../src/transport/http2/head.ts"
import { gzip } from "../../../src/transport/layers/compression.ts"
import { fields } from "../http2/support.ts"

const accepted: Accepted = { encodings: [], contentTypes: new Set(["application/grpc"]) }
const other: Accepted = { encodings: [], contentTypes: new Set(["application/grpc+json"]) }

const head = (more: Readonly<Record<string, string>>): ResponseHead =>
  Object.freeze({
    status: 200,
    fields: fields({ "content-type": "application/grpc", ...more }),
    contentLength: -1,
  })

describe("what the head of an answer says", () => {
  test("is the very same for a head that comes again, to clients that take the same", () => {
    const again = head({ "x-text": "1" })
    assert.equal(readAnswerHead(again, accepted), readAnswerHead(again, accepted))
    assert.notEqual(readAnswerHead(again, other).error, undefined)
    assert.equal(readAnswerHead(again, accepted).error, undefined)
    const once = { ...again }
    assert.notEqual(readAnswerHead(once, accepted), readAnswerHead(once, accepted))
  })

  test("is each call's own where it has bytes, which can be written to, or is an error", () => {
    for (const own of [head({ "x-bin": "AQ" }), head({ "grpc-encoding": "zstd" })]) {
      assert.notEqual(readAnswerHead(own, accepted), readAnswerHead(own, accepted))
    }
  })
})

describe("what the head of a request says", () => {
  test("is read in the first names of a list alone: who sends only commas has nothing of it", () => {
    const sent = (list: string) => readHead(fields({ "grpc-accept-encoding": list }), [gzip]).sent?.name
    assert.deepEqual(["br, gzip", `${",".repeat(4000)}gzip`].map(sent), ["gzip", undefined])
  })
})

describe("what trailers say", () => {
  test("is the very same for those that come again, unless they have bytes", () => {
    const ok = Object.freeze(fields({ "grpc-status": "0", "x-text": "1" }))
    assert.equal(readTrailers(ok), readTrailers(ok))
    const bytes = Object.freeze(fields({ "grpc-status": "0", "x-bin": "AQ" }))
    assert.notEqual(readTrailers(bytes), readTrailers(bytes))
    const once = fields({ "grpc-status": "0" })
    assert.notEqual(readTrailers(once), readTrailers(once))
  })
})
