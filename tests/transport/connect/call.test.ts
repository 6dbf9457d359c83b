import assert from "node:assert/strict"
import { describe } from "node:test"
import * as zlib from "node:zlib"
import { Deferred, Effect, Stream } from "effect"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { Call } from "../../../src/core/rpc/call.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { compression, gzip } from "../../../src/transport/layers/compression.ts"
import type { Server } from "../../../src/transport/server.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import {
  bytes,
  calculator,
  envelope,
  type Headers,
  http1,
  http2Requests,
  http2Session,
  pi,
  request1,
  request999,
  requests2,
  start,
  wire,
  withLog,
} from "../support.ts"

const path = (method: string) => ({ ":path": `/pi.PiCalculator/${method}` })
const json: Headers = { "content-type": "application/json", ...path("Calc") }
const stream = (method: string): Headers => ({ "content-type": "application/connect+proto", ...path(method) })
const web = (method: string): Headers => ({ "content-type": "application/grpc-web", ...path(method) })

const slow: Readonly<Record<string, Headers>> = {
  "a unary call in JSON": json,
  "a stream of Connect that begins with its message": stream("CalcRange"),
  "a stream of Connect to the server": stream("Summarize"),
  "a call of gRPC-Web": web("Calc"),
  "a stream of gRPC-Web": web("CalcRange"),
}

const over = /deadline_exceeded|grpc-status: 4\r\n/

describe("a call whose body never comes", () => {
  for (const [what, headers] of Object.entries(slow)) {
    test(`ends at its service's limit: ${what}`, () =>
      Effect.gen(function* () {
        const service = Service.make(PiCalculator, calculator).pipe(deadline("30 millis"))
        const server = yield* start(service)
        const session = yield* http2Session(server)
        const said = yield* Effect.callback<string, Error>((resume) => {
          let body = ""
          const opened = session.request({ ":method": "POST", ...headers }, { endStream: false })
          opened.on("data", (part: Uint8Array) => {
            body += part
            if (over.test(body)) resume(Effect.succeed(body))
          })
          opened.on("error", (error) => resume(Effect.fail(error)))
        })
        assert.match(said, over)
        const { send, receive } = yield* wire(server)
        yield* send(`${request1(headers)}`.replace("content-length: 0", "content-length: 5"))
        yield* receive((received) => (over.test(`${received}`) ? true : undefined))
      }))
  }
})

describe("bodies that are gathered", () => {
  test("are held within the memory of their connection: one too many is refused, and the others are served", () =>
    Effect.gen(function* () {
      // A stream's window counts too where it grows.
      const server = yield* start(pi, { memory: { connection: 1_000_000 }, limits: { streamWindow: 65_535 } })
      const session = yield* http2Session(server)
      const answers = yield* Effect.callback<ReadonlyArray<number>>((resume) => {
        const seen: Array<number> = []
        const opened = [1, 2, 3].map(() => session.request({ ":method": "POST", ...json }, { endStream: false }))
        for (const one of opened) {
          one.on("response", ({ ":status": status = 0 }) => {
            seen.push(status)
            // The first that is answered is the one that finds no room: it ended without its rest.
            if (seen.length === 1) for (const other of opened) if (other !== one) other.end('{"n":999}')
            if (seen.length === 3) resume(Effect.succeed(seen))
          })
          one.on("error", () => {})
          one.resume()
          one.write(" ".repeat(400_000))
        }
      })
      assert.deepEqual(answers, [429, 200, 200])
      while (server.memory.used > 8192) yield* Effect.sleep("10 millis")
    }))
})

describe("a compressed request", () => {
  for (const [protocol, requests] of [
    ["HTTP/2", http2Requests],
    ["HTTP/1.1", http1],
  ] as const) {
    test(`is held as what it is once it is decompressed, over ${protocol}`, () =>
      Effect.gen(function* () {
        const running = yield* Deferred.make<number>()
        const calc = () => Effect.andThen(Deferred.succeed(running, server.memory.used), Effect.never)
        const service = Service.make(PiCalculator, { ...calculator, calc }).pipe(deadline({ max: 500 }), compression())
        const server: Server = yield* start(service)
        const request = yield* requests(server)
        const body = zlib.gzipSync(`{"n":999${" ".repeat(900_000)}}`)
        const answer = yield* request({ ...json, "content-encoding": "gzip" }, body)
        assert.equal(answer.status, 504)
        const used = yield* Deferred.await(running)
        assert.ok(used > 900_000, `${used} bytes are held`)
        while (server.memory.used > 8192) yield* Effect.sleep("10 millis")
      }))
  }
})

