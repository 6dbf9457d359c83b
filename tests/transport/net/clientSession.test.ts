/**
 * A client's connections, with a server that can do anything.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe } from "node:test"
import { create, toBinary } from "@bufbuild/protobuf"
import { Deferred, Effect, Fiber, Result, Stream } from "effect"
import * as Backoff from "../../../src/core/rpc/backoff.ts"
import { fromConnector } from "../../../src/core/rpc/channel.ts"
import * as Client from "../../../src/transport/client.ts"
import { PiCalculator, PiResponseSchema } from "../../../src/transport/gen/pi_pb.ts"
import * as GrpcClient from "../../../src/transport/grpc/client.ts"
import { errorCode, frameType } from "../../../src/transport/http2/frames.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import { parseAddress, type Target } from "../../../src/transport/net/address.ts"
import { type ClientSession, clientTimes } from "../../../src/transport/net/clientSession.ts"
import { dial as dialTarget } from "../../../src/transport/net/dial.ts"
import * as Line from "../../../src/transport/net/line.ts"
import { test } from "../../effect.ts"
import { answer, goaway, head, type Peer, scripted } from "../scripted.ts"
import { dial, frame } from "../support.ts"
import { isPing, pong } from "./support.ts"

const response = (value: number) => toBinary(PiResponseSchema, create(PiResponseSchema, { value }))

/** Answers all PINGs that come. */
const answering = (peer: Peer) =>
  Effect.forkScoped(
    Effect.gen(function* () {
      for (let answered = 0; ; answered++) {
        peer.say(pong(yield* peer.until(() => peer.frames.filter(isPing)[answered])))
      }
    }),
  )

const pings = (peer: Peer, count: number) =>
  peer.until(() => (peer.frames.filter(isPing).length >= count ? true : undefined))

describe("keepalive of a client", () => {
  test("asks a server that says nothing while a call runs, for as long as it answers", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server, { keepalive: { time: "10 millis", timeout: "1 minute" } })
      const call = yield* Effect.forkChild(client.calc({ n: 3 }))
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      yield* answering(peer)
      yield* pings(peer, 3)
      peer.say(answer(id, response(3)))
      assert.equal((yield* Fiber.join(call)).value, 3)
    }))

  test("closes the connection of one that doesn't answer, and its calls are unavailable", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server, { keepalive: { time: "10 millis", timeout: "20 millis" } })
      const call = yield* Effect.forkChild(Effect.flip(client.calc({ n: 3 })))
      const peer = yield* server.accept
      yield* peer.request()
      const { code, message } = yield* Fiber.join(call)
      assert.deepEqual([code, message], ["unavailable", "the connection was lost: the server doesn't answer"])
      assert.equal(peer.frames.filter(isPing).length, 1)
      yield* peer.gone
      // The next call has a connection of its own.
      const next = yield* Effect.forkChild(client.calc({ n: 4 }))
      const other = yield* server.accept
      other.say(answer((yield* other.request()).id, response(4)))
      assert.equal((yield* Fiber.join(next)).value, 4)
    }))

  test("asks nothing while no call runs, unless it is told to", () =>
    Effect.gen(function* () {
      const connected = Effect.fnUntraced(function* (withoutCalls: boolean) {
        const server = yield* scripted()
        const keepalive = { time: "10 millis", timeout: "1 minute", withoutCalls } as const
        const client = yield* dial(server, { keepalive })
        const call = yield* Effect.forkChild(client.calc({ n: 3 }))
        const peer = yield* server.accept
        peer.say(answer((yield* peer.request()).id, response(3)))
        yield* Fiber.join(call)
        return peer
      })
      const quiet = yield* connected(false)
      // What it asked while the call ran has come by then.
      yield* quiet.heard
      const before = quiet.frames.filter(isPing).length
      const asked = yield* connected(true)
      yield* answering(asked)
      yield* pings(asked, 5)
      assert.equal(quiet.frames.filter(isPing).length, before)
      assert.ok(!quiet.closed)
    }))
})

describe("a connection without calls", () => {
  test("is closed after maxIdle, with a GOAWAY, and the next call connects anew", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server, { maxIdle: "20 millis" })
      for (const n of [1, 2]) {
        const call = yield* Effect.forkChild(client.calc({ n }))
        const peer = yield* server.accept
        peer.say(answer((yield* peer.request()).id, response(n)))
        assert.equal((yield* Fiber.join(call)).value, n)
        yield* peer.frame(({ type }) => type === frameType.goaway)
        yield* peer.gone
      }
      assert.equal(server.peers.length, 2)
    }))

  test("is not what one is on which a call runs", () =>
    Effect.gen(function* () {
      const [busy, idle] = [yield* scripted(), yield* scripted()]
      const options = { maxIdle: "20 millis" } as const
      const call = yield* Effect.forkChild(Effect.flatMap(dial(busy, options), (client) => client.calc({ n: 3 })))
      const peer = yield* busy.accept
      const { id } = yield* peer.request()
      const other = yield* dial(idle, options)
      const short = yield* Effect.forkChild(other.calc({ n: 1 }))
      const gone = yield* idle.accept
      gone.say(answer((yield* gone.request()).id, response(1)))
      yield* Fiber.join(short)
      yield* gone.gone
      assert.ok(!peer.closed)
      peer.say(answer(id, response(3)))
      assert.equal((yield* Fiber.join(call)).value, 3)
    }))
})

