import assert from "node:assert/strict"
import * as net from "node:net"
import { describe } from "node:test"
import { Effect, Fiber, Stream } from "effect"
import { deadline } from "../../src/core/layers/deadline.ts"
import { metadata } from "../../src/core/layers/metadata.ts"
import { retry } from "../../src/core/layers/retry.ts"
import { piClosedForm } from "../../src/core/pi/series.ts"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { test } from "../effect.ts"
import { dial, frame } from "../transport/support.ts"
import { network } from "./network.ts"
import { counting } from "./support.ts"

const keepalive = { time: "50 millis", timeout: "50 millis" } as const

describe("a connection on which nothing arrives any more, in either direction", () => {
  test("is found dead by keepalive, and its calls are unavailable", () =>
    Effect.gen(function* () {
      const server = yield* counting()
      const middle = yield* network(server)
      const client = yield* dial(middle, { keepalive }, metadata({ "x-hold": "yes" }))
      const calls = yield* Effect.forEach(
        [client.calc({ n: 1 }), client.report({}), Stream.runDrain(client.calcRange({ first: 1, last: 5 }))],
        (call) => Effect.forkChild(Effect.flip(call)),
      )
      yield* server.said(/holds 3\./)
      yield* middle.silence
      for (const call of calls) {
        const { code, message } = yield* Fiber.join(call)
        assert.deepEqual([code, message], ["unavailable", "the connection was lost: the server doesn't answer"])
      }
    }))

  test("is left by calls that are retried, for another one", () =>
    Effect.gen(function* () {
      const server = yield* counting()
      const middle = yield* network(server)
      const client = Client.make(PiCalculator, retry()(yield* connect(middle.url, { keepalive })))
      yield* client.calc({ n: 1 })
      yield* middle.silence
      const answers = yield* Effect.all(
        Array.from({ length: 20 }, (_, index) => client.calc({ n: index + 1 })),
        { concurrency: "unbounded" },
      )
      assert.deepEqual(
        answers.map(({ value }) => value),
        answers.map((_, index) => piClosedForm(index + 1)),
      )
      assert.equal(middle.made(), 2)
    }))

  test("without keepalive is one where deadlines end the calls", () =>
    Effect.gen(function* () {
      const server = yield* counting()
      const middle = yield* network(server)
      const client = yield* dial(middle, {}, deadline("2 seconds"))
      yield* client.calc({ n: 1 })
      yield* middle.silence
      for (const call of [client.calc({ n: 1 }), Stream.runDrain(client.calcRange({ first: 1, last: 5 }))]) {
        assert.equal((yield* Effect.flip(call)).code, "deadline_exceeded")
      }
    }))
})

/** Someone who takes connections, gives each its first words, and then says nothing. */
const mute = Effect.fnUntraced(function* (words: Uint8Array) {
  const sockets = new Set<net.Socket>()
  const listener = net.createServer((socket) => {
    sockets.add(socket)
    socket.on("error", () => {})
    socket.on("close", () => sockets.delete(socket))
    socket.resume()
    socket.write(words)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      listener.listen({ host: "127.0.0.1", port: 0 }, () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        listener.close()
        for (const socket of sockets) socket.destroy()
      }),
  )
  return { url: `http://127.0.0.1:${(listener.address() as net.AddressInfo).port}` }
})

describe("who takes a connection and says nothing", () => {
  test("can't be connected to, once the time for that is over", () =>
    Effect.gen(function* () {
      const client = yield* dial(yield* mute(new Uint8Array()), { connectTimeout: "100 millis" })
      const { code, message } = yield* Effect.flip(client.calc({ n: 1 }))
      assert.equal(code, "unavailable")
      assert.match(message, /^cannot connect to http:\/\/127\.0\.0\.1:\d+: it doesn't answer within 100 ms$/)
    }))

  test("doesn't keep calls beyond their deadline, whether they wait for it or not", () =>
    Effect.gen(function* () {
      const server = yield* mute(new Uint8Array())
      for (const waitForReady of [false, true]) {
        const client = yield* dial(server, { waitForReady }, deadline("100 millis"))
        assert.equal((yield* Effect.flip(client.calc({ n: 1 }))).code, "deadline_exceeded")
      }
    }))

  test("after the preface, is found dead by keepalive, or the calls' deadline passes", () =>
    Effect.gen(function* () {
      const server = yield* mute(frame(4, 0, 0, new Uint8Array()))
      const late = yield* dial(server, {}, deadline("100 millis"))
      assert.equal((yield* Effect.flip(late.calc({ n: 1 }))).code, "deadline_exceeded")
      const watchful = yield* dial(server, { keepalive })
      assert.equal((yield* Effect.flip(watchful.calc({ n: 1 }))).code, "unavailable")
    }))
})
