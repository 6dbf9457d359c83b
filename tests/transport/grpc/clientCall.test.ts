/**
 * Calls of our client, as a server sees them that can do anything.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe } from "node:test"
import { create, toBinary } from "@bufbuild/protobuf"
import { Deferred, Effect, Exit, Fiber, Queue, Scope, Stream } from "effect"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { metadata } from "../../../src/core/layers/metadata.ts"
import { fromConnector } from "../../../src/core/rpc/channel.ts"
import type { RpcError } from "../../../src/core/rpc/error.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import type { Code } from "../../../src/core/rpc/status.ts"
import type { ConnectOptions } from "../../../src/transport/channel.ts"
import * as Client from "../../../src/transport/client.ts"
import {
  PiCalculator,
  PiPointSchema,
  PiRequestSchema,
  PiResponseSchema,
  PiSummarySchema,
} from "../../../src/transport/gen/pi_pb.ts"
import * as GrpcClient from "../../../src/transport/grpc/client.ts"
import { parseTimeout } from "../../../src/transport/grpc/timeout.ts"
import { errorCode, flag, frameType } from "../../../src/transport/http2/frames.ts"
import { settle } from "../../core/support.ts"
import { test } from "../../effect.ts"
import { block, data, fields, headers, longHeaders, rstStream, windowUpdate } from "../http2/support.ts"
import { lineTo } from "../net/support.ts"
import { answer, goaway, head, message, type Peer, scripted, trailers } from "../scripted.ts"
import { dial, envelope, ownScope, padded, watch } from "../support.ts"

const request = (n: number) => toBinary(PiRequestSchema, create(PiRequestSchema, { n }))
const response = (value: number) => toBinary(PiResponseSchema, create(PiResponseSchema, { value }))
const point = (n: number) => toBinary(PiPointSchema, create(PiPointSchema, { n }))
const summary = (count: number) => toBinary(PiSummarySchema, create(PiSummarySchema, { count }))

/** The head of a response with these fields alone. */
const bare = (id: number, pairs: Readonly<Record<string, string>>, end = false) =>
  headers(id, end, block(fields(pairs)))

/** A client's call that has come to the server. */
const begun = Effect.fnUntraced(function* (options: ConnectOptions = {}) {
  const server = yield* scripted()
  const client = yield* dial(server, options)
  const call = yield* Effect.forkScoped(client.calc({ n: 3 }))
  const peer = yield* server.accept
  const { id } = yield* peer.request()
  return { server, client, call, peer, id }
})

interface Wrong {
  readonly what: string
  readonly says: (id: number) => Uint8Array
  readonly code: Code
  readonly message: RegExp
  /** True if the server has ended the stream. */
  readonly ended?: boolean
}

