/**
 * Peers that send on behind the end of their connection: what they send is read no more, and the connection is closed.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import * as net from "node:net"
import { describe } from "node:test"
import { Effect, Exit, Fiber, Queue, Scope, Stream } from "effect"
import { frameType } from "../../../src/transport/http2/frames.ts"
import type { Server } from "../../../src/transport/server.ts"
import { test } from "../../effect.ts"
import { data, headers, hello, settings, windowUpdate } from "../http2/support.ts"
import { head, message } from "../scripted.ts"
import { dial, envelope, frame, pi, start, wire } from "../support.ts"
import { callOf } from "./support.ts"

const ignore = () => {}

// What is read and dropped, and what the sockets' buffers hold.
const most = 64 * 1024 * 1024
const chunk = Buffer.concat(Array.from({ length: 4000 }, () => windowUpdate(0, 1)))

/** Sends for as long as the other end takes it, and gives how many bytes it took until it closed; at most twice `most`. */
const flood = (socket: net.Socket): Effect.Effect<number> =>
  Effect.callback((resume) => {
    const count = () => resume(Effect.succeed(socket.bytesWritten - socket.writableLength))
    const write = () => {
      while (!socket.destroyed && socket.bytesWritten < 2 * most) if (!socket.write(chunk)) return
      if (socket.bytesWritten >= 2 * most) count()
    }
    socket.on("error", ignore)
    socket.on("drain", write)
    if (socket.closed) return count()
    socket.once("close", count)
    write()
  })

const wrongs: Readonly<Record<string, Uint8Array>> = {
  "a frame on no stream": data(0, Buffer.of(1)),
  "a header block that nobody can decode": headers(1, true, Buffer.of(0x80)),
}

/** A socket to a server, which goes on sending when the server has ended its side. */
const stubborn = ({ host, port }: Server) =>
  Effect.acquireRelease(
    Effect.callback<net.Socket>((resume) => {
      const socket = net.connect({ host, port, allowHalfOpen: true }, () => resume(Effect.succeed(socket)))
      socket.on("error", ignore)
    }),
    (socket) => Effect.sync(() => socket.destroy()),
  )

/** Waits until bytes have come that are there. */
const heard = (socket: net.Socket, wanted: Uint8Array): Effect.Effect<Buffer> =>
  Effect.callback((resume) => {
    let received = Buffer.alloc(0)
    socket.on("data", (bytes: Buffer) => {
      received = Buffer.concat([received, bytes])
      if (received.includes(wanted)) resume(Effect.succeed(received))
    })
  })

const whenClosed = (socket: net.Socket): Effect.Effect<void> =>
  Effect.callback((resume) => {
    if (socket.closed) resume(Effect.void)
    else socket.once("close", () => resume(Effect.void))
  })

/** The first bytes of a GOAWAY. */
const goaway = frame(frameType.goaway, 0, 0, Buffer.alloc(8)).subarray(0, 9)

describe("a client", () => {
  for (const [what, wrong] of Object.entries(wrongs)) {
    test(`that has sent ${what} is told so, and what it sends from then on is not read`, () =>
      Effect.gen(function* () {
        const socket = yield* stubborn(yield* start(pi))
        const told = yield* Effect.forkChild(heard(socket, goaway))
        socket.write(Buffer.concat([hello, wrong]))
        const taken = yield* flood(socket)
        assert.ok(taken < most, `${taken} bytes were taken`)
        yield* Fiber.join(told)
      }))
  }

  test("that trickles on is closed all the same", () =>
    Effect.gen(function* () {
      const socket = yield* stubborn(yield* start(pi))
      socket.resume()
      const from = performance.now()
      socket.write(Buffer.concat([hello, data(0, Buffer.of(1))]))
      const trickling = setInterval(() => socket.write(Buffer.of(0)), 50)
      yield* Effect.ensuring(
        whenClosed(socket),
        Effect.sync(() => clearInterval(trickling)),
      )
      assert.ok(performance.now() - from < 10_000)
    }))

  test("that was drained and sends on is read no further than what may be under way", () =>
    Effect.gen(function* () {
      const socket = yield* stubborn(yield* start(pi, { connection: { maxAge: "300 millis" } }))
      const last = frame(frameType.goaway, 0, 0, Buffer.alloc(8))
      const told = yield* Effect.forkChild(heard(socket, last))
      socket.write(hello)
      // Without an answer to its PING the server names the last stream after a second.
      yield* Fiber.join(told)
      const taken = yield* flood(socket)
      assert.ok(taken < most, `${taken} bytes were taken`)
    }))
})

