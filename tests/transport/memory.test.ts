/**
 * What a server holds for its peers: real servers and real sockets.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe } from "node:test"
import { Effect, Stream } from "effect"
import { deadline } from "../../src/core/layers/deadline.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { errorCode, frameType } from "../../src/transport/http2/frames.ts"
import { Decoder } from "../../src/transport/http2/hpackDecoder.ts"
import { compression, gzip } from "../../src/transport/layers/compression.ts"
import { type Server, serve } from "../../src/transport/server.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { block, data, fields, headers, ping, settings, windowUpdate } from "./http2/support.ts"
import { call, callOf, endOf, grpc, ofType, peer } from "./net/support.ts"
import { calculator, envelope, grpcStatus, http2Requests, pi, request999 } from "./support.ts"

const streamMemory = 8192

describe("a server's memory", () => {
  test("is told while streams are open, is shared out to connections and peers, and comes back", () =>
    Effect.gen(function* () {
      const server = yield* serve(pi, { port: 0, memory: { process: 16 * streamMemory, connection: 3 * streamMemory } })
      const client = yield* peer(server)
      const open = (id: number) => headers(id, false, callOf("Calc"))
      yield* client.send(open(1), open(3), open(5), open(7), ping)
      const cut = yield* client.frame(({ type }) => type === frameType.rstStream)
      assert.deepEqual([cut.streamId, cut.payload.readUInt32BE(0)], [7, errorCode.enhanceYourCalm])
      assert.equal(server.memory.refused, 1)
      assert.deepEqual([server.memory.used, server.memory.limit], [3 * streamMemory, 16 * streamMemory])
      // The peer's quarter is four streams.
      const second = yield* peer(server)
      yield* second.send(open(1), open(3))
      assert.equal((yield* second.frame(({ type }) => type === frameType.rstStream)).streamId, 3)
      client.socket.destroy()
      second.socket.destroy()
      while (server.memory.used > 0) yield* Effect.sleep("10 millis")
      assert.equal(server.memory.refused, 2)
    }))
})

const request = Buffer.from([0x08, 3])

/** `PiRange { first: 1, last: 2147483647 }`, which nobody will see the end of. */
const endless = Buffer.from([0x08, 0x01, 0x10, 0xff, 0xff, 0xff, 0xff, 0x07])

/** The code that a stream is reset with. */
const resetOf = (client: Effect.Success<ReturnType<typeof peer>>, id: number) =>
  Effect.map(client.frame(ofType(frameType.rstStream, id)), ({ payload }) => payload.readUInt32BE(0))

/** Waits until nothing is held for anybody. */
const empty = (server: Server) =>
  Effect.gen(function* () {
    while (server.memory.used > 0) yield* Effect.sleep("10 millis")
    assert.equal(server.memory.used, 0)
  })

describe("a message that isn't whole", () => {
  test("is taken from the memory; where there is none its call fails and says so, and others are served", () =>
    Effect.gen(function* () {
      const memory = { process: 8 * 2 ** 20, connection: 2 ** 20 }
      const server = yield* serve(pi, { port: 0, memory })
      const client = yield* peer(server)
      const calls = 40
      const part = Buffer.concat([Buffer.of(0, 0, 0x10, 0, 0), Buffer.alloc(50_000)])
      for (let i = 0; i < calls; i++) {
        const id = 2 * i + 1
        yield* client.send(headers(id, false, callOf("Calc")))
        for (let at = 0; at < part.length; at += 16_384) yield* client.send(data(id, part.subarray(at, at + 16_384)))
      }
      const fitting = Math.floor(memory.connection / part.length)
      const refused = yield* client.frames(calls - fitting, ({ type }) => type === frameType.headers)
      const decoder = new Decoder({ maxListSize: 10_000 })
      for (const { payload } of refused) {
        const found = new Map(decoder.decode(payload, 0, payload.length)?.map(({ name, value }) => [name, value]))
        assert.equal(found.get("grpc-status"), "8")
        assert.match(found.get("grpc-message") ?? "", /the memory of the connection is used up, 1048576 bytes/)
      }
      assert.ok(server.memory.used > memory.connection - part.length)
      assert.ok(server.memory.used <= memory.connection)
      assert.equal(server.memory.refused, calls - fitting)
      const others = yield* http2Requests(server)
      assert.equal(grpcStatus(yield* others(grpc, envelope(request999))), 0)
      client.socket.destroy()
      yield* empty(server)
    }))
})

