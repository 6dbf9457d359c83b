import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Result, type Scope } from "effect"
import { piClosedForm } from "../../src/core/pi/series.ts"
import { Call } from "../../src/core/rpc/call.ts"
import * as Metadata from "../../src/core/rpc/metadata.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import type { ServeOptions, Server } from "../../src/transport/server.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import {
  type Answer,
  bytes,
  calculator,
  envelope,
  grpcStatus,
  type Headers,
  http1,
  http2Requests,
  pi,
  type Requests,
  request1,
  request2,
  request999,
  start,
  wire,
} from "./support.ts"

interface Bad {
  readonly headers?: Headers
  readonly body?: string | Uint8Array
  /** The status that must be answered: gRPC's number, or HTTP's. */
  readonly status: number
  /** What the answer must say. */
  readonly says?: RegExp
}

/** Makes each bad request on one connection, and between them and at the end a good one. */
const each = (
  open: (server: Server) => Effect.Effect<Requests, Error, Scope.Scope>,
  base: Headers,
  good: string | Uint8Array,
  status: (answer: Answer) => number,
  cases: Readonly<Record<string, Bad>>,
  options: ServeOptions = {},
) =>
  Effect.gen(function* () {
    const request = yield* open(yield* start(pi, options))
    for (const [name, { headers, body = good, status: expected, says }] of Object.entries(cases)) {
      const answer = yield* request({ ...base, ...headers }, body)
      assert.equal(status(answer), expected, `${name}: ${JSON.stringify(answer)} ${answer.body}`)
      if (says !== undefined) assert.match(text(answer), says, name)
      const after = yield* request(base, good)
      assert.equal(after.status, 200, `after ${name}: ${after.body}`)
      assert.ok(after.body.length > 9, `after ${name}`)
    }
  })

/** All that an answer says, wherever it says it. */
const text = ({ headers, trailers, body }: Answer): string =>
  [decodeURI(trailers["grpc-message"] ?? headers["grpc-message"] ?? ""), decodeURI(`${body}`)].join(" ")

const grpc: Headers = { "content-type": "application/grpc", te: "trailers" }

/** What is wrong in gRPC and gRPC-Web alike. */
const envelopes: Readonly<Record<string, Bad>> = {
  "no message": { body: "", status: 12, says: /missing message/ },
  "two messages": {
    body: Buffer.concat([envelope(request999), envelope(request999)]),
    status: 12,
    says: /extra message/,
  },
  "a message that is no protobuf": {
    body: envelope(bytes("\xff\xff\xff")),
    status: 13,
    says: /is no pi\.PiRequest/,
  },
  "an envelope cut off in its message": {
    body: envelope(request999).subarray(0, 6),
    status: 3,
    says: /ends within a message/,
  },
  "an envelope cut off in its length": {
    body: envelope(request999).subarray(0, 3),
    status: 3,
    says: /ends within a message/,
  },
  "a message that says it is over 4 MiB": {
    body: new Uint8Array([0, 0, 64, 0, 1]),
    status: 8,
    says: /4194305.*4194304/,
  },
  "a message that says it is 4 GiB": { body: new Uint8Array([0, 255, 255, 255, 255]), status: 8, says: /4194304/ },
  "a timeout that is none": { headers: { "grpc-timeout": "abc" }, status: 3, says: /timeout/ },
  "a timeout in a unit that there isn't": { headers: { "grpc-timeout": "5x" }, status: 3, says: /timeout/ },
  "a timeout with nine digits": { headers: { "grpc-timeout": "123456789S" }, status: 3, says: /timeout/ },
  "a negative timeout": { headers: { "grpc-timeout": "-1S" }, status: 3, says: /timeout/ },
  "a timeout that is over": { headers: { "grpc-timeout": "0n" }, status: 4 },
  "a number that is 0": { body: envelope(new Uint8Array()), status: 3, says: /request number should be positive/ },
  "a number below 0": {
    body: envelope(new Uint8Array([8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1])),
    status: 3,
    says: /request number should be positive/,
  },
  "metadata that is no base64": { headers: { "x-bin": "%%%", "y-bin": "A" }, status: 0 },
  "a path that isn't there": { headers: { ":path": "/pi.PiCalculator/Nope" }, status: 12, says: /Nope is not served/ },
  "a path with odd characters": { headers: { ":path": "/%00%zz/~?%" }, status: 12 },
}