/** A server that greets its client, and goes on sending when that has ended its side; gives each socket. */
const stubbornServer = Effect.gen(function* () {
  const arrived = yield* Queue.make<net.Socket>()
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", ignore)
    socket.write(settings([4, 100_000]))
    Queue.offerUnsafe(arrived, socket)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () => Effect.sync(() => server.close()),
  )
  const bound = server.address()
  const port = typeof bound === "object" && bound !== null ? bound.port : 0
  return { url: `http://127.0.0.1:${port}`, accept: Queue.take(arrived) }
})

/** What a client's HEADERS frame on its first stream begins with, behind the length. */
const firstHeaders = Buffer.of(frameType.headers, 4, 0, 0, 0, 1)

describe("a server", () => {
  test("that has broken the rules is left, whatever it goes on to send", () =>
    Effect.gen(function* () {
      const server = yield* stubbornServer
      const client = yield* dial(server)
      const failing = yield* Effect.forkChild(Effect.flip(client.calc({ n: 1 })))
      const socket = yield* server.accept
      yield* heard(socket, firstHeaders)
      socket.write(Buffer.concat([head(1), data(0, Buffer.of(1))]))
      assert.equal((yield* Fiber.join(failing)).code, "unavailable")
      const taken = yield* flood(socket)
      assert.ok(taken < most, `${taken} bytes were taken`)
    }))

  test("that sends an endless stream to a channel that closes is left", () =>
    Effect.gen(function* () {
      const server = yield* stubbornServer
      const scope = yield* Scope.make()
      const client = yield* Effect.provideService(dial(server), Scope.Scope, scope)
      const reading = yield* Effect.forkChild(Stream.runDrain(client.calcRange({ first: 1, last: 2 })))
      const socket = yield* server.accept
      yield* heard(socket, firstHeaders)
      socket.write(Buffer.concat([head(1), message(1, Buffer.of(0x08, 1))]))
      yield* Fiber.interrupt(reading)
      yield* Scope.close(scope, Exit.void)
      const taken = yield* flood(socket)
      assert.ok(taken < most, `${taken} bytes were taken`)
    }))
})

describe("a call whose response is under way", () => {
  test("loses none of it when its connection is drained, though its client sends on", () =>
    Effect.gen(function* () {
      const server = yield* start(pi, { connection: { maxAge: "200 millis" } })
      const { socket, send, closed } = yield* wire(server)
      socket.pause()
      // 100,000 responses of 11 bytes or so: more than the sockets' buffers at first.
      const wide = Buffer.concat([settings([4, 0x7fff_ffff]), windowUpdate(0, 0x7fff_0000 - 65_535)])
      const range = Buffer.from([0x08, 1, 0x10, 0xa0, 0x8d, 0x06])
      yield* send(hello, wide, headers(1, false, callOf("CalcRange")), data(1, envelope(range), true))
      yield* Effect.sleep("1 second")
      const sending = setInterval(() => socket.write(windowUpdate(0, 1)), 20)
      yield* Effect.sleep("1 second")
      socket.resume()
      const said = yield* Effect.ensuring(
        closed,
        Effect.sync(() => clearInterval(sending)),
      )
      // The trailers, which are the last frame on the stream.
      const end = Buffer.from([frameType.headers, 5, 0, 0, 0, 1])
      assert.ok(said.includes(end), `${said.length} bytes came, and no trailers`)
    }))
})