describe("a stream of very many small messages", () => {
  for (const [protocol, headers] of [
    ["Connect", stream("Summarize")],
    ["gRPC-Web", web("Summarize")],
  ] as const) {
    test(`reaches its program in arrays, over ${protocol}`, () =>
      Effect.gen(function* () {
        const count = 100_000
        let messages = 0
        let arrays = 0
        const summarize = (requests: Stream.Stream<unknown, RpcError>) =>
          Effect.as(
            Stream.runForEachArray(requests, (some) =>
              Effect.sync(() => {
                messages += some.length
                arrays += 1
              }),
            ),
            {},
          )
        const request = yield* http2Requests(yield* start(Service.partial(PiCalculator, { summarize })))
        const one = envelope(new Uint8Array([8, 1]))
        const body = new Uint8Array(count * one.length)
        for (let at = 0; at < body.length; at += one.length) body.set(one, at)
        assert.equal((yield* request(headers, body)).status, 200)
        assert.equal(messages, count)
        assert.ok(arrays < count / 50, `${arrays} arrays`)
      }))
  }
})

const evil: ReadonlyArray<Metadata.Metadata> = [
  [["x-a", "b\r\nx-evil: 1"]],
  [["X-A", "b"]],
  [["connection", "close"]],
  [["grpc-status", "0"]],
]

describe("a response with metadata that can't be sent", () => {
  const set = (place: "header" | "trailer", metadata: Metadata.Metadata) =>
    Effect.map(Call, ({ response }) => {
      response[place] = metadata
    })
  const fails = (metadata: Metadata.Metadata) =>
    Effect.fail(new RpcError({ code: "not_found", message: "no", metadata }))
  const places: Readonly<Record<string, (metadata: Metadata.Metadata) => Effect.Effect<void, RpcError, Call>>> = {
    "its header": (metadata) => set("header", metadata),
    "its trailer": (metadata) => set("trailer", metadata),
    "its error": fails,
    "the trailer of an error": (metadata) => Effect.andThen(set("trailer", metadata), fails([])),
  }
  for (const [place, put] of Object.entries(places)) {
    for (const [http, open] of [
      ["HTTP/1.1", http1],
      ["HTTP/2", http2Requests],
    ] as const) {
      test(`has none of it and is internal, and the log names the key: ${place}, over ${http}`, () =>
        withLog((lines) =>
          Effect.gen(function* () {
            for (const metadata of evil) {
              const service = Service.partial(PiCalculator, {
                calc: () => Effect.as(put(metadata), { value: 3 }),
                calcRange: () => Stream.fromEffect(Effect.as(put(metadata), { n: 1, value: 3 })),
              })
              const request = yield* open(yield* start(service))
              for (const [headers, body] of [
                [json, "{}"],
                [stream("CalcRange"), envelope(request999)],
                [web("Calc"), envelope(request999)],
              ] as const) {
                lines.length = 0
                const answer = yield* request(headers, body)
                const all = `${JSON.stringify([answer.headers, answer.trailers])} ${answer.body}`
                assert.match(all, /"internal".*internal error|grpc-status: 13\r\n/)
                assert.doesNotMatch(all, /evil|X-A|x-a/)
                assert.equal(lines.length, 1, lines.join("\n"))
                assert.ok(lines[0]?.includes(JSON.stringify(metadata[0]?.[0])), lines.join())
              }
            }
          }),
        ))
    }
  }
})

const long = (value: string) => `{"n":999,"unknown":"${value.repeat(2000)}"}`