const wrongs: ReadonlyArray<Wrong> = [
  {
    what: "trailers alone",
    says: (id) => head(id, { "grpc-status": "5", "grpc-message": "not%20here" }, true),
    code: "not_found",
    message: /^not here$/,
    ended: true,
  },
  {
    what: "trailers alone that have no status",
    says: (id) => head(id, {}, true),
    code: "unknown",
    message: /without a grpc-status/,
    ended: true,
  },
  {
    what: "trailers without a status",
    says: (id) => Buffer.concat([head(id), message(id, response(1)), headers(id, true, block(fields({ x: "y" })))]),
    code: "unknown",
    message: /without a grpc-status/,
    ended: true,
  },
  {
    what: "no trailers at all",
    says: (id) => Buffer.concat([head(id), data(id, envelope(response(1)), true)]),
    code: "unknown",
    message: /without a grpc-status/,
    ended: true,
  },
  ...["x", "", "-1", "1.5", "99", "99999999999"].map(
    (status): Wrong => ({
      what: `a grpc-status of "${status}"`,
      says: (id) => Buffer.concat([head(id), message(id, response(1)), trailers(id, { "grpc-status": status })]),
      code: "unknown",
      message: /^$/,
      ended: true,
    }),
  ),
  ...(
    [
      [400, "internal"],
      [401, "unauthenticated"],
      [403, "permission_denied"],
      [404, "unimplemented"],
      [429, "unavailable"],
      [502, "unavailable"],
      [503, "unavailable"],
      [504, "unavailable"],
      [200, "unknown"],
      [500, "unknown"],
    ] as const
  ).map(
    ([status, code]): Wrong => ({
      what: `a web page with HTTP status ${status}`,
      says: (id) =>
        Buffer.concat([
          bare(id, { ":status": `${status}`, "content-type": "text/html" }),
          data(id, Buffer.from("<h1>Sorry</h1>"), true),
        ]),
      code,
      message: new RegExp(`HTTP ${status} with content-type "text/html"`),
    }),
  ),
  {
    what: "gRPC with HTTP status 503",
    says: (id) => bare(id, { ":status": "503", "content-type": "application/grpc" }),
    code: "unavailable",
    message: /HTTP 503/,
  },
  {
    what: "no content type",
    says: (id) => bare(id, { ":status": "200" }),
    code: "unknown",
    message: /content-type ""/,
  },
  {
    what: "gRPC-Web",
    says: (id) => bare(id, { ":status": "200", "content-type": "application/grpc-web" }),
    code: "unknown",
    message: /grpc-web/,
  },
  {
    what: "another codec",
    says: (id) => bare(id, { ":status": "200", "content-type": "application/grpc+json" }),
    code: "internal",
    message: /"application\/grpc\+json", which was not asked for/,
  },
  {
    what: "an encoding that nobody offered",
    says: (id) => head(id, { "grpc-encoding": "zstd" }),
    code: "internal",
    message: /"zstd", where identity was offered/,
  },
  {
    what: "a message that is compressed with nothing",
    says: (id) => Buffer.concat([head(id), message(id, response(1), true)]),
    code: "internal",
    message: /compressed, with nothing named/,
  },
  {
    what: "two messages",
    says: (id) => Buffer.concat([head(id), message(id, response(1)), message(id, response(1))]),
    code: "unimplemented",
    message: /extra message/,
  },
  {
    what: "no message",
    says: (id) => answer(id),
    code: "unimplemented",
    message: /missing message/,
    ended: true,
  },
  {
    what: "an end within a message",
    says: (id) => Buffer.concat([head(id), data(id, envelope(response(1)).subarray(0, 7)), trailers(id)]),
    code: "internal",
    message: /ends within a message/,
    ended: true,
  },
  {
    what: "what is no message",
    says: (id) => Buffer.concat([head(id), message(id, Buffer.of(0xff, 0xff))]),
    code: "internal",
    message: /no pi\.PiResponse/,
  },
  {
    what: "a message over the limit, of which there is but the length",
    says: (id) => Buffer.concat([head(id), data(id, Buffer.of(0, 0, 1, 0, 0))]),
    code: "resource_exhausted",
    message: /65536/,
  },
  {
    what: "a head that is too long",
    says: (id) => longHeaders(id, false, block(fields({ ":status": "200", x: "y".repeat(70_000) }))),
    code: "resource_exhausted",
    message: /a head of more than the 65536 bytes that limits\.maxHeaderListSize allows; it says :status: 200$/,
  },
]

