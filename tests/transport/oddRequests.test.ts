/**
 * Whatever a request's head says, and its body has: real servers bear it, and no more than its connection ends.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe } from "node:test"
import { Effect } from "effect"
import fc from "fast-check"
import { flag, frameType } from "../../src/transport/http2/frames.ts"
import { compression } from "../../src/transport/layers/compression.ts"
import { test } from "../effect.ts"
import { block, data, headers, ping } from "./http2/support.ts"
import { peer } from "./net/support.ts"
import {
  envelope,
  grpcStatus,
  http1,
  http2Requests,
  pi,
  request1,
  request999,
  start,
  wire,
  withLog,
} from "./support.ts"

// One byte a character, without those that end a line of HTTP/1.1: what comes behind them would be another request's.
const junk = fc
  .uint8Array({ maxLength: 12 })
  .map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 0 && byte !== 10 && byte !== 13)).toString("latin1"))

const oneOf = (...values: ReadonlyArray<string>) => fc.oneof({ weight: 4, arbitrary: fc.constantFrom(...values) }, junk)

const message = "encoding=json&message=%7B%22n%22%3A1%7D"
const path = oneOf(
  ...["Calc", "CalcStream", "CalcRange", "Summarize", "Report", "Nope"].map((method) => `/pi.PiCalculator/${method}`),
  `/pi.PiCalculator/Calc?connect=v1&${message}`,
  `/pi.PiCalculator/Calc?connect=v1&base64=1&compression=gzip&${message}`,
  "//",
  "*",
)
const contentType = oneOf(
  ...["grpc", "grpc+json", "grpc-web", "grpc-web+json", "connect+proto", "connect+json", "json", "proto"].map(
    (type) => `application/${type}`,
  ),
)
const name = fc.constantFrom(
  ...["grpc-timeout", "connect-timeout-ms", "grpc-encoding", "grpc-accept-encoding", "content-encoding"],
  ...["connect-content-encoding", "accept-encoding", "connect-protocol-version", "x-bin", "x", "cookie", "host", "te"],
  ...["expect", "content-length", "traceparent", "grpc-message", "trailer-x", "__proto__", "constructor"],
)
const value = oneOf("gzip", "br", "identity", "0", "1n", "99999999H", "-1", "100-continue", "AA,AA==", "1")

const request = fc.record({
  method: oneOf("POST", "POST", "GET", "CONNECT"),
  scheme: oneOf("http", "https"),
  path,
  authority: oneOf("localhost", "a b", "["),
  contentType,
  others: fc.array(fc.tuple(name, value), { maxLength: 3 }),
  body: fc.oneof(
    fc.constantFrom(envelope(request999), envelope(request999, 1), Buffer.from('{"n":1}'), Buffer.alloc(0)),
    fc.uint8Array({ maxLength: 20 }),
  ),
  ends: fc.boolean(),
})

const runs = { numRuns: Math.ceil(30 * Number(process.env.FUZZ_RUNS ?? 1)) }

/** The body of a test in which nothing may be logged: what a request can't have throws where it is read, and is a defect. */
const quietly = <A, E, R>(body: Effect.Effect<A, E, R>) =>
  withLog((log) =>
    Effect.map(body, () => {
      assert.deepEqual(log, [])
    }),
  )

describe("odd requests", () => {
  test("over HTTP/2 end no more than their connection", () =>
    quietly(
      Effect.gen(function* () {
        const server = yield* start(pi.pipe(compression()))
        const other = yield* http2Requests(server)
        for (const requests of fc.sample(fc.array(request, { minLength: 40, maxLength: 40 }), runs)) {
          const sent = requests.flatMap(({ method, scheme, path, authority, contentType, others, body, ends }, i) => {
            const all = [
              ...Object.entries({ ":method": method, ":scheme": scheme, ":path": path, ":authority": authority }),
              ["content-type", contentType] as const,
              ...others,
            ].map(([name, value]) => ({ name, value }))
            return [headers(2 * i + 1, false, block(all)), data(2 * i + 1, body, ends)]
          })
          const { send, frame, socket } = yield* peer(server)
          yield* send(...sent, ping)
          // It has been through all of them, or is through with this client.
          yield* Effect.ignore(frame(({ type, flags }) => type === frameType.ping && (flags & flag.ack) !== 0))
          socket.destroy()
          assert.equal(grpcStatus(yield* other({ "content-type": "application/grpc" }, envelope(request999))), 0)
        }
      }),
    ))

  test("over HTTP/1.1 end no more than their connection", () =>
    quietly(
      Effect.gen(function* () {
        const server = yield* start(pi.pipe(compression()))
        const other = yield* http1(server)
        const json = { "content-type": "application/json" }
        for (const { path, contentType, others, body } of fc.sample(request, { numRuns: 2 * runs.numRuns })) {
          const { socket, receive, closed } = yield* wire(server)
          const fields = others.filter(([name]) => name !== "content-length" && name !== "host")
          const all = { ":path": path.replaceAll(" ", ""), "content-type": contentType, ...Object.fromEntries(fields) }
          // One character is one byte.
          const sent = Buffer.from(
            `${request1(all)}`.replace(/content-length: 0/, `content-length: ${body.length}`),
            "latin1",
          )
          socket.write(Buffer.concat([sent, body]))
          yield* Effect.raceFirst(Effect.ignore(receive(({ length }) => length > 0 || undefined)), closed)
          socket.destroy()
          assert.equal((yield* other(json, '{"n":1}')).status, 200)
        }
      }),
    ))
})