describe("a call whose connection ends", () => {
  const cases: ReadonlyArray<readonly [string, (peer: Peer, id: number) => void, RegExp]> = [
    ["because it was cut", (peer) => peer.socket.destroy(), /^the connection was lost$/],
    ["since the server closes it", (peer) => peer.socket.end(), /^the connection was lost$/],
    [
      "with a GOAWAY and a reason",
      (peer, id) => {
        peer.say(goaway(id, errorCode.enhanceYourCalm))
        peer.socket.end()
      },
      /^the server closed the connection: ENHANCE_YOUR_CALM$/,
    ],
    [
      "for a fault of the server",
      (peer) => peer.say(frame(frameType.windowUpdate, 0, 0, Buffer.alloc(4))),
      /^the server broke HTTP\/2's rules: WINDOW_UPDATE opens nothing$/,
    ],
    [
      "for one in the middle of an answer",
      (peer, id) => peer.say(head(id), frame(frameType.data, 0, 99, Buffer.alloc(4))),
      /^the server broke HTTP\/2's rules: DATA is on an idle stream$/,
    ],
  ]
  for (const [why, act, expected] of cases) {
    test(`${why} is unavailable and says so, whatever its kind, and the next one connects anew`, () =>
      Effect.gen(function* () {
        const server = yield* scripted()
        const client = yield* dial(server)
        const calls = yield* Effect.forkChild(
          Effect.all([Effect.flip(client.calc({ n: 3 })), Effect.flip(Stream.runDrain(client.calcRange({})))], {
            concurrency: 2,
          }),
        )
        const peer = yield* server.accept
        act(peer, (yield* peer.request(1)).id)
        for (const { code, message } of yield* Fiber.join(calls)) {
          assert.equal(code, "unavailable")
          assert.match(message, expected)
        }
        yield* peer.gone
        const next = yield* Effect.forkChild(client.calc({ n: 4 }))
        const other = yield* server.accept
        other.say(answer((yield* other.request()).id, response(4)))
        assert.equal((yield* Fiber.join(next)).value, 4)
      }))
  }
})

describe("a connection whose server says that it goes away", () => {
  test("takes no more calls, lets those end that run, and is closed then", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server)
      const running = yield* Effect.forkChild(client.calc({ n: 1 }))
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      // As a server does that drains: first that it takes no more, then what the last was.
      peer.say(goaway(0x7fff_ffff))
      yield* peer.heard
      const next = yield* Effect.forkChild(client.calc({ n: 2 }))
      peer.say(goaway(id))
      const other = yield* server.accept
      other.say(answer((yield* other.request()).id, response(2)))
      assert.equal((yield* Fiber.join(next)).value, 2)
      peer.say(answer(id, response(1)))
      assert.equal((yield* Fiber.join(running)).value, 1)
      yield* peer.gone
      assert.equal(peer.requests.length, 1)
    }))
})

describe("a connection whose stream identifiers are used up", () => {
  test("gives its calls to another, and is closed when those that run have ended", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const sessions: Array<ClientSession> = []
      const options = { times: clientTimes({}, "1 hour"), limits: limitsOf(), timeout: "20 seconds" } as const
      const line = yield* Line.make<Target, ClientSession>({
        targets: [Result.getOrThrow(parseAddress(server.url, {}))],
        dial: (target, side) =>
          Effect.tap(dialTarget(target, options, side), (session) => Effect.sync(() => void sessions.push(session))),
        backoff: Backoff.connection,
        maxConnections: 1,
      })
      const connector = yield* GrpcClient.make(line, {
        codec: "proto",
        waitForReady: false,
        connectivity: line.connectivity,
      })
      const client = Client.make(PiCalculator, fromConnector(connector))
      const first = yield* Effect.forkChild(client.calc({ n: 1 }))
      const peer = yield* server.accept
      yield* peer.request()
      // What it comes to after 2^30 calls.
      const [session] = sessions
      assert.ok(session)
      const { ids } = session.connection as unknown as { readonly ids: { nextOwn: number } }
      ids.nextOwn = 0x7fff_ffff
      const second = yield* Effect.forkChild(client.calc({ n: 2 }))
      const last = yield* peer.request(1)
      assert.equal(last.id, 0x7fff_ffff)
      const third = yield* Effect.forkChild(client.calc({ n: 3 }))
      const other = yield* server.accept
      other.say(answer((yield* other.request()).id, response(3)))
      assert.equal((yield* Fiber.join(third)).value, 3)
      peer.say(answer(1, response(1)), answer(last.id, response(2)))
      assert.deepEqual([(yield* Fiber.join(first)).value, (yield* Fiber.join(second)).value], [1, 2])
      yield* peer.gone
    }))
})

test("what is thrown on a client's connection closes it, and ends what runs there with the reason", () =>
  Effect.gen(function* () {
    const server = yield* scripted()
    const options = { times: clientTimes({}, "1 hour"), limits: limitsOf({}), timeout: "1 minute" } as const
    const closed = yield* Deferred.make<void>()
    const side = { room: () => {}, left: () => {}, closed: () => Deferred.doneUnsafe(closed, Effect.void) }
    const target = Result.getOrThrow(parseAddress(server.url, {}))
    const dialled = yield* Effect.forkChild(dialTarget(target, options, side))
    const peer = yield* server.accept
    const session = yield* Fiber.join(dialled)
    const defect = new Error("thrown at the head")
    let resets = 0
    const idle = { data: () => {}, end: () => {}, reset: () => void resets++, drained: () => {} }
    const throwing = {
      ...idle,
      head: () => {
        throw defect
      },
    }
    const fields = [":method", ":scheme", ":path", ":authority"].map((name) => ({ name, value: "POST" }))
    session.connection.open(fields, throwing)
    session.connection.open(fields, { ...idle, head: () => {} })
    const { id } = yield* peer.request()
    peer.say(answer(id, response(3)))
    yield* Deferred.await(closed)
    assert.deepEqual([session.lost?.code, session.lost?.cause], ["internal", defect])
    assert.equal(resets, 2)
    yield* peer.gone
  }))