describe("a call whose server answers with", () => {
  for (const { what, says, code, message, ended = false } of wrongs) {
    test(`${what} is ${code}, and the next call is none the worse`, () =>
      Effect.gen(function* () {
        const { server, client, call, peer, id } = yield* begun({ maxReceiveBytes: 1000 })
        peer.say(says(id))
        const error = yield* Effect.flip(Fiber.join(call))
        assert.deepEqual([error.code, message.test(error.message)], [code, true], `${error.code}: ${error.message}`)
        // The server has to stop, where it hasn't.
        if (!ended) yield* peer.cut(id)
        const next = yield* Effect.forkChild(client.calc({ n: 4 }))
        const { id: nextId } = yield* peer.request(1)
        peer.say(answer(nextId, response(4)))
        assert.equal((yield* Fiber.join(next)).value, 4)
        assert.equal(server.peers.length, 1)
        if (ended) assert.ok(!peer.frames.some(({ type }) => type === frameType.rstStream))
      }))
  }

  test("a message that isn't percent-encoded UTF-8 shows it as it is", () =>
    Effect.gen(function* () {
      const { call, peer, id } = yield* begun()
      peer.say(head(id, { "grpc-status": "9", "grpc-message": "%C3%BC is, %FF%41 and %zz aren't" }, true))
      const error = yield* Effect.flip(Fiber.join(call))
      assert.deepEqual([error.code, error.message], ["failed_precondition", "ü is, %FF%41 and %zz aren't"])
    }))

  test("details that are none has its code and message all the same", () =>
    Effect.gen(function* () {
      for (const details of ["!!!", "AAAA", "CAkSA////w", ""]) {
        const { call, peer, id } = yield* begun()
        const end = { "grpc-status": "9", "grpc-message": "no", "grpc-status-details-bin": details }
        peer.say(Buffer.concat([head(id), trailers(id, end)]))
        const error = yield* Effect.flip(Fiber.join(call))
        assert.deepEqual([error.code, error.message, error.details], ["failed_precondition", "no", []])
      }
    }))

  test("heads that only inform waits for the one that doesn't", () =>
    Effect.gen(function* () {
      const { call, peer, id } = yield* begun()
      for (const status of ["100", "103", "103"]) peer.say(bare(id, { ":status": status, link: "x" }))
      peer.say(answer(id, response(3)))
      assert.equal((yield* Fiber.join(call)).value, 3)
    }))

  test("thousands of them has its connection ended, and says why", () =>
    Effect.gen(function* () {
      const { call, peer, id } = yield* begun()
      peer.say(...Array.from({ length: 2000 }, () => bare(id, { ":status": "103" })))
      const error = yield* Effect.flip(Fiber.join(call))
      assert.equal(error.code, "unavailable")
      assert.match(error.message, /broke HTTP\/2's rules: too many frames without use/)
      const { payload } = yield* peer.frame(({ type }) => type === frameType.goaway)
      assert.equal(payload.readUInt32BE(4), errorCode.enhanceYourCalm)
      yield* peer.gone
    }))

  test("all that it needs before it has taken the request is done, whatever the server resets then", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      const call = yield* Effect.forkChild(client.summarize(Stream.concat(Stream.make({ n: 1 }), Stream.never)))
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      peer.say(answer(id, summary(7)), rstStream(id, errorCode.noError))
      assert.equal((yield* Fiber.join(call)).count, 7)
    }))
})

describe("a call whose server answers in a content type", () => {
  test("with parameters goes on: gRPC has none", () =>
    Effect.gen(function* () {
      const { peer, id, call } = yield* begun()
      const contentType = "application/gRPC+proto; charset=utf-8"
      peer.say(bare(id, { ":status": "200", "content-type": contentType }), message(id, response(3)), trailers(id))
      assert.equal((yield* Fiber.join(call)).value, 3)
    }))
})

describe("a call whose stream the server resets with", () => {
  const codes: Readonly<Record<keyof typeof errorCode, Code>> = {
    noError: "internal",
    protocolError: "internal",
    internalError: "internal",
    flowControlError: "internal",
    settingsTimeout: "internal",
    streamClosed: "internal",
    frameSizeError: "internal",
    refusedStream: "unavailable",
    cancel: "cancelled",
    compressionError: "internal",
    connectError: "internal",
    enhanceYourCalm: "resource_exhausted",
    inadequateSecurity: "permission_denied",
    http11Required: "internal",
  }
  for (const [name, code] of Object.entries(codes) as ReadonlyArray<[keyof typeof errorCode, Code]>) {
    test(`${name} is ${code}`, () =>
      Effect.gen(function* () {
        const { call, peer, id, server } = yield* begun()
        // Behind the head nothing is tried again.
        peer.say(head(id), rstStream(id, errorCode[name]))
        assert.equal((yield* Effect.flip(Fiber.join(call))).code, code)
        yield* peer.heard
        assert.deepEqual([server.peers.length, peer.requests.length], [1, 1])
      }))
  }

  test("a code that nobody knows is internal", () =>
    Effect.gen(function* () {
      const { call, peer, id } = yield* begun()
      peer.say(rstStream(id, 0x1234))
      const error = yield* Effect.flip(Fiber.join(call))
      assert.equal(error.code, "internal")
      assert.match(error.message, /1234|4660/)
    }))

  test("REFUSED_STREAM is made once more unseen, and not twice", () =>
    Effect.gen(function* () {
      const { client, call, peer, id } = yield* begun()
      peer.say(rstStream(id, errorCode.refusedStream))
      const again = yield* peer.request(1)
      yield* peer.ended(again.id)
      assert.deepEqual([...peer.body(again.id)], [...peer.body(id)])
      assert.deepEqual(again.headers, peer.requests[0]?.headers)
      peer.say(answer(again.id, response(3)))
      assert.equal((yield* Fiber.join(call)).value, 3)

      const other = yield* Effect.forkChild(Effect.flip(client.calc({ n: 5 })))
      for (const index of [2, 3]) peer.say(rstStream((yield* peer.request(index)).id, errorCode.refusedStream))
      const error = yield* Fiber.join(other)
      assert.deepEqual([error.code, /REFUSED_STREAM/.test(error.message)], ["unavailable", true])
      yield* peer.heard
      assert.equal(peer.requests.length, 4)
    }))
})

