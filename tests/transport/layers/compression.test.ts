import assert from "node:assert/strict"
import { describe } from "node:test"
import * as zlib from "node:zlib"
import { create, toBinary } from "@bufbuild/protobuf"
import { Effect, Result, Stream } from "effect"
import fc from "fast-check"
import type { Encoding } from "../../../src/core/rpc/compression.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { protocols } from "../../../src/transport/channel.ts"
import { LogEntrySchema, PiCalculator, PiResponseSchema } from "../../../src/transport/gen/pi_pb.ts"
import { brotli, compression, encodings, gzip } from "../../../src/transport/layers/compression.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import {
  between,
  bytes,
  calculator,
  dataFrames,
  dial,
  envelope,
  grpcStatus,
  type Headers,
  http1,
  http2Requests,
  padded,
  pi,
  request999,
  start,
} from "../support.ts"

const MiB = 1024 * 1024

const compressed = (encoding: Encoding, message: Uint8Array) => Effect.runPromise(encoding.compress(message))
const decompressed = (encoding: Encoding, message: Uint8Array, maxBytes: number) =>
  Effect.runPromise(Effect.result(encoding.decompress(message, maxBytes)))

const codeOf = (result: Result.Result<unknown, RpcError>) => (Result.isFailure(result) ? result.failure.code : "ok")

const failed = (encoding: Encoding, message: Uint8Array, maxBytes: number) =>
  Effect.flip(encoding.decompress(message, maxBytes))

for (const encoding of encodings) {
  describe(encoding.name, () => {
    test("gives back what it compressed, if the limit is no less", () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.uint8Array({ size: "large" }), async (message) => {
            const result = await decompressed(encoding, await compressed(encoding, message), message.length)
            assert.ok(result._tag === "Success")
            assert.deepEqual(new Uint8Array(result.success), message)
          }),
        ),
      ))

    test("makes what repeats much smaller", () =>
      Effect.gen(function* () {
        assert.ok((yield* encoding.compress(new Uint8Array(MiB))).length < MiB / 100)
      }))

    test("stops at the limit, were it a byte or a bomb", () =>
      Effect.gen(function* () {
        const message = yield* encoding.compress(bytes("0123456789"))
        const bomb = yield* encoding.compress(new Uint8Array(50 * MiB))
        assert.equal((yield* encoding.decompress(message, 10)).length, 10)
        for (const [sent, limit] of [[message, 9] as const, [message, 0] as const, [bomb, 4 * MiB] as const]) {
          const { code, message } = yield* failed(encoding, sent, limit)
          assert.deepEqual(
            [code, message],
            ["resource_exhausted", `the message is over ${limit} bytes when decompressed`],
          )
        }
      }))

    test("refuses bytes that are not its own, and those that end too soon", () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.uint8Array({ minLength: 16 }), fc.nat(), async (message, at) => {
            const whole = await compressed(encoding, message)
            const foreign = await decompressed(encoding, message, MiB)
            // Any bytes may happen to be brotli of something.
            if (encoding !== brotli || foreign._tag === "Failure") assert.equal(codeOf(foreign), "internal")
            const cut = await decompressed(encoding, whole.subarray(0, 1 + (at % (whole.length - 1))), MiB)
            assert.equal(codeOf(cut), "internal")
          }),
        ),
      ))
  })
}

const wordy = Service.make(PiCalculator, {
  ...calculator,
  calc: ({ n }) => Effect.succeed(padded(create(PiResponseSchema, { value: n }))),
})

const grpc: Headers = { "content-type": "application/grpc", te: "trailers" }

describe("decompression", () => {
  const bomb = gzip.compress(new Uint8Array(4 * MiB))

  test("holds few messages at once of many that become long", () =>
    Effect.gen(function* () {
      const message = yield* bomb
      const before = process.memoryUsage().rss
      let most = 0
      const look = Effect.sync(() => {
        most = Math.max(most, process.memoryUsage().rss - before)
      })
      const one = Effect.andThen(gzip.decompress(message, 4 * MiB), look)
      yield* Effect.all(
        Array.from({ length: 150 }, () => one),
        { concurrency: "unbounded", discard: true },
      )
      // All of them have 600 MiB, and twice as much while they are put together.
      assert.ok(most < 400 * MiB, `${most} bytes`)
    }))

  test("of who is interrupted leaves others their turn", () =>
    Effect.gen(function* () {
      const message = yield* bomb
      const short = yield* gzip.compress(bytes("short"))
      for (let i = 0; i < 8; i++) yield* Effect.raceFirst(gzip.decompress(message, 4 * MiB), Effect.yieldNow)
      assert.equal((yield* gzip.decompress(short, 10)).length, 5)
    }))
})