describe("a compressed message", () => {
  test("is taken from the memory as what it is once it is decompressed", () =>
    Effect.gen(function* () {
      const memory = { process: 2 ** 22, connection: 2 ** 18 }
      const server = yield* serve(pi.pipe(compression([gzip])), { port: 0, memory })
      // A field that nobody knows, with half a megabyte of zeros.
      const plain = Buffer.concat([request, Buffer.of(0x7a, 0x80, 0x80, 0x20), Buffer.alloc(2 ** 19)])
      const requests = yield* http2Requests(server)
      const compressed = envelope(yield* gzip.compress(plain), 1)
      assert.equal(grpcStatus(yield* requests({ ...grpc, "grpc-encoding": "gzip" }, compressed)), 8)
      assert.equal(server.memory.refused, 1)
      assert.equal(grpcStatus(yield* requests(grpc, envelope(request999))), 0)
      yield* empty(server)
    }))
})

describe("a response that nobody takes", () => {
  const closedWindow = settings([4, 0])

  test("is dropped at the deadline of its call", () =>
    Effect.gen(function* () {
      const server = yield* serve(pi, { port: 0 })
      const client = yield* peer(server)
      const head = { ":method": "POST", ":scheme": "http", ":path": "/pi.PiCalculator/Calc", ":authority": "localhost" }
      const timed = block(fields({ ...head, ...grpc, "grpc-timeout": "300m" }))
      yield* client.send(closedWindow)
      for (const id of [1, 3, 5]) yield* client.send(headers(id, false, timed), data(id, envelope(request), true))
      yield* client.frame(ofType(frameType.headers, 1))
      for (const id of [1, 3, 5]) assert.equal(yield* resetOf(client, id), errorCode.cancel)
      yield* empty(server)
    }))

  test("is dropped at its service's limit while its program runs", () =>
    Effect.gen(function* () {
      let interrupted = 0
      const service = Service.make(PiCalculator, {
        ...calculator,
        calcRange: (range) =>
          Stream.ensuring(
            calculator.calcRange(range),
            Effect.sync(() => {
              interrupted += 1
            }),
          ),
      }).pipe(deadline({ max: "500 millis" }))
      const server = yield* serve(service, { port: 0 })
      const client = yield* peer(server)
      yield* client.send(closedWindow, call(1, "CalcRange", endless))
      assert.equal(yield* resetOf(client, 1), errorCode.cancel)
      yield* empty(server)
      while (interrupted === 0) yield* Effect.sleep("10 millis")
    }))

  test("is dropped after the send timeout where there is no deadline, and not while some of it is taken", () =>
    Effect.gen(function* () {
      const server = yield* serve(pi, { port: 0, sendTimeout: "2 seconds" })
      const client = yield* peer(server)
      yield* client.send(
        closedWindow,
        call(1, "Calc", request),
        call(3, "CalcRange", endless),
        call(5, "Calc", request),
      )
      // A byte now and then is progress enough.
      const trickle = yield* Effect.forkScoped(
        Effect.forever(Effect.andThen(client.send(windowUpdate(5, 1)), Effect.sleep("300 millis"))),
      )
      for (const id of [1, 3]) assert.equal(yield* resetOf(client, id), errorCode.cancel)
      yield* client.frame(endOf(5))
      assert.ok(trickle.pollUnsafe() === undefined)
      yield* empty(server)
    }))

  test("goes with its connection, where nothing that is sent is taken", () =>
    Effect.gen(function* () {
      const server = yield* serve(pi, { port: 0, sendTimeout: "1 second" })
      const client = yield* peer(server)
      client.socket.pause()
      yield* client.send(settings([4, 0x7fff_ffff]), windowUpdate(0, 0x7000_0000), call(1, "CalcRange", endless))
      while (server.memory.used === 0) yield* Effect.sleep("10 millis")
      yield* empty(server)
      const others = yield* http2Requests(server)
      assert.equal(grpcStatus(yield* others(grpc, envelope(request999))), 0)
    }))
})