/** Requests that a test gives one by one. */
const asked = Effect.gen(function* () {
  const queue = yield* Queue.make<{ readonly n: number }>()
  return { queue, requests: Stream.fromQueue(queue) }
})

/** The bytes of requests as they are in a body. */
const bodyOf = (...ns: ReadonlyArray<number>) => Buffer.concat(ns.map((n) => envelope(request(n))))

/** Waits until so much of a body has come. */
const bodyOfLength = (peer: Peer, id: number, length: number) =>
  peer.until(() => {
    const body = peer.body(id)
    return body.length >= length ? body : undefined
  })

describe("a call whose server goes away before it has taken it", () => {
  test("is made on another connection, unseen", () =>
    Effect.gen(function* () {
      const { server, call, peer } = yield* begun()
      peer.say(goaway(0))
      const other = yield* server.accept
      const { id } = yield* other.request()
      yield* other.ended(id)
      assert.deepEqual(other.body(id), bodyOf(3))
      other.say(answer(id, response(3)))
      assert.equal((yield* Fiber.join(call)).value, 3)
      yield* peer.gone
    }))

  test("sends what it had sent once more, in order, and goes on behind it", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      const { queue, requests } = yield* asked
      const call = yield* Effect.forkChild(client.summarize(Stream.take(requests, 6)))
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      for (const n of [1, 2, 3]) {
        yield* Queue.offer(queue, { n })
        yield* bodyOfLength(peer, id, bodyOf(...[1, 2, 3].slice(0, n)).length)
      }
      peer.say(goaway(0))
      const second = yield* server.accept
      const { id: secondId } = yield* second.request()
      yield* bodyOfLength(second, secondId, bodyOf(1, 2, 3).length)
      yield* Queue.offer(queue, { n: 4 })
      yield* bodyOfLength(second, secondId, bodyOf(1, 2, 3, 4).length)
      // It may have to move more than once.
      second.say(goaway(0))
      const third = yield* server.accept
      const { id: thirdId } = yield* third.request()
      yield* Queue.offerAll(queue, [{ n: 5 }, { n: 6 }])
      yield* third.ended(thirdId)
      assert.deepEqual(third.body(thirdId), bodyOf(1, 2, 3, 4, 5, 6))
      third.say(answer(thirdId, summary(6)))
      assert.equal((yield* Fiber.join(call)).count, 6)
    }))

  test("sends again what still waited for the window, too", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      const many = Stream.map(Stream.rechunk(Stream.range(1, 30), 1), (n) => padded(create(PiRequestSchema, { n })))
      const call = yield* Effect.forkChild(client.summarize(many))
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      const begun = yield* bodyOfLength(peer, id, 65_535)
      peer.say(goaway(0))
      const other = yield* server.accept
      const { id: otherId } = yield* other.request()
      assert.deepEqual(yield* bodyOfLength(other, otherId, 65_535), begun)
      other.say(windowUpdate(0, 1_000_000), windowUpdate(otherId, 1_000_000))
      yield* other.ended(otherId)
      const all = Array.from({ length: 30 }, (_, i) => padded(create(PiRequestSchema, { n: i + 1 })))
      const bodies = all.map((one) => envelope(toBinary(PiRequestSchema, one)))
      assert.deepEqual(other.body(otherId), Buffer.concat(bodies))
      other.say(answer(otherId, summary(30)))
      assert.equal((yield* Fiber.join(call)).count, 30)
    }))

  test("fails if the server has begun to answer", () =>
    Effect.gen(function* () {
      const { server, call, peer, id } = yield* begun()
      peer.say(head(id), goaway(0))
      assert.equal((yield* Effect.flip(Fiber.join(call))).code, "unavailable")
      yield* peer.gone
      assert.equal(server.peers.length, 1)
    }))

  test("fails if it has sent more than is kept", () =>
    Effect.gen(function* () {
      const server = yield* scripted([4, 1_000_000])
      const client = yield* dial(server)
      const many = Stream.map(Stream.range(1, 70), (n) => padded(create(PiRequestSchema, { n })))
      const call = yield* Effect.forkChild(Effect.flip(client.summarize(Stream.concat(many, Stream.never))))
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      peer.say(windowUpdate(0, 1_000_000))
      yield* bodyOfLength(peer, id, 70 * 4096)
      peer.say(goaway(0))
      assert.equal((yield* Fiber.join(call)).code, "unavailable")
    }))

  test("fails in the end if every server goes away", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      const call = yield* Effect.forkChild(Effect.flip(client.calc({ n: 3 })))
      for (let connection = 0; connection < 6; connection++) {
        const peer = yield* server.accept
        yield* peer.request()
        peer.say(goaway(0))
      }
      assert.equal((yield* Fiber.join(call)).code, "unavailable")
      assert.equal(server.peers.length, 6)
    }))

  test("goes on if it was taken, while the next call connects anew", () =>
    Effect.gen(function* () {
      const { server, client, call, peer, id } = yield* begun()
      peer.say(goaway(id))
      yield* peer.heard
      const next = yield* Effect.forkChild(client.calc({ n: 4 }))
      const other = yield* server.accept
      const { id: nextId } = yield* other.request()
      peer.say(answer(id, response(3)))
      other.say(answer(nextId, response(4)))
      assert.deepEqual([(yield* Fiber.join(call)).value, (yield* Fiber.join(next)).value], [3, 4])
      yield* peer.gone
    }))
})