describe("a server with compression", () => {
  test("takes gzip in requests, others where it is asked to, and responds in all", () =>
    Effect.gen(function* () {
      const inBr = envelope(zlib.brotliCompressSync(request999), 1)
      const headers = { ...grpc, "grpc-encoding": "br", "grpc-accept-encoding": "br" }
      const byDefault = yield* http2Requests(yield* start(wordy.pipe(compression())))
      const refused = yield* byDefault(headers, inBr)
      assert.equal(grpcStatus(refused), 12)
      assert.equal(refused.headers["grpc-accept-encoding"], "identity,gzip")
      const asked = compression(encodings, { requests: [brotli] })
      for (const layer of [compression([brotli]), compression(encodings), asked]) {
        const request = yield* http2Requests(yield* start(wordy.pipe(layer)))
        const response = yield* request(headers, inBr)
        assert.equal(grpcStatus(response), 0)
        assert.equal(response.headers["grpc-encoding"], "br")
      }
      const gzipped = { ...grpc, "grpc-encoding": "gzip" }
      const only = yield* http2Requests(yield* start(wordy.pipe(asked)))
      assert.equal(grpcStatus(yield* only(gzipped, envelope(zlib.gzipSync(request999), 1))), 12)
    }))

  test("takes messages that become a hundred times as long and no more, where they are over 1 MiB then", () =>
    Effect.gen(function* () {
      const gzipped = { ...grpc, "grpc-encoding": "gzip" }
      const text = (length: number) => toBinary(LogEntrySchema, create(LogEntrySchema, { text: "t".repeat(length) }))
      const send = (length: number) => envelope(zlib.gzipSync(text(length)), 1)
      const toReport = { ...gzipped, ":path": "/pi.PiCalculator/Report" }
      const request = yield* http2Requests(yield* start(pi.pipe(compression())))
      assert.equal(grpcStatus(yield* request(toReport, send(MiB - 10))), 0)
      assert.equal(grpcStatus(yield* request(toReport, send(MiB + 10))), 8)
      const more = yield* http2Requests(yield* start(pi.pipe(compression([gzip], { maxRatio: 2000 }))))
      assert.equal(grpcStatus(yield* more(toReport, send(MiB + 10))), 0)
    }))

  test("takes compressed requests and compresses large answers, in the encoding that the client accepts", () =>
    Effect.gen(function* () {
      const request = yield* http2Requests(yield* start(wordy.pipe(compression())))
      const inflate = { gzip: zlib.gunzipSync, br: zlib.brotliDecompressSync }
      for (const accepted of ["gzip", "br"] as const) {
        const { headers, trailers, body } = yield* request(
          { ...grpc, "grpc-encoding": "gzip", "grpc-accept-encoding": accepted },
          envelope(zlib.gzipSync(request999), 1),
        )
        assert.equal(trailers["grpc-status"], "0")
        assert.equal(headers["grpc-encoding"], accepted)
        assert.equal(body[0], 1)
        assert.equal(body.readUInt32BE(1), body.length - 5)
        assert.ok(body.length < 200)
        assert.ok(inflate[accepted](body.subarray(5)).length > 4096)
      }
    }))

  test("leaves small answers as they are, and all answers to those who accept no encoding", () =>
    Effect.gen(function* () {
      const accept = { ...grpc, "grpc-accept-encoding": "gzip" }
      const small = yield* http2Requests(yield* start(pi.pipe(compression())))
      assert.equal((yield* small(accept, envelope(request999))).body[0], 0)
      const large = yield* http2Requests(yield* start(wordy.pipe(compression())))
      assert.equal((yield* large(accept, envelope(request999))).body[0], 1)
      assert.equal((yield* large(grpc, envelope(request999))).body[0], 0)
      const all = yield* http2Requests(yield* start(pi.pipe(compression([gzip], { minBytes: 0 }))))
      assert.equal((yield* all(accept, envelope(request999))).body[0], 1)
    }))

  test("answers unimplemented to an encoding that it doesn't have, and names those it has", () =>
    Effect.gen(function* () {
      const server = yield* start(pi.pipe(compression([gzip, brotli])))
      const overHttp2 = yield* http2Requests(server)
      const answer = yield* overHttp2({ ...grpc, "grpc-encoding": "snappy" }, envelope(request999, 1))
      assert.equal(grpcStatus(answer), 12)
      assert.equal(answer.headers["grpc-accept-encoding"], "identity,gzip,br")
      const overHttp1 = yield* http1(server)
      const json = { "content-type": "application/json", "content-encoding": "snappy" }
      const unary = yield* overHttp1(json, "{}")
      assert.deepEqual([unary.status, JSON.parse(`${unary.body}`).code], [501, "unimplemented"])
      assert.equal(unary.headers["accept-encoding"], "identity,gzip,br")
      const good = yield* overHttp1({ ...json, "content-encoding": "gzip" }, zlib.gzipSync('{"n":999}'))
      assert.equal(good.status, 200)
    }))

  test("answers resource_exhausted to a bomb and to broken bytes what the protocol has for them, and goes on", () =>
    Effect.gen(function* () {
      const server = yield* start(pi.pipe(compression()))
      const overHttp2 = yield* http2Requests(server)
      const overHttp1 = yield* http1(server)
      const bomb = zlib.gzipSync(new Uint8Array(50 * MiB))
      const broken = zlib.gzipSync(request999).fill(0, 10)
      for (const [body, status, http] of [[bomb, 8, 429] as const, [broken, 13, 400] as const]) {
        const answer = yield* overHttp2({ ...grpc, "grpc-encoding": "gzip" }, envelope(body, 1))
        assert.equal(grpcStatus(answer), status)
        const unary = yield* overHttp1({ "content-type": "application/proto", "content-encoding": "gzip" }, body)
        assert.equal(unary.status, http)
      }
      assert.equal(grpcStatus(yield* overHttp2(grpc, envelope(request999))), 0)
      assert.equal((yield* overHttp1({ "content-type": "application/json" }, '{"n":999}')).status, 200)
    }))

  test("answers internal to a message marked as compressed by who named no encoding", () =>
    Effect.gen(function* () {
      const request = yield* http2Requests(yield* start(pi.pipe(compression())))
      assert.equal(grpcStatus(yield* request(grpc, envelope(zlib.gzipSync(request999), 1))), 13)
    }))
})

