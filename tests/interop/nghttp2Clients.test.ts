/**
 * nghttp2's clients against our server: nghttp, which shows frames, and h2load, which makes many calls.
 */
import assert from "node:assert/strict"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { after, describe } from "node:test"
import { create, type DescMessage, type MessageInitShape, toBinary, toJsonString } from "@bufbuild/protobuf"
import { Effect } from "effect"
import { PiRequestSchema } from "../../src/transport/gen/pi_pb.ts"
import { SimpleRequestSchema, StreamingInputCallRequestSchema } from "./gen/grpc/testing/test_pb.ts"
import { pi } from "./numbers.ts"
import { printedBy, run } from "./processes.ts"
import { runtimes, testServed } from "./programs.ts"
import { shared, test } from "./support.ts"

const folder = mkdtempSync(join(tmpdir(), "basel-interop-"))
after(() => rmSync(folder, { recursive: true }))

const envelope = (message: Uint8Array): Buffer => {
  const prefix = Buffer.alloc(5)
  prefix.writeUint32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

const grpcBody = <D extends DescMessage>(name: string, desc: D, message: MessageInitShape<D>): string => {
  const file = join(folder, name)
  writeFileSync(file, envelope(toBinary(desc, create(desc, message))))
  return file
}

const written = (name: string, body: string | Uint8Array): string => {
  const file = join(folder, name)
  writeFileSync(file, body)
  return file
}

const grpc = ["-H", "content-type: application/grpc", "-H", "te: trailers"]

const calc = "/pi.PiCalculator/Calc"
const calcBody = grpcBody("calc", PiRequestSchema, { n: 999 })
const calcJson = written("calc.json", '{"n":999}')

const unaryCall = "/grpc.testing.TestService/UnaryCall"
const answerLength = 100_000
const longAnswerBody = grpcBody("unaryCall", SimpleRequestSchema, { responseSize: answerLength })

const streamingInputCall = "/grpc.testing.TestService/StreamingInputCall"
const chunk = create(StreamingInputCallRequestSchema, { payload: { body: new Uint8Array(100_000) } })
const chunks = 20
const uploadBody = written(
  "upload",
  Buffer.concat(Array(chunks).fill(envelope(Buffer.from(toJsonString(StreamingInputCallRequestSchema, chunk))))),
)

/** What nghttp shows of its requests: it must not have seen anything go wrong. */
const nghttp = Effect.fnUntraced(function* (args: ReadonlyArray<string>) {
  const shown = printedBy(yield* run({ command: "nghttp", args: ["-v", "--no-verify-peer", ...args] }))
  assert.doesNotMatch(shown, /recv (RST_STREAM|GOAWAY)|\[ERROR\]|error_code=(?!NO_ERROR)/)
  return shown
})

const count = (shown: string, pattern: RegExp): number => Array.from(shown.matchAll(pattern)).length

/** All the data that nghttp got, in bytes. */
const dataLength = (shown: string): number =>
  Array.from(shown.matchAll(/recv DATA frame <length=(\d+)/g), ([, length]) => Number(length)).reduce(
    (a, b) => a + b,
    0,
  )

/** Both heads of so many answers: a status of HTTP, and one of gRPC behind it in the frame that ends the stream. */
const assertAnswered = (shown: string, calls: number): void => {
  assert.equal(count(shown, /recv \(stream_id=\d+\) :status: 200$/gm), calls)
  assert.equal(
    count(shown, /grpc-status: 0\n.*recv HEADERS frame <.*\n\s*; END_STREAM \| END_HEADERS$/gm),
    calls,
    shown,
  )
}

/** h2load's requests, each of which must have got a 2xx. */
const h2load = Effect.fnUntraced(function* (requests: number, args: ReadonlyArray<string>) {
  const shown = printedBy(yield* run({ command: "h2load", args: ["-n", `${requests}`, ...args] }))
  const all = `${requests} total, ${requests} started, ${requests} done, ${requests} succeeded, 0 failed, 0 errored, 0 timeout`
  assert.ok(shown.includes(`requests: ${all}\n`), shown)
  assert.ok(shown.includes(`status codes: ${requests} 2xx, `), shown)
  return shown
})

for (const runtime of runtimes) {
  for (const secure of [false, true]) {
    describe(`nghttp2's clients and our server on ${runtime}${secure ? " with TLS" : ""}`, () => {
      const server = shared(testServed(runtime, secure))
      const url = (path: string) => `${server().url}${path}`

      test("a GET gets its answer", () =>
        Effect.gen(function* () {
          const shown = yield* nghttp([url(`${calc}?connect=v1&encoding=json&message=%7B%22n%22:999%7D`)])
          assert.match(shown, /recv \(stream_id=\d+\) :status: 200$/m)
          assert.match(shown, /recv \(stream_id=\d+\) content-type: application\/json$/m)
          const [, value] = /\{"value":([\d.]+)\}/.exec(shown) ?? []
          assert.equal(Number(value).toPrecision(12), pi(999).toPrecision(12))
        }))

      test("a call of gRPC gets its answer between headers and trailers", () =>
        Effect.gen(function* () {
          const shown = yield* nghttp([...grpc, "-d", calcBody, url(calc)])
          assertAnswered(shown, 1)
          // A flag, four bytes of length, a tag and a double.
          assert.equal(dataLength(shown), 5 + 9)
          const order = [":status: 200", "recv DATA frame", "grpc-status: 0"].map((text) => shown.indexOf(text))
          assert.deepEqual(
            order,
            order.toSorted((a, b) => a - b),
          )
        }))

      test("200 calls at once are answered on one connection, with priorities and without", () =>
        Effect.gen(function* () {
          for (const priorities of [["-p", "1"], ["--no-dep"]]) {
            const shown = yield* nghttp([...priorities, "-m", "200", ...grpc, "-d", calcBody, url(calc)])
            assertAnswered(shown, 200)
            assert.equal(count(shown, /Connected$/gm), 1)
          }
        }))

      for (const [how, option] of [
        ["with padding", ["-b", "255"]],
        ["of no declared length", ["--no-content-length"]],
      ] as const) {
        test(`an upload of ${(chunks * 100_000) / 1e6} MB ${how} arrives whole`, () =>
          Effect.gen(function* () {
            const type = ["-H", "content-type: application/connect+json"]
            const shown = yield* nghttp([...option, ...type, "-d", uploadBody, url(streamingInputCall)])
            assert.ok(shown.includes(`{"aggregatedPayloadSize":${chunks * 100_000}}`), shown)
          }))
      }

      test("answers arrive whole through windows of a kibibyte", () =>
        Effect.gen(function* () {
          const windows = ["-w", "10", "-W", "10"]
          const shown = yield* nghttp([...windows, "-m", "5", ...grpc, "-d", longAnswerBody, url(unaryCall)])
          assertAnswered(shown, 5)
          assert.ok(dataLength(shown) > 5 * answerLength)
        }))

      test("a request may have trailers", () =>
        Effect.gen(function* () {
          assertAnswered(yield* nghttp(["--trailer", "x-checksum: 1", ...grpc, "-d", calcBody, url(calc)]), 1)
        }))

      // It shows a block as the one frame that it would be; more than 16 KiB don't fit in one.
      const lengthOf = (shown: string) => Number(/send HEADERS frame <length=(\d+)/.exec(shown)?.[1])

      test("headers in more than one frame are taken", () =>
        Effect.gen(function* () {
          const shown = yield* nghttp(["--continuation", ...grpc, "-d", calcBody, url(calc)])
          assert.ok(lengthOf(shown) > 16_384)
          assertAnswered(shown, 1)
        }))

      test("headers over the limit, in more than one frame, end their call", () =>
        Effect.gen(function* () {
          const many = Array.from({ length: 1500 }, () => ["-H", "x-a: b"]).flat()
          const shown = yield* nghttp(["--continuation", ...many, ...grpc, "-d", calcBody, url(calc)])
          assert.ok(lengthOf(shown) > 16_384)
          assert.match(shown, /recv \(stream_id=\d+\) grpc-status: 8$/m)
        }))

      for (const [how, sizes] of [
        ["no table", ["-c", "0", "--encoder-header-table-size=0"]],
        ["a small table", ["-c", "100", "--encoder-header-table-size=100"]],
        ["a large table", ["-c", "65536", "--encoder-header-table-size=65536"]],
        ["no table at first and then the usual one", ["-c", "0", "-c", "4096"]],
      ] as const) {
        test(`a client may have ${how} for headers`, () =>
          Effect.gen(function* () {
            assertAnswered(yield* nghttp([...sizes, "-m", "20", ...grpc, "-d", calcBody, url(calc)]), 20)
          }))
      }

      test("5000 calls over 10 connections, 20 at a time on each, are answered", () =>
        Effect.gen(function* () {
          const shown = yield* h2load(5000, ["-c", "10", "-m", "20", ...grpc, "-d", calcBody, url(calc)])
          assert.match(shown, secure ? /^Application protocol: h2$/m : /^Application protocol: h2c$/m)
          assert.match(shown, new RegExp(`, .* \\(${5000 * (5 + 9)}\\) data$`, "m"))
        }))

      test("calls wait for their turn where there are more than a connection may have", () =>
        h2load(1000, ["-c", "1", "-m", "500", ...grpc, "-d", calcBody, url(calc)]))

      test("answers of 100 kB go through narrow windows and wide ones", () =>
        Effect.gen(function* () {
          for (const bits of ["10", "16", "20", "30"]) {
            const windows = ["-w", bits, "-W", bits]
            yield* h2load(50, [...windows, "-c", "2", "-m", "5", ...grpc, "-d", longAnswerBody, url(unaryCall)])
          }
        }))

      test("1000 calls of JSON over HTTP/1.1 on 10 connections are answered", () =>
        Effect.gen(function* () {
          const json = ["-H", "content-type: application/json"]
          const shown = yield* h2load(1000, ["--h1", "-c", "10", ...json, "-d", calcJson, url(calc)])
          assert.match(shown, /^Application protocol: http\/1\.1$/m)
        }))
    })
  }
}
