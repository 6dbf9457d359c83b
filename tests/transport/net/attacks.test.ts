/**
 * What one client does must not harm others: real servers and real sockets.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { readFileSync } from "node:fs"
import type * as http2 from "node:http2"
import * as net from "node:net"
import { join } from "node:path"
import { describe } from "node:test"
import * as zlib from "node:zlib"
import { Effect, type Scope, Stream } from "effect"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { compression } from "../../../src/transport/layers/compression.ts"
import type { Server } from "../../../src/transport/server.ts"
import * as Service from "../../../src/transport/service.ts"
import { file, running } from "../../e2e/command.ts"
import { test } from "../../effect.ts"
import { block, data, fields, frames, headers, hello, requestFields, settings, windowUpdate } from "../http2/support.ts"
import {
  calculator,
  dial,
  envelope,
  grpcStatus,
  http1,
  http2Requests,
  http2Session,
  pi,
  request1,
  request999,
  start,
  wire,
} from "../support.ts"
import { callOf, grpc, isPing, pong } from "./support.ts"

const pem = (name: string) => readFileSync(join(import.meta.dirname, "..", "certificates", name), "utf8")
const tls = { key: pem("server.key"), cert: pem("server.pem") }

/** `PiRange { first: 1, last: 2147483647 }`, which nobody will see the end of. */
const endless = Buffer.from([0x08, 0x01, 0x10, 0xff, 0xff, 0xff, 0xff, 0x07])

/** The widest windows that a client can give. */
const wide = Buffer.concat([settings([4, 0x7fff_ffff]), windowUpdate(0, 0x7fff_0000 - 65_535)])

/** A greeting, and a call on stream 1. */
const callFrames = (method: string, message: Uint8Array): Buffer =>
  Buffer.concat([hello, wide, headers(1, false, callOf(method)), data(1, envelope(message), true)])

/** Calls of another client, one after the other: how long the slowest of them took, in milliseconds. */
const slowestCall = (server: Server, count: number) =>
  Effect.gen(function* () {
    const request = yield* http2Requests(server)
    let slowest = 0
    for (let i = 0; i < count; i++) {
      const from = performance.now()
      const answer = yield* request(grpc, envelope(request999))
      assert.equal(grpcStatus(answer), 0)
      slowest = Math.max(slowest, performance.now() - from)
    }
    return slowest
  })