describe("a call that its caller leaves", () => {
  test("is cancelled, and nothing is left of it", () =>
    Effect.gen(function* () {
      const { call, peer, id, client } = yield* begun()
      yield* Fiber.interrupt(call)
      assert.equal(yield* peer.cut(id), errorCode.cancel)
      // What was under way is no fault.
      peer.say(answer(id, response(3)))
      const next = yield* Effect.forkChild(client.calc({ n: 4 }))
      peer.say(answer((yield* peer.request(1)).id, response(4)))
      assert.equal((yield* Fiber.join(next)).value, 4)
    }))

  test("early, a stream, is cancelled", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      const call = yield* Effect.forkChild(Stream.runCollect(Stream.take(client.calcRange({ first: 1, last: 9 }), 1)))
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      peer.say(head(id), message(id, point(1)), message(id, point(2)))
      assert.deepEqual(
        (yield* Fiber.join(call)).map(({ n }) => n),
        [1],
      )
      assert.equal(yield* peer.cut(id), errorCode.cancel)
    }))

  test("with the answer of a server that wants no more of its requests, is not cancelled: both say that all is well", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      const call = yield* Effect.forkChild(Stream.runCollect(client.calcStream(Stream.never)))
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      peer.say(head(id), trailers(id))
      assert.deepEqual(yield* Fiber.join(call), [])
      assert.equal(yield* peer.cut(id), errorCode.noError)
    }))

  test("gives its room to one that waits for it", () =>
    Effect.gen(function* () {
      const server = yield* scripted([3, 1])
      const client = yield* dial(server, { maxConnections: 1 })
      const first = yield* Effect.forkChild(client.calc({ n: 1 }))
      const peer = yield* server.accept
      yield* peer.request()
      const second = yield* Effect.forkChild(Effect.flip(client.calc({ n: 2 })))
      const third = yield* Effect.forkChild(client.calc({ n: 3 }))
      yield* settle
      yield* Fiber.interrupt(first)
      // This one leaves for what its server answers.
      peer.say(bare((yield* peer.request(1)).id, { ":status": "200" }))
      yield* Fiber.join(second)
      peer.say(answer((yield* peer.request(2)).id, response(3)))
      assert.equal((yield* Fiber.join(third)).value, 3)
      assert.equal(server.peers.length, 1)
    }))

  test("with its channel hears that the channel is closed", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const scope = yield* ownScope
      const client = yield* Scope.provide(dial(server), scope)
      const calls = yield* Effect.forkChild(
        Effect.all([Effect.flip(client.calc({ n: 1 })), Effect.flip(Stream.runDrain(client.calcRange({})))], {
          concurrency: 2,
        }),
      )
      const peer = yield* server.accept
      yield* peer.request(1)
      yield* Scope.close(scope, Exit.void)
      for (const { code, message } of yield* Fiber.join(calls)) {
        assert.deepEqual([code, message], ["cancelled", "the channel is closed"])
      }
      yield* peer.gone
    }))
})