describe("a server without compression", () => {
  test("takes nothing compressed and compresses nothing", () =>
    Effect.gen(function* () {
      const server = yield* start(wordy)
      const request = yield* http2Requests(server)
      const gzipped = envelope(zlib.gzipSync(request999), 1)
      assert.equal(grpcStatus(yield* request({ ...grpc, "grpc-encoding": "gzip" }, gzipped)), 12)
      const { headers, body } = yield* request({ ...grpc, "grpc-accept-encoding": "gzip" }, envelope(request999))
      assert.deepEqual([headers["grpc-encoding"], body[0]], [undefined, 0])
      const unary = yield* (yield* http1(server))(
        { "content-type": "application/proto", "content-encoding": "gzip" },
        zlib.gzipSync(request999),
      )
      assert.equal(unary.status, 501)
    }))
})

describe("a client with compression", () => {
  test("sends large messages compressed, in the first of its encodings, and small ones as they are", () =>
    Effect.gen(function* () {
      const server = yield* start(pi.pipe(compression(encodings)))
      for (const [encoding, inflate] of [
        [gzip, zlib.gunzipSync],
        [brotli, zlib.brotliDecompressSync],
      ] as const) {
        const middle = yield* between(server)
        const client = yield* dial(middle, {}, compression([encoding], { minBytes: 100 }))
        yield* client.calc({ n: 999 })
        yield* client.report({ text: "t".repeat(4000) })
        const [small, large] = dataFrames(middle.sent()).filter((payload) => payload.length > 0)
        assert.deepEqual(small, Buffer.from(envelope(request999)))
        assert.equal(large?.[0], 1)
        assert.ok(`${inflate(large.subarray(5))}`.endsWith("t".repeat(4000)))
      }
    }))

  for (const protocol of protocols) {
    for (const encoding of encodings) {
      test(`and its server understand each other over ${protocol} in ${encoding.name}`, () =>
        Effect.gen(function* () {
          const layer = compression([encoding], { minBytes: 0 })
          const lengths: Array<number> = []
          const service = Service.make(PiCalculator, {
            ...calculator,
            report: ({ text }) => Effect.sync(() => void lengths.push(text.length)).pipe(Effect.as({})),
          })
          const client = yield* dial(yield* start(service.pipe(layer)), { protocol }, layer)
          yield* client.report({ text: "t".repeat(100_000) })
          assert.deepEqual(lengths, [100_000])
          const points = yield* Stream.runCollect(client.calcRange({ first: 1, last: 50 }))
          assert.equal(points.length, 50)
          assert.equal((yield* client.summarize(Stream.map(Stream.range(1, 50), (n) => ({ n })))).count, 50)
          const error = yield* Effect.flip(client.calc({ n: 0 }))
          assert.deepEqual([error.code, error.details.length], ["invalid_argument", 2])
        }))
    }

    test(`over ${protocol} fails with resource_exhausted on an answer that grows over its limit`, () =>
      Effect.gen(function* () {
        const client = yield* dial(
          yield* start(wordy.pipe(compression())),
          { protocol, maxReceiveBytes: 1000 },
          compression(),
        )
        const error = yield* Effect.flip(client.calc({ n: 1 }))
        assert.ok(error instanceof RpcError)
        assert.equal(error.code, "resource_exhausted")
      }))
  }
})
