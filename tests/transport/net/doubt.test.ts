import assert from "node:assert/strict"
import { describe } from "node:test"
import { Deferred, Duration, Effect, Result, Stream } from "effect"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { hedge } from "../../../src/core/layers/hedge.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { errorCode, flag, frameType } from "../../../src/transport/http2/frames.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import { parseAddress } from "../../../src/transport/net/address.ts"
import { clientTimes } from "../../../src/transport/net/clientSession.ts"
import { dial as dialSession } from "../../../src/transport/net/dial.ts"
import { test } from "../../effect.ts"
import { type Frame, ping } from "../http2/support.ts"
import { goaway, type Peer, scripted } from "../scripted.ts"
import { dial } from "../support.ts"

const isPing = ({ type, flags }: Frame): boolean => type === frameType.ping && (flags & flag.ack) === 0
const pings = ({ frames }: Peer): number => frames.filter(isPing).length

describe("a client whose call reaches its deadline on a connection on which nothing was heard since", () => {
  for (const protocol of ["grpc", "connect", "grpc-web"] as const) {
    test(`asks the server with a PING, and leaves the connection when nothing comes (${protocol})`, () =>
      Effect.gen(function* () {
        const server = yield* scripted()
        const { calc } = yield* dial(server, { protocol, keepalive: { timeout: "100 millis" } }, deadline("100 millis"))
        assert.equal((yield* Effect.flip(calc({ n: 1 }))).code, "deadline_exceeded")
        const peer = yield* server.accept
        yield* peer.frame(isPing)
        yield* peer.gone
        assert.equal(pings(peer), 1)
        // The next call goes through another connection.
        yield* Effect.forkChild(Effect.exit(calc({ n: 1 })))
        yield* server.accept
      }))
  }

  test("asks once for many calls, and for streams as well", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const { calcRange } = yield* dial(server, {}, deadline("100 millis"))
      const call = Effect.flip(Stream.runDrain(calcRange({ first: 1, last: 2 })))
      yield* Effect.all(
        Array.from({ length: 20 }, () => call),
        { concurrency: "unbounded" },
      )
      const peer = yield* server.accept
      yield* peer.frame(isPing)
      yield* call
      yield* peer.heard
      assert.equal(pings(peer), 1)
    }))

  test("asks too where a layer ends the call", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const { calc } = yield* dial(server, {}, (channel) =>
        channel.pipe(hedge({ delay: "1 hour", methods: "all" }), deadline("100 millis")),
      )
      assert.equal((yield* Effect.flip(calc({ n: 1 }))).code, "deadline_exceeded")
      yield* (yield* server.accept).frame(isPing)
    }))

  test("asks nothing of a server that has said something since", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const { calc } = yield* dial(server, {}, deadline("300 millis"))
      const call = yield* Effect.forkChild(Effect.flip(calc({ n: 1 })))
      const peer = yield* server.accept
      const { id } = yield* peer.request()
      peer.say(ping)
      yield* peer.cut(id)
      yield* peer.heard
      assert.equal(pings(peer), 0)
      call.interruptUnsafe()
    }))
})

test("a server that finds that it is asked too often is asked half as often by the connections that follow", () =>
  Effect.gen(function* () {
    const server = yield* scripted()
    const times = clientTimes({ time: "50 millis", timeout: "1 minute", withoutCalls: true }, Duration.infinity)
    const target = Result.getOrThrow(parseAddress(server.url, {}))
    for (const time of [100, 200]) {
      const left = yield* Deferred.make<void>()
      const side = { room: () => {}, left: () => Deferred.doneUnsafe(left, Effect.void), closed: () => {} }
      const session = yield* dialSession(target, { times, limits: limitsOf(), timeout: "20 seconds" }, side)
      const peer = yield* server.accept
      yield* peer.frame(isPing)
      peer.say(goaway(0, errorCode.enhanceYourCalm))
      yield* Deferred.await(left)
      assert.equal(times.keepalive.time, time)
      session.cut(new RpcError({ code: "cancelled", message: "the test is over" }))
    }
  }))
