/**
 * Heads and trailers that are too large end their own call, and no other of the same connection.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe } from "node:test"
import { create, toBinary } from "@bufbuild/protobuf"
import { Deferred, Effect, Fiber, Stream } from "effect"
import { PiPointSchema, PiResponseSchema } from "../../../src/transport/gen/pi_pb.ts"
import { frameType } from "../../../src/transport/http2/frames.ts"
import type { Field } from "../../../src/transport/http2/hpack.ts"
import { Decoder } from "../../../src/transport/http2/hpackDecoder.ts"
import { test } from "../../effect.ts"
import { block, data, type Frame, fields, headers, longHeaders, requestFields } from "../http2/support.ts"
import { answer, head, message, scripted } from "../scripted.ts"
import { dial, envelope, type Headers, pi, request999, start } from "../support.ts"
import { call, callOf, endOf, ofType, peer } from "./support.ts"

const value = (n: number) => toBinary(PiResponseSchema, create(PiResponseSchema, { value: n }))
const point = (n: number) => toBinary(PiPointSchema, create(PiPointSchema, { n }))

/** Header blocks of one connection, decoded in the order in which they came. */
const reading = () => {
  const decoder = new Decoder({ maxListSize: 1_000_000 })
  return ({ payload }: Frame): Headers =>
    Object.fromEntries(
      (decoder.decode(payload, 0, payload.length) ?? []).map(({ name, value }): [string, string] => [name, value]),
    )
}

/** The head of a request of a content type, with so many bytes behind that. */
const large = (contentType: string, size: number): Buffer =>
  block([...requestFields, { name: "content-type", value: contentType }, { name: "x-large", value: "v".repeat(size) }])

describe("a request whose head is too large", () => {
  for (const size of [70_000, 900_000]) {
    test(`ends with a response, and its neighbours go on: ${size} bytes`, () =>
      Effect.gen(function* () {
        const server = yield* start(pi)
        const client = yield* peer(server)
        const heads: Array<Headers> = []
        const read = reading()
        // A neighbour that goes on, and has had its first message.
        yield* client.send(headers(1, false, callOf("CalcStream")), data(1, envelope(Buffer.of(0x08, 1))))
        yield* client.frame(ofType(frameType.data, 1))
        yield* client.send(longHeaders(3, false, large("application/grpc+proto", size)))
        yield* client.frame(endOf(3))
        yield* client.send(longHeaders(5, true, large("application/grpc-web+proto", size)))
        yield* client.frame(endOf(5))
        yield* client.send(longHeaders(7, true, large("application/json", size)))
        yield* client.frame(endOf(7))
        yield* client.send(data(1, envelope(Buffer.of(0x08, 2)), true))
        yield* client.frame(endOf(1))
        yield* client.send(call(9, "Calc", request999))
        yield* client.frame(endOf(9))
        client.socket.end()
        const all = yield* client.closed
        for (const frame of all.filter(ofType(frameType.headers))) heads[frame.streamId] = read(frame)
        for (const [id, type] of [
          [3, "application/grpc+proto"],
          [5, "application/grpc-web+proto"],
        ] as const) {
          const { "grpc-message": text = "", ...rest } = heads[id] ?? {}
          assert.deepEqual(rest, { ":status": "200", "content-type": type, "grpc-status": "8" })
          assert.match(text, /65536 bytes .*limits\.maxHeaderListSize/)
        }
        assert.deepEqual(heads[7], { ":status": "431" })
        assert.equal(heads[1]?.["grpc-status"], "0")
        assert.equal(heads[9]?.["grpc-status"], "0")
        assert.ok(!all.some(ofType(frameType.goaway)))
      }))
  }

  test("is taken up to the 60 KiB that proxies let through", () =>
    Effect.gen(function* () {
      const server = yield* start(pi)
      const client = yield* peer(server)
      const own: ReadonlyArray<Field> = fields({ te: "trailers", "x-large": "v".repeat(60_000) })
      const path = fields({ ":method": "POST", ":scheme": "http", ":path": "/pi.PiCalculator/Calc" })
      const type = fields({ "content-type": "application/grpc" })
      yield* client.send(longHeaders(1, false, block([...path, ...type, ...own])), data(1, envelope(request999), true))
      yield* client.frame(endOf(1))
      client.socket.end()
      const read = reading()
      const found = (yield* client.closed).filter(ofType(frameType.headers)).map(read)
      assert.equal(found.at(-1)?.["grpc-status"], "0")
    }))
})