describe("compression", () => {
  for (const [http, open] of [
    ["HTTP/1.1", http1],
    ["HTTP/2", http2Requests],
  ] as const) {
    test(`of unary calls is HTTP's own, over ${http}`, () =>
      Effect.gen(function* () {
        const request = yield* open(yield* start(pi.pipe(compression([gzip], { minBytes: 0 }))))
        const compressed = { ...json, "content-encoding": "gzip", "accept-encoding": "br;q=1, gzip;q=0.5" }
        const answer = yield* request(compressed, zlib.gzipSync(long("x")))
        assert.equal(answer.headers["content-encoding"], "gzip")
        assert.match(`${zlib.gunzipSync(answer.body)}`, /^\{"value":3\.1/)
        for (const accepted of ["gzip;q=0", "identity", "br"]) {
          const plain = yield* request({ ...compressed, "accept-encoding": accepted }, zlib.gzipSync('{"n":1}'))
          assert.equal(plain.headers["content-encoding"], undefined)
          assert.match(`${plain.body}`, /^\{"value":/)
        }
      }))
  }

  test("that is not taken is refused with the names of what is, in each protocol's own fields", () =>
    Effect.gen(function* () {
      const request = yield* http2Requests(yield* start(pi.pipe(compression([gzip]))))
      const cases = [
        [{ ...json, "content-encoding": "zip" }, "accept-encoding", /"unimplemented".*identity, gzip/],
        [{ ...stream("CalcRange"), "connect-content-encoding": "zip" }, "connect-accept-encoding", /"unimplemented"/],
        [{ ...web("Calc"), "grpc-encoding": "zip" }, "grpc-accept-encoding", /grpc-status: 12\r\n/],
      ] as const
      for (const [headers, field, says] of cases) {
        const answer = yield* request(headers, "{}")
        assert.match(`${answer.body}`, says)
        assert.equal(answer.headers[field], "identity,gzip")
      }
    }))

  test("that bytes are not in is the client's fault over Connect", () =>
    Effect.gen(function* () {
      const request = yield* http2Requests(yield* start(pi.pipe(compression([gzip]))))
      const unary = yield* request({ ...json, "content-encoding": "gzip" }, "{}")
      const said = JSON.parse(`${unary.body}`)
      assert.deepEqual(
        [unary.status, said.code, said.message],
        [400, "invalid_argument", "the message is not valid gzip"],
      )
      const headers = { ...stream("CalcRange"), "connect-content-encoding": "gzip" }
      const streamed = yield* request(headers, envelope(request999, 1))
      assert.match(`${streamed.body}`, /"code":"invalid_argument"/)
    }))

  test("does not let a message be longer than the limit", () =>
    Effect.gen(function* () {
      const request = yield* http2Requests(yield* start(pi.pipe(compression([gzip])), { maxReceiveBytes: 1000 }))
      const answer = yield* request({ ...json, "content-encoding": "gzip" }, zlib.gzipSync(long("x")))
      assert.deepEqual([answer.status, JSON.parse(`${answer.body}`).code], [429, "resource_exhausted"])
    }))
})

describe("a request of another version of Connect", () => {
  test("is told which there is", () =>
    Effect.gen(function* () {
      const request = yield* http2Requests(yield* start(pi))
      const right = yield* request({ ...json, "connect-protocol-version": "1" }, '{"n":1}')
      assert.equal(right.status, 200)
      const wrong = yield* request({ ...json, "connect-protocol-version": "2" }, '{"n":1}')
      assert.equal(wrong.status, 400)
      assert.match(`${wrong.body}`, /set it to 1/)
      const get = yield* request({ ":method": "GET", ":path": "/pi.PiCalculator/Calc?connect=v2&encoding=json" })
      assert.equal(get.status, 400)
    }))
})

describe("a header that is sent before the first message", () => {
  test("comes alone over Connect", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const calcRange = () =>
        Stream.fromEffect(
          Effect.gen(function* () {
            const { response } = yield* Call
            response.header = Metadata.of({ "x-early": "yes" })
            response.flush?.()
            yield* Deferred.await(gate)
            return { n: 1 }
          }),
        )
      const session = yield* http2Session(yield* start(Service.partial(PiCalculator, { calcRange })))
      const opened = session.request({ ":method": "POST", ...stream("CalcRange") })
      const early = yield* Effect.callback<unknown>((resume) => {
        opened.on("response", (headers) => resume(Effect.succeed(headers["x-early"])))
        opened.end(envelope(request999))
      })
      assert.equal(early, "yes")
      yield* Deferred.succeed(gate, undefined)
    }))
})

describe("a cookie in several fields", () => {
  test("is one to the program", () =>
    Effect.gen(function* () {
      const cookies: Array<unknown> = []
      const calc = () =>
        Effect.map(Call, ({ metadata }) => ({ value: cookies.push(...Metadata.getAll(metadata, "cookie")) }))
      const session = yield* http2Session(yield* start(Service.partial(PiCalculator, { calc })))
      const request = requests2(session)
      // The runtime's client takes a list, which the helper's type has no word for.
      yield* request({ ...json, cookie: ["a=1", "b=2"] as unknown as string }, bytes("{}"))
      assert.deepEqual(cookies, ["a=1; b=2"])
    }))
})