describe("a call's bytes", () => {
  test("come no faster than its caller reads them", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      const go = yield* Deferred.make<void>()
      let got = 0
      const reading = Stream.runForEach(client.calcRange({}), () => {
        got += 1
        return Deferred.await(go)
      })
      const call = yield* Effect.forkChild(reading)
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      const large = toBinary(PiPointSchema, padded(create(PiPointSchema, { n: 1 })))
      peer.say(head(id), message(id, large))
      yield* Effect.eventually(Effect.suspend(() => (got === 1 ? Effect.void : Effect.fail("not yet"))))
      const opened = () => peer.frames.filter(({ type, streamId }) => type === 8 && streamId === id).length
      // More than half of its window, and less than all of it.
      const more = Math.floor(50_000 / (large.length + 5))
      for (let i = 0; i < more; i++) peer.say(message(id, large))
      yield* peer.heard
      assert.equal(opened(), 0)
      yield* Deferred.succeed(go, undefined)
      yield* peer.until(() => (opened() > 0 ? true : undefined))
      peer.say(trailers(id))
      yield* Fiber.join(call)
      assert.equal(got, 1 + more)
    }))

  test("go out no faster than the server takes them, and requests are made no faster", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      let made = 0
      const requests = Stream.map(Stream.rechunk(Stream.range(1, 200), 1), (n) => {
        made = n
        return padded(create(PiRequestSchema, { n }))
      })
      const call = yield* Effect.forkChild(client.summarize(requests))
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      yield* bodyOfLength(peer, id, 65_535)
      for (let turn = 0; turn < 5; turn++) yield* peer.heard
      assert.equal(peer.body(id).length, 65_535)
      assert.ok(made < 64, `${made}`)
      peer.say(windowUpdate(0, 1_000_000), windowUpdate(id, 1_000_000))
      yield* peer.ended(id)
      assert.equal(made, 200)
      peer.say(answer(id, summary(200)))
      assert.equal((yield* Fiber.join(call)).count, 200)
    }))

  test("end with the last of its data where there is one request, and say no more", () =>
    Effect.gen(function* () {
      const { call, peer, id } = yield* begun()
      yield* peer.ended(id)
      peer.say(answer(id, response(3)))
      yield* Fiber.join(call)
      yield* peer.heard
      assert.deepEqual(
        peer.frames.filter(({ streamId }) => streamId === id).map(({ type, flags }) => [type, flags]),
        [
          [frameType.headers, flag.endHeaders],
          [frameType.data, flag.endStream],
        ],
      )
    }))

  test("begin as gRPC asks for it", () =>
    Effect.gen(function* () {
      const { peer, server } = yield* begun()
      const [first] = peer.requests
      assert.ok(first)
      const { "user-agent": userAgent, ...rest } = first.headers
      assert.match(userAgent ?? "", /^grpc-typescript-basel\/\d+\.\d+\.\d+/)
      assert.deepEqual(rest, {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/pi.PiCalculator/Calc",
        ":authority": new URL(server.url).host,
        te: "trailers",
        "content-type": "application/grpc+proto",
      })
    }))

  test("name the application before the library, as its metadata has it", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server, {}, metadata({ "User-Agent": "shop/1.2" }))
      yield* Effect.forkChild(client.calc({ n: 3 }))
      const { headers } = yield* (yield* server.accept).request()
      assert.match(headers["user-agent"] ?? "", /^shop\/1\.2 grpc-typescript-basel\/\d+\.\d+\.\d+$/)
    }))

  test("say how much time is left, also when the call is made again", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server, {}, deadline("1 minute"))
      const call = yield* Effect.forkChild(client.calc({ n: 3 }))
      const peer = yield* server.accept
      peer.say(rstStream((yield* peer.request()).id, errorCode.refusedStream))
      const again = yield* peer.request(1)
      const [first = 0, second = 0] = peer.requests.map(({ headers }) => parseTimeout(headers["grpc-timeout"] ?? ""))
      assert.ok(0 < second && second <= first && first <= 60_000, `${first}, ${second}`)
      peer.say(answer(again.id, response(3)))
      yield* Fiber.join(call)
    }))

  test("have metadata both ways, bytes in base64, with or without what fills it up", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const { seen, layer } = watch()
      const sent = Metadata.of([
        ["x-text", "plain"],
        ["x-bin", new Uint8Array([0, 255])],
      ])
      const client = yield* dial(server, {}, (channel) => layer(metadata(sent)(channel)))
      const call = yield* Effect.forkChild(client.calc({ n: 3 }))
      const peer = yield* server.accept
      const { id, headers: got } = yield* peer.request()
      assert.deepEqual([got["x-text"], got["x-bin"]], ["plain", "AP8"])
      peer.say(
        head(id, { "x-head": "text", "x-head-bin": "AP8=,AQ" }),
        message(id, response(3)),
        trailers(id, { "x-tail": "end", "x-tail-bin": "AP8" }),
      )
      yield* Fiber.join(call)
      const { header = [], trailer = [] } = seen.call?.response ?? {}
      assert.deepEqual(Metadata.get(header, "x-head"), "text")
      assert.deepEqual(Metadata.getAll(header, "x-head-bin"), [new Uint8Array([0, 255]), new Uint8Array([1])])
      assert.deepEqual(trailer, [
        ["x-tail", "end"],
        ["x-tail-bin", new Uint8Array([0, 255])],
      ])
    }))
})