/** The status in the last envelope of gRPC-Web, or in front if there is no body. */
const webStatus = ({ headers, body }: Answer): number =>
  Number(headers["grpc-status"] ?? /grpc-status: (\d+)/.exec(`${body}`)?.[1])

const json: Headers = { "content-type": "application/json" }
const good = '{"n":999}'

/** What is wrong in Connect's unary calls. */
const unary: Readonly<Record<string, Bad>> = {
  "nothing at all": { body: "", status: 400, says: /invalid_argument/ },
  "no JSON": { body: '{"n":', status: 400, says: /invalid_argument/ },
  "JSON that is no object": { body: "7", status: 400, says: /invalid_argument/ },
  "text for a number": { body: '{"n":"seven"}', status: 400, says: /invalid_argument.*PiRequest\.n/ },
  "a fraction": { body: '{"n":1.5}', status: 400, says: /invalid_argument.*PiRequest\.n/ },
  "a number over int32": { body: '{"n":2147483648}', status: 400, says: /invalid_argument.*PiRequest\.n/ },
  "a number below int32": { body: '{"n":-2147483649}', status: 400, says: /invalid_argument.*PiRequest\.n/ },
  "a number that is 0": { body: '{"n":0}', status: 400, says: /request number should be positive.*BadRequest/s },
  "a number that is left out": { body: "{}", status: 400, says: /request number should be positive/ },
  "protobuf that is none": {
    headers: { "content-type": "application/proto" },
    body: "\xff\xff",
    status: 400,
    says: /invalid_argument.*is no pi\.PiRequest/,
  },
  "another content type": { headers: { "content-type": "text/plain" }, status: 415 },
  "a timeout that is none": { headers: { "connect-timeout-ms": "abc" }, status: 400, says: /timeout/ },
  "a timeout with eleven digits": { headers: { "connect-timeout-ms": "12345678901" }, status: 400, says: /timeout/ },
  "metadata that is no base64": { headers: { "x-bin": "%%%", "y-bin": "A" }, status: 200 },
  "a path that isn't there": { headers: { ":path": "/pi.PiCalculator/Nope" }, status: 404, says: /not found/ },
  "a path with odd characters": { headers: { ":path": "/%00%zz/?%" }, status: 404, says: /not found/ },
  "the root": { headers: { ":path": "/", ":method": "GET" }, body: "", status: 404, says: /not found/ },
  "a GET of a method with side effects": {
    headers: { ":path": "/pi.PiCalculator/Report?connect=v1&encoding=json&message=%7B%7D", ":method": "GET" },
    body: "",
    status: 405,
  },
  "a GET with a message that is none": {
    headers: { ":path": "/pi.PiCalculator/Calc?connect=v1&encoding=json&message=no", ":method": "GET" },
    body: "",
    status: 400,
    says: /invalid_argument/,
  },
  "a GET in an encoding that there isn't": {
    headers: { ":path": "/pi.PiCalculator/Calc?connect=v1&encoding=xml&message=", ":method": "GET" },
    body: "",
    status: 415,
  },
  "another HTTP method": { headers: { ":method": "PUT" }, status: 405 },
}

const httpStatus = ({ status }: Answer): number => status