describe("a client", () => {
  test("that reads nothing of an endless stream keeps no one from being served, and its stream is held up", () =>
    Effect.gen(function* () {
      let made = 0
      const service = Service.make(PiCalculator, {
        ...calculator,
        calcRange: () => Stream.forever(Stream.sync(() => ({ n: made++, value: 3 }))),
      })
      const server = yield* start(service)
      const { socket, send } = yield* wire(server)
      socket.pause()
      yield* send(callFrames("CalcRange", endless))
      // It goes on until the buffers between the two are full, and then it waits.
      let before = -1
      while (made !== before || made === 0) {
        before = made
        yield* Effect.sleep("100 millis")
      }
      assert.ok((yield* slowestCall(server, 20)) < 1000)
      assert.equal(made, before)
    }))

  test("that reads none of its answers is not asked for more calls, and others are served", () =>
    Effect.gen(function* () {
      let calls = 0
      const long = new RpcError({ code: "internal", message: "x".repeat(10_000) })
      const failing = Effect.suspend(() => {
        calls += 1
        return Effect.fail(long)
      })
      const server = yield* start(
        Service.make(PiCalculator, { ...calculator, calc: ({ n }) => (n === 1 ? failing : calculator.calc({ n })) }),
      )
      const { socket, send } = yield* wire(server)
      socket.pause()
      yield* send(hello, wide)
      const [call, message] = [callOf("Calc"), envelope(Buffer.of(0x08, 1))]
      const all = Array.from({ length: 30_000 }, (_, i) => [
        headers(2 * i + 1, false, call),
        data(2 * i + 1, message, true),
      ])
      socket.write(Buffer.concat(all.flat()))
      let before = -1
      while (calls !== before || calls === 0) {
        before = calls
        yield* Effect.sleep("200 millis")
      }
      assert.ok(calls < 10_000, `${calls} answers of 10 KB wait in memory`)
      assert.ok((yield* slowestCall(server, 20)) < 1000)
    }))

  const streams: Readonly<Record<string, (server: Server) => Effect.Effect<unknown, Error, Scope.Scope>>> = {
    gRPC: (server) =>
      Effect.gen(function* () {
        const { send, receive, drop } = yield* wire(server)
        yield* send(callFrames("CalcRange", endless))
        yield* receive((received) => received.length > 100_000 || undefined)
        drop()
      }),
    "Connect on HTTP/2": (server) =>
      Effect.gen(function* () {
        const session = yield* http2Session(server)
        const stream = session.request({
          ":method": "POST",
          ":path": "/pi.PiCalculator/CalcRange",
          "content-type": "application/connect+proto",
        })
        stream.on("error", () => {})
        stream.end(envelope(endless))
        yield* manyBytes(stream)
      }),
    "Connect on HTTP/1.1": (server) =>
      Effect.gen(function* () {
        const { send, receive, drop } = yield* wire(server)
        const type = { "content-type": "application/connect+proto" }
        yield* send(request1({ ":path": "/pi.PiCalculator/CalcRange", ...type }, envelope(endless)))
        yield* receive((received) => received.length > 100_000 || undefined)
        drop()
      }),
  }
  for (const [protocol, begin] of Object.entries(streams)) {
    test(`that reads an endless stream of ${protocol} as fast as it can leaves time for others`, () =>
      Effect.gen(function* () {
        const server = yield* start(pi)
        yield* begin(server)
        const slowest = yield* slowestCall(server, 20)
        assert.ok(slowest < 1000, `a call took ${slowest} ms`)
      }))
  }

  test("that sends a decompression bomb is told so, and holds no more than the limit", () =>
    Effect.gen(function* () {
      const server = yield* start(pi.pipe(compression()))
      const request = yield* http2Requests(server)
      const bomb = zlib.gzipSync(Buffer.alloc(200_000_000))
      const before = process.memoryUsage().rss
      const answer = yield* request({ ...grpc, "grpc-encoding": "gzip" }, envelope(bomb, 1))
      assert.equal(grpcStatus(answer), 8)
      assert.ok(process.memoryUsage().rss - before < 150_000_000)
      assert.ok((yield* slowestCall(server, 3)) < 1000)
    }))

  const claim = Buffer.from([0, 0, 0x3f, 0, 0])
  const type = "application/connect+proto"
  const summarize = { ":path": "/pi.PiCalculator/Summarize", "content-type": type }
  const dribbled: Readonly<Record<string, Buffer>> = {
    "HTTP/2": Buffer.concat([
      hello,
      headers(1, false, block([...requestFields.filter(({ name }) => name !== ":path"), ...fields(summarize)])),
      ...Array.from({ length: 60_000 }, (_, i) => data(1, Buffer.of(claim[i] ?? 0))),
    ]),
    "HTTP/1.1": Buffer.concat([
      Buffer.from(`POST /pi.PiCalculator/Summarize HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\n`),
      Buffer.from("transfer-encoding: chunked\r\n\r\n"),
      ...Array.from({ length: 60_000 }, (_, i) => Buffer.of(0x31, 13, 10, claim[i] ?? 0, 13, 10)),
    ]),
  }
  for (const [protocol, bytes] of Object.entries(dribbled)) {
    test(`that sends a message of Connect on ${protocol} byte by byte leaves time for others`, () =>
      Effect.gen(function* () {
        const server = yield* start(pi)
        const { socket } = yield* wire(server)
        socket.write(bytes)
        const slowest = yield* slowestCall(server, 20)
        assert.ok(slowest < 1000, `a call took ${slowest} ms`)
      }))
  }

  for (const [what, some] of [
    ["one byte", "P"],
    ["half a preface", hello.subarray(0, 12)],
    ["a preface without settings", hello.subarray(0, 24)],
    ["a preface and half of its settings", hello.subarray(0, 30)],
    ["the first line of HTTP/1.1", "GET / HTTP/1.1\r\n"],
    ["a whole request of HTTP/1.1", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"],
    ["a whole request of HTTP/1.1 and half of another", "GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP"],
  ] as const) {
    test(`that says ${what} and nothing more is closed after a time`, () =>
      Effect.gen(function* () {
        const server = yield* start(pi, { headersTimeout: "200 millis" })
        const { send, closed } = yield* wire(server)
        yield* send(some)
        yield* closed
      }))
  }

  test("that says its preface ever so slowly is closed after the same time", () =>
    Effect.gen(function* () {
      const server = yield* start(pi, { headersTimeout: "200 millis" })
      const { socket, send, closed } = yield* wire(server)
      yield* send(hello.subarray(0, 4))
      const from = performance.now()
      for (let i = 4; i < hello.length && !socket.closed; i++) {
        socket.write(hello.subarray(i, i + 1))
        yield* Effect.sleep("60 millis")
      }
      yield* closed
      assert.ok(performance.now() - from < 1500)
    }))

  test("that says the head of a request over HTTP/1.1 ever so slowly is closed after the same time", () =>
    Effect.gen(function* () {
      const server = yield* start(pi, { headersTimeout: "200 millis" })
      const { socket, send, closed } = yield* wire(server)
      yield* send("GET / HTTP/1.1\r\n")
      const dripping = setInterval(() => socket.write("a: b\r\n"), 60)
      yield* Effect.ensuring(
        closed,
        Effect.sync(() => clearInterval(dripping)),
      )
    }))

  test("whose request over HTTP/1.1 runs for longer than its head may take is answered, and the next one too", () =>
    Effect.gen(function* () {
      const service = Service.make(PiCalculator, {
        ...calculator,
        calc: () => Effect.delay(Effect.succeed({ value: 3 }), "400 millis"),
      })
      const request = yield* http1(yield* start(service, { headersTimeout: "200 millis" }))
      for (const _ of [1, 2]) {
        assert.equal((yield* request({ "content-type": "application/json" }, '{"n":1}')).status, 200)
      }
    }))

  for (const [what, some] of [
    ["nothing", ""],
    // The header of a record of 200 bytes, and how its ClientHello begins.
    ["the beginning", Buffer.from("16030100c8010000c40303", "hex")],
  ] as const) {
    test(`that says ${what} of a handshake of TLS and nothing more is closed after a time`, () =>
      Effect.gen(function* () {
        const server = yield* start(pi, { headersTimeout: "200 millis", tls })
        const { send, closed } = yield* wire(server)
        yield* send(some)
        yield* closed
      }))
  }

  test("that has said its preface may be silent for as long as it likes", () =>
    Effect.gen(function* () {
      const server = yield* start(pi, { headersTimeout: "50 millis" })
      const { send, receive, socket } = yield* wire(server)
      yield* send(hello)
      yield* Effect.sleep("300 millis")
      assert.ok(!socket.closed)
      yield* send(headers(1, false, callOf("Calc")), data(1, envelope(request999), true))
      yield* receive(
        (received) => frames(received).some(({ flags, streamId }) => streamId === 1 && flags === 5) || undefined,
      )
    }))
})

const manyBytes = (stream: http2.ClientHttp2Stream): Effect.Effect<void> =>
  Effect.callback((resume) => {
    let length = 0
    stream.on("data", (chunk: Buffer) => {
      length += chunk.length
      if (length > 100_000) resume(Effect.void)
    })
  })

describe("10,000 idle connections", () => {
  test("cost little, keep no one from being served, and are closed at once", () =>
    Effect.gen(function* () {
      // A process of its own has its own limit on open files; every runtime raises that as far as it may.
      const program = yield* running(file("tests/transport/net/memoryServer.ts"))
      const [, port = ""] = yield* Effect.promise(() => program.said(/port (\d+)/))
      const server = { host: "127.0.0.1", port: Number(port), url: `http://127.0.0.1:${port}` }
      const client = yield* dial(server)
      const memory = Effect.map(client.calc({ n: 1 }), ({ value }) => value)
      // What the first ones make the runtime compile and reserve is no cost of theirs.
      yield* Effect.all(
        Array.from({ length: 500 }, () => idle(server)),
        { concurrency: 50, discard: true },
      )
      const before = yield* memory
      const sockets = yield* Effect.all(
        Array.from({ length: 10_000 }, () => idle(server)),
        { concurrency: 50 },
      )
      const each = ((yield* memory) - before) / sockets.length
      assert.ok(each < 40 * 1024, `${each} bytes a connection`)
      const other = yield* dial(server)
      yield* other.calc({ n: 1 })
      program.signal("SIGTERM")
      yield* Effect.promise(() => program.finished)
    }))
})

/** A connection whose HTTP/2 has begun, and that only answers PINGs. */
const idle = ({ host, port }: { readonly host: string; readonly port: number }) =>
  Effect.acquireRelease(
    Effect.callback<net.Socket, Error>((resume) => {
      const socket = net.connect({ host, port }, () => socket.write(hello))
      let begun = false
      socket.on("error", (error) => resume(Effect.fail(error)))
      socket.on("data", (chunk: Buffer) => {
        if (begun) for (const ping of frames(chunk).filter(isPing)) socket.write(pong(ping))
        begun = true
        resume(Effect.succeed(socket))
      })
    }),
    (socket) => Effect.sync(() => socket.destroy()),
  )