describe("ten thousand calls, some of them interrupted, some refused", () => {
  test("leave nothing behind", () =>
    Effect.gen(function* () {
      const server = yield* scripted([3, 50])
      const line = yield* lineTo(server.url, 1)
      const connector = yield* GrpcClient.make(line, {
        codec: "proto",
        waitForReady: false,
        connectivity: line.connectivity,
      })
      const client = Client.make(PiCalculator, fromConnector(connector))
      const serving = Effect.gen(function* () {
        const peer = yield* server.accept
        for (let index = 0; ; index++) {
          const { id } = yield* peer.request(index)
          if (index % 7 === 0) peer.say(rstStream(id, errorCode.refusedStream))
          else if (index % 11 === 0) peer.say(rstStream(id, errorCode.cancel))
          else peer.say(answer(id, response(index)))
        }
      })
      yield* Effect.forkScoped(serving)
      const turns = (count: number) => Effect.replicateEffect(Effect.yieldNow, count, { discard: true })
      const ends: Record<string, number> = {}
      const count = (end: string) =>
        Effect.sync(() => {
          ends[end] = (ends[end] ?? 0) + 1
        })
      const one = (n: number) => {
        const call = Effect.matchEffect(client.calc({ n }), {
          onFailure: (error: RpcError) => count(error.code),
          onSuccess: () => count("ok"),
        })
        return n % 3 === 0 ? Effect.raceFirst(call, Effect.andThen(turns(n % 8), count("interrupted"))) : call
      }
      yield* Effect.forEach(
        Array.from({ length: 10_000 }, (_, n) => n),
        one,
        { concurrency: 200, discard: true },
      )
      for (const end of ["ok", "interrupted", "cancelled"]) assert.ok((ends[end] ?? 0) > 10, JSON.stringify(ends))
      // What nobody else has to see.
      const { waiting, sessions } = line as unknown as {
        readonly waiting: Set<unknown>
        readonly sessions: Set<{ readonly connection: { readonly openStreams: number } }>
      }
      assert.deepEqual([waiting.size, sessions.size], [0, 1])
      for (const { connection } of sessions) {
        assert.equal(connection.openStreams, 0)
        const { sender } = connection as unknown as { readonly sender: { readonly idle: boolean } }
        assert.ok(sender.idle)
      }
      assert.equal(server.peers.length, 1)
    }))
})
