import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect } from "effect"
import { toFetch } from "../../../src/transport/fetch.ts"
import { test } from "../../effect.ts"
import { type Headers, http1, http2Requests, pi, start } from "../support.ts"

const text: Headers = { "content-type": "text/plain" }

const refused: ReadonlyArray<readonly [Headers, number, RegExp]> = [
  [
    text,
    415,
    /^a call of this method has the content-type application\/json or application\/proto, or one of gRPC's\n$/,
  ],
  [{ ...text, ":path": "/pi.PiCalculator/CalcRange" }, 415, /application\/connect\+json .* envelope/],
  [{ "content-type": "application/json", ":method": "PUT" }, 405, /^a call of this method is a POST or a GET\n$/],
]

describe("a request that is refused by its HTTP status", () => {
  for (const [http, open] of [
    ["HTTP/1.1", http1],
    ["HTTP/2", http2Requests],
  ] as const) {
    test(`says over ${http} what would be taken`, () =>
      Effect.gen(function* () {
        const request = yield* open(yield* start(pi))
        for (const [headers, status, says] of refused) {
          const answer = yield* request(headers, "{}")
          assert.equal(answer.status, status)
          assert.match(`${answer.body}`, says)
          assert.equal(answer.headers.allow, status === 405 ? "POST, GET" : undefined)
        }
      }))
  }

  test("says so at the edge", () =>
    Effect.gen(function* () {
      const handle = yield* toFetch(pi)
      const request = new Request("http://pi.example/pi.PiCalculator/Calc", { method: "POST", body: "{}" })
      const answer = yield* Effect.promise(() => handle(request))
      assert.equal(answer.status, 415)
      assert.match(yield* Effect.promise(() => answer.text()), /has the content-type application\/json/)
    }))
})