describe("bad input has its own clear status, and the connection goes on,", () => {
  test("in gRPC", () => each(http2Requests, grpc, envelope(request999), grpcStatus, envelopes))

  test("in gRPC with an HTTP status where gRPC has none", () =>
    each(http2Requests, grpc, envelope(request999), httpStatus, {
      "another content type": { headers: { "content-type": "text/plain" }, status: 415 },
      "another HTTP method": { headers: { ":method": "PUT" }, status: 405 },
    }))

  for (const [http, open] of [
    ["HTTP/1.1", http1],
    ["HTTP/2", http2Requests],
  ] as const) {
    const web: Headers = { "content-type": "application/grpc-web" }
    test(`in gRPC-Web over ${http}`, () => each(open, web, envelope(request999), webStatus, envelopes))

    test(`in Connect's unary calls over ${http}`, () => each(open, json, good, httpStatus, unary))

    test(`in Connect's streams over ${http}`, () => {
      const range: Headers = { ":path": "/pi.PiCalculator/CalcRange", "content-type": "application/connect+json" }
      const body = envelope(bytes('{"first":1,"last":3}'))
      return each(open, range, body, httpStatus, {
        "no message": { body: "", status: 200, says: /"error":{"code":"unimplemented".*missing/ },
        "no JSON": { body: envelope(bytes("{")), status: 200, says: /"error":{"code":"invalid_argument"/ },
        "half an envelope": {
          body: body.subarray(0, 9),
          status: 200,
          says: /"code":"invalid_argument".*ends within a message/,
        },
        "a range that is none": {
          body: envelope(bytes('{"first":3,"last":1}')),
          status: 200,
          says: /"code":"invalid_argument".*BadRequest/,
        },
        "a message over 4 MiB": {
          body: new Uint8Array([0, 0, 64, 0, 1]),
          status: 200,
          says: /"code":"resource_exhausted"/,
        },
      })
    })

    test(`in messages over the limit that the server was given, over ${http}`, () =>
      Effect.gen(function* () {
        const server = yield* start(pi, { maxReceiveBytes: 10 })
        const request = yield* open(server)
        const over = yield* request(json, '{"n": 1234}')
        assert.deepEqual([over.status, JSON.parse(`${over.body}`).code], [429, "resource_exhausted"])
        assert.equal((yield* request(json, '{"n":1234}')).status, 200)
        const web = yield* request({ "content-type": "application/grpc-web" }, envelope(new Uint8Array(11)))
        assert.equal(webStatus(web), 8)
      }))

    test(`in a message of 5 MiB over ${http}, after which other connections go on at least`, () =>
      Effect.gen(function* () {
        const server = yield* start(pi)
        const request = yield* open(server)
        const answer = yield* request(json, `{"n":1${" ".repeat(5 * 1024 * 1024)}}`)
        assert.deepEqual([answer.status, JSON.parse(`${answer.body}`).code], [429, "resource_exhausted"])
        assert.equal((yield* (yield* open(server))(json, good)).status, 200)
      }))

    test(`where a good GET is answered over ${http}, in JSON and in protobuf`, () =>
      Effect.gen(function* () {
        const request = yield* open(yield* start(pi))
        const get = (query: string) => request({ ":method": "GET", ":path": `/pi.PiCalculator/Calc?${query}` })
        const inJson = yield* get("connect=v1&encoding=json&message=%7B%22n%22%3A999%7D")
        assert.deepEqual(
          [inJson.status, inJson.headers["content-type"], `${inJson.body}`],
          [200, "application/json", JSON.stringify({ value: piClosedForm(999) })],
        )
        const message = Buffer.from(request999).toString("base64url")
        const inProto = yield* get(`connect=v1&encoding=proto&base64=1&message=${message}`)
        assert.deepEqual([inProto.status, inProto.body.length], [200, 9])
      }))
  }
})

describe("bad input", () => {
  test("in metadata leaves out the entry alone", () =>
    Effect.gen(function* () {
      const seen: Array<Metadata.Metadata> = []
      const service = Service.make(PiCalculator, {
        ...calculator,
        calc: () => Effect.map(Call, ({ metadata }) => ({ value: seen.push(metadata) })),
      })
      const request = yield* http2Requests(yield* start(service))
      const odd = { "bad-bin": "A", "good-bin": "AQ", "some-bin": "AQ,%%,Ag==", "x-text": "caf\xe9", "x-tab": "a\tb" }
      yield* request({ ...grpc, ...odd }, envelope(request999))
      yield* request({ ...json, ...odd }, good)
      const one = new Uint8Array([1])
      for (const metadata of seen) {
        const values = Object.keys(odd).map((key) => Metadata.getAll(metadata, key))
        assert.deepEqual(values, [[], [one], [one, new Uint8Array([2])], [], []])
        // What has come may be sent back.
        assert.ok(Result.isSuccess(Metadata.make(metadata)))
      }
      assert.equal(seen.length, 2)
    }))

  test("is no content type with parameters, or in capitals: gRPC has none, and answers without", () =>
    Effect.gen(function* () {
      const request = yield* http2Requests(yield* start(pi))
      for (const parameters of ["", "; charset=utf-8", ";a=b"]) {
        const headers = { ...grpc, "content-type": `application/gRPC+proto${parameters}` }
        const answer = yield* request(headers, envelope(request999))
        assert.deepEqual([answer.headers["content-type"], grpcStatus(answer)], ["application/grpc+proto", 0])
      }
    }))

  test("in the content type of a path that isn't there is answered in that content type", () =>
    Effect.gen(function* () {
      const request = yield* http2Requests(yield* start(pi))
      for (const contentType of ["application/grpc", "application/grpc+proto", "application/grpc-web+proto"]) {
        const headers = { "content-type": contentType, ":path": "/nope.Nope/Nope" }
        const answer = yield* request(headers, envelope(request999))
        assert.deepEqual([answer.status, answer.headers["content-type"]], [200, contentType])
        assert.equal(decodeURI(String(answer.headers["grpc-message"])), "/nope.Nope/Nope is not served here")
      }
    }))

  test("in the host ends no more than that request", () =>
    Effect.gen(function* () {
      const server = yield* start(pi)
      const others = yield* http2Requests(server)
      const whole = `${request1(json, good)}`
      for (const request of [
        whole.replace("HTTP/1.1", "HTTP/1.0").replace("host: localhost\r\n", ""),
        whole.replace("host: localhost\r\n", ""),
        whole.replace("localhost", ""),
        whole.replace("localhost", "a b"),
        whole.replace("localhost", "["),
      ]) {
        const { send, receive } = yield* wire(server)
        yield* send(request)
        const first = yield* receive((received) => /^HTTP\/1\.1 \d+/.exec(`${received}`)?.[0])
        assert.equal(first, "HTTP/1.1 400", request)
        assert.equal(grpcStatus(yield* others(grpc, envelope(request999))), 0)
      }
      for (const headers of [{}, { ":authority": "a b" }, { ":authority": "[" }]) {
        const { send, receive } = yield* wire(server)
        yield* send(request2({ ...headers, ...json }, good))
        // A RST_STREAM, a GOAWAY or an answer, as the runtime sees it: but not 200, which is 0x88 in HPACK.
        yield* receive((received) => (received.length > 9 + 9 ? true : undefined))
        assert.equal(grpcStatus(yield* others(grpc, envelope(request999))), 0)
      }
    }))

  test("in headers without end ends no more than that connection", () =>
    Effect.gen(function* () {
      const server = yield* start(pi)
      const others = yield* http1(server)
      const { send, closed } = yield* wire(server)
      yield* send("GET / HTTP/1.1\r\nhost: localhost\r\n", `x: ${"x".repeat(200_000)}\r\n`)
      assert.match(`${yield* closed}`, /^HTTP\/1\.1 431 /)
      assert.equal((yield* others(json, good)).status, 200)
    }))
})