describe("a response that is too large in front or behind", () => {
  const protocols = {
    grpc: (id: number, text: string) =>
      Buffer.concat([
        head(id),
        message(id, value(3)),
        longHeaders(id, true, block(fields({ "grpc-status": "5", "grpc-message": text }))),
      ]),
    "grpc-web": (id: number, text: string) =>
      longHeaders(
        id,
        true,
        block(fields({ ":status": "200", "content-type": "application/grpc-web+proto", "grpc-message": text })),
      ),
    connect: (id: number, text: string) =>
      longHeaders(id, true, block(fields({ ":status": "200", "content-type": "application/proto", "x-large": text }))),
  } as const
  for (const [protocol, response] of Object.entries(protocols)) {
    test(`ends its own call over ${protocol}, and says that the limit is ours`, () =>
      Effect.gen(function* () {
        const server = yield* scripted()
        const client = yield* dial(server, { protocol: protocol as keyof typeof protocols })
        for (const [i, size] of [70_000, 900_000].entries()) {
          const failing = yield* Effect.forkChild(Effect.flip(client.calc({ n: 1 })))
          const [connected] = server.peers.length > 0 ? server.peers : [yield* server.accept]
          assert.ok(connected)
          const { id } = yield* connected.request(i)
          connected.say(response(id, "v".repeat(size)))
          const error = yield* Fiber.join(failing)
          assert.equal(error.code, "resource_exhausted")
          assert.match(error.message, /65536 bytes that limits\.maxHeaderListSize allows/)
          if (protocol === "grpc") assert.match(error.message, /trailers .*grpc-status: 5/)
        }
        assert.equal(server.peers.length, 1)
      }))
  }

  test("leaves its neighbours as they are, and the tables in step", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      const first = yield* Deferred.make<void>()
      const neighbour = yield* Effect.forkChild(
        Stream.runCollect(
          Stream.tap(client.calcRange({ first: 1, last: 2 }), () => Deferred.succeed(first, undefined)),
        ),
      )
      const connected = yield* server.accept
      const { id } = yield* connected.request()
      connected.say(head(id), message(id, point(1)))
      yield* Deferred.await(first)
      const failing = yield* Effect.forkChild(Effect.flip(client.calc({ n: 1 })))
      const { id: second } = yield* connected.request(1)
      // Behind what is too large a field enters the table; the next head names it.
      const status = [0x40, 11, ...Buffer.from("grpc-status"), 1, 0x30]
      const behind = Buffer.concat([block(fields({ "grpc-message": "v".repeat(200_000) })), Buffer.from(status)])
      connected.say(head(second), longHeaders(second, true, behind))
      assert.equal((yield* Fiber.join(failing)).code, "resource_exhausted")
      connected.say(message(id, point(2)), headers(id, true, Buffer.of(0xbe)))
      assert.equal((yield* Fiber.join(neighbour)).length, 2)
      const after = yield* Effect.forkChild(client.calc({ n: 1 }))
      const { id: third } = yield* connected.request(2)
      connected.say(answer(third, value(3)))
      assert.equal((yield* Fiber.join(after)).value, 3)
      assert.equal(server.peers.length, 1)
    }))

  test("is taken with a message of 50,000 bytes", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      const failing = yield* Effect.forkChild(Effect.flip(client.calc({ n: 1 })))
      const connected = yield* server.accept
      const { id } = yield* connected.request()
      const text = "v".repeat(50_000)
      connected.say(head(id), longHeaders(id, true, block(fields({ "grpc-status": "5", "grpc-message": text }))))
      const { code, message: said } = yield* Fiber.join(failing)
      assert.deepEqual([code, said], ["not_found", text])
    }))
})
