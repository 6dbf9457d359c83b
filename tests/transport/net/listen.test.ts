import assert from "node:assert/strict"
import * as net from "node:net"
import { describe } from "node:test"
import { Deferred, Effect, Exit, Fiber, Queue, Scope } from "effect"
import { errorCode, frameType } from "../../../src/transport/http2/frames.ts"
import { type Handlers, type ListenOptions, listen } from "../../../src/transport/net/listen.ts"
import { ListenError } from "../../../src/transport/net/listenError.ts"
import { responded } from "../../../src/transport/refusal.ts"
import { test } from "../../effect.ts"
import { headers } from "../http2/support.ts"
import {
  http1,
  http2Requests,
  http2Session,
  ownScope,
  request1,
  request2,
  requests2,
  wire,
  withLog,
} from "../support.ts"
import { isPing, ofType, peer, pong } from "./support.ts"

/** What answers a request, given the version of HTTP that it came in. */
type Answering = (version: string) => Promise<string | Buffer>

const tellVersion: Answering = (version) => Promise.resolve(version)

const handlersOf = (answering: Answering, interrupt: () => void): Handlers => ({
  http1: (exchange) => {
    void answering("1.1").then((body) => {
      exchange.sendHeaders([{ name: ":status", value: "200" }], false)
      exchange.sendData(Buffer.from(body))
      exchange.sendEnd()
    })
    return responded(exchange)
  },
  http2: (connection, stream) => {
    stream.context = {
      data: (_, start, end) => connection.taken(stream, end - start),
      end: () =>
        void answering("2.0").then((body) => {
          connection.sendHeaders(stream, [{ name: ":status", value: "200" }], false)
          connection.sendData(stream, Buffer.from(body))
          connection.sendEnd(stream)
        }),
      reset: () => {},
      drained: () => {},
      stop: () => {},
    }
  },
  interrupt,
})

const open = (answering: Answering = tellVersion, options: ListenOptions = {}, interrupt = () => {}) =>
  listen(handlersOf(answering, interrupt), { port: 0, ...options })

const version = `${1.1}`

describe("one port", () => {
  test("serves HTTP/1.1 and HTTP/2, at the same time and again and again", () =>
    Effect.gen(function* () {
      const address = yield* open()
      const first = yield* http1(address)
      const second = yield* http2Requests(address)
      for (const path of ["/a", "/b", "/c"]) {
        const answers = yield* Effect.all([first({ ":path": path }, "body"), second({ ":path": path }, "body")], {
          concurrency: "unbounded",
        })
        assert.deepEqual(
          answers.map(({ status, body }) => [status, `${body}`]),
          [
            [200, "1.1"],
            [200, "2.0"],
          ],
        )
      }
    }))

  test("takes either HTTP byte by byte", () =>
    Effect.gen(function* () {
      const address = yield* open()
      const other = yield* http1(address)
      const headers = { ":authority": "localhost" }
      // The header of a SETTINGS frame with three settings.
      const settings = "\0\0\x12\x04"
      for (const [request, begins, answer] of [
        [request1({ ":method": "PUT" }, "x"), "HTTP/1.1 200 OK\r\n", "1.1"],
        [request1({ ":method": "PROPFIND" }, "x"), "HTTP/1.1 200 OK\r\n", "1.1"],
        [request2(headers, "x"), settings, "2.0"],
      ] as const) {
        const { send, receive } = yield* wire(address)
        for (const [index, byte] of request.entries()) {
          yield* send(new Uint8Array([byte]))
          // Once another request has been answered, the server has read this byte alone.
          if (index < 10) yield* other({})
        }
        const received = yield* receive((all) => (all.includes(answer, begins.length) ? all : undefined))
        assert.equal(received.toString("latin1", 0, begins.length), begins)
      }
    }))

  test("closes the socket of who speaks neither, and leaves all others alone", () =>
    Effect.gen(function* () {
      const address = yield* open()
      const others = [yield* http1(address), yield* http2Requests(address)]
      const ask = Effect.all(others.map((other) => other({})))
      yield* ask
      for (const garbage of [
        "PRI",
        "PRIX * HTTP/2.0\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage that is no frame of any kind",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "no request\r\n\r\n",
        new Uint8Array(1000),
      ]) {
        const { send, closed, socket } = yield* wire(address)
        yield* send(garbage)
        if (garbage === "PRI") socket.end()
        yield* closed
      }
      assert.equal((yield* ask).length, 2)
    }))

  test("closes a connection over which something is thrown, logs it, and leaves all others alone", () =>
    withLog((log) =>
      Effect.gen(function* () {
        const { http2, ...others } = handlersOf(tellVersion, () => {})
        const happened = yield* Queue.unbounded<string>()
        const throwing: Handlers["http2"] = (connection, stream, head, peer) => {
          http2(connection, stream, head, peer)
          const { context } = stream
          if (context === undefined || head.path === "/") return
          Queue.offerUnsafe(happened, "begun")
          const thrown = () => {
            Queue.offerUnsafe(happened, "thrown")
            throw new Error(`thrown at ${head.path}`)
          }
          stream.context = { ...context, end: () => {}, [head.path.slice(1)]: thrown }
        }
        const address = yield* listen({ ...others, http2: throwing }, { port: 0 })
        const other = yield* http2Requests(address)
        for (const event of ["data", "end", "reset"]) {
          const { send, closed, socket } = yield* wire(address)
          yield* send(request2({ ":authority": "localhost", ":path": `/${event}` }, "x"))
          assert.equal(yield* Queue.take(happened), "begun")
          if (event === "reset") socket.destroy()
          yield* closed
          assert.equal(yield* Queue.take(happened), "thrown")
          assert.equal((yield* other({ ":path": "/" })).status, 200)
        }
        assert.deepEqual(
          log.map((line) => /^a connection was closed by a defect .*(thrown at \/\w+)/s.exec(line)?.[1]),
          ["thrown at /data", "thrown at /end", "thrown at /reset"],
        )
      }),
    ))

  test("bears connections that say nothing, say half, or go away in the middle", () =>
    Effect.gen(function* () {
      const address = yield* open()
      const whole = request1({}, "body")
      for (const some of ["", "P", whole.subarray(0, 30), whole.subarray(0, whole.length - 2)]) {
        for (const leave of ["end", "destroy", "resetAndDestroy"] as const) {
          const { send, socket } = yield* wire(address)
          yield* send(some)
          socket[leave]()
        }
        const { send } = yield* wire(address)
        yield* send(some)
      }
      const request = yield* http1(address)
      assert.equal(`${(yield* request({})).body}`, version)
    }))

  test("has as many connections as it may, silent ones too: further ones are closed until one of them has left", () =>
    Effect.gen(function* () {
      const address = yield* open(tellVersion, { maxConnections: 2, peerShare: 1 })
      const request = yield* http2Requests(address)
      assert.equal(`${(yield* request({})).body}`, "2.0")
      const silent = yield* wire(address)
      yield* (yield* wire(address)).closed
      assert.equal(`${(yield* request({})).body}`, "2.0")
      silent.socket.destroy()
      // The server hears of that a little later.
      const one = Effect.scoped(Effect.flatMap(http1(address), (other) => other({})))
      assert.equal(`${(yield* Effect.eventually(one)).body}`, version)
    }))

  test("gives one address a quarter of its connections at most, so that others find places", () =>
    Effect.gen(function* () {
      // From any address of this machine, as 127.0.0.2 is one too.
      const address = yield* open(tellVersion, { maxConnections: 8 })
      const greedy = [yield* wire(address), yield* wire(address)]
      yield* (yield* wire(address)).closed
      const other = net.connect({ host: address.host, port: address.port, localAddress: "127.0.0.2" })
      yield* Effect.callback<void>((resume) => {
        other.on("error", (error) => resume(Effect.die(error)))
        other.once("data", () => resume(Effect.void))
        other.write(request1({}))
      })
      other.destroy()
      for (const { socket } of greedy) socket.destroy()
      // The server hears of that a little later.
      const one = Effect.scoped(Effect.flatMap(http1(address), (again) => again({})))
      assert.equal(`${(yield* Effect.eventually(one)).body}`, version)
    }))

  test("is told when 0 was asked for, and is on this machine alone if nothing was", () =>
    Effect.gen(function* () {
      const { host, port } = yield* open()
      assert.equal(host, "127.0.0.1")
      assert.ok(port > 0)
    }))

  test("that is taken fails with its address and what to do", () =>
    Effect.gen(function* () {
      const { port } = yield* open()
      const error = yield* Effect.flip(open(tellVersion, { port }))
      assert.ok(error instanceof ListenError)
      assert.equal(error.address, `127.0.0.1:${port}`)
      assert.equal(
        error.message,
        `cannot listen on 127.0.0.1:${port}: another process listens there already: end it, or choose another port`,
      )
    }))

  test("is shared by those who all ask for it, and by nobody else", () =>
    Effect.gen(function* () {
      const telling = (name: string) => open(() => Promise.resolve(name), { port, reusePort: true })
      let port = 0
      ;({ port } = yield* telling("first"))
      const second = yield* ownScope
      const address = yield* Scope.provide(telling("second"), second)
      assert.equal(address.port, port)
      const ask = Effect.scoped(
        Effect.flatMap(http1(address), (request) => Effect.map(request({}), ({ body }) => `${body}`)),
      )
      const told = yield* Effect.replicateEffect(ask, 64)
      assert.deepEqual([...new Set(told)].toSorted(), ["first", "second"])
      assert.equal((yield* Effect.flip(open(tellVersion, { port })))._tag, "ListenError")
      yield* Scope.close(second, Exit.void)
      assert.deepEqual([...new Set(yield* Effect.replicateEffect(ask, 16))], ["first"])
    }))

  test("on an address that this machine doesn't have fails with that address", () =>
    Effect.gen(function* () {
      // 192.0.2.0/24 is for documentation: no machine has it.
      const { message } = yield* Effect.flip(open(tellVersion, { host: "192.0.2.1" }))
      assert.match(message, /^cannot listen on 192\.0\.2\.1:0: this machine has no such address: .+$/)
    }))
})

/** A handler whose answers wait until the test lets them go. */
const held = Effect.gen(function* () {
  const arrived = yield* Deferred.make<void>()
  const go = yield* Deferred.make<string | Buffer>()
  const handle: Answering = () => {
    Deferred.doneUnsafe(arrived, Effect.void)
    return Effect.runPromise(Deferred.await(go))
  }
  return { arrived: Deferred.await(arrived), answer: (body: string | Buffer) => Deferred.succeed(go, body), handle }
})

const refused = ({ host, port }: { readonly host: string; readonly port: number }) =>
  Effect.callback<string>((resume) => {
    const socket = net.connect({ host, port }, () => resume(Effect.succeed("connected")))
    socket.on("error", (error: NodeJS.ErrnoException) => resume(Effect.succeed(error.code ?? "")))
    return Effect.sync(() => socket.destroy())
  })

const get2 = request2({ ":authority": "localhost" }, "")

describe("closing", () => {
  test("is done at once with connections that wait for nothing, and refuses new ones", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const address = yield* Scope.provide(open(tellVersion, { grace: "1 hour" }), scope)
      yield* (yield* http1(address))({})
      yield* (yield* http2Requests(address))({})
      yield* wire(address)
      yield* (yield* wire(address)).send("P")
      yield* Scope.close(scope, Exit.void)
      assert.equal(yield* refused(address), "ECONNREFUSED")
    }))

  for (const [http, request] of [
    ["HTTP/1.1", request1({})],
    ["HTTP/2", get2],
  ] as const) {
    test(`waits for an answer over ${http}, however large, and takes no more calls meanwhile`, () =>
      Effect.gen(function* () {
        const scope = yield* ownScope
        const { arrived, answer, handle } = yield* held
        const address = yield* Scope.provide(open(handle, { grace: "1 hour" }), scope)
        const { send, closed } = yield* wire(address)
        // The widest windows: all of the answer leaves the server's HTTP/2 at once, and waits in its socket.
        yield* send(http === "HTTP/2" ? widen(request) : request)
        yield* arrived
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* Effect.yieldNow
        assert.equal(yield* refused(address), "ECONNREFUSED")
        yield* answer(Buffer.alloc(10_000_000, "x"))
        const received = yield* closed
        assert.ok(received.length > 10_000_000, `${received.length}`)
        yield* Fiber.join(closing)
      }))
  }

  test("takes the requests that were under way, and refuses those behind its last word, to be tried elsewhere", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const { arrived, answer, handle } = yield* held
      const address = yield* Scope.provide(open(handle, { grace: "1 hour" }), scope)
      const { send, frame, closed } = yield* peer(address, false)
      yield* send(headers(1, true))
      yield* arrived
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      const asked = yield* frame(isPing)
      yield* send(headers(3, true), pong(asked), headers(5, true))
      const refusal = yield* frame(ofType(frameType.rstStream, 5))
      assert.equal(refusal.payload.readUInt32BE(0), errorCode.refusedStream)
      yield* answer("late")
      const all = yield* closed
      for (const id of [1, 3]) assert.equal(`${all.find(ofType(frameType.data, id))?.payload}`, "late")
      yield* Fiber.join(closing)
    }))

  test("tells HTTP/2 clients to go away", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const { arrived, answer, handle } = yield* held
      const address = yield* Scope.provide(open(handle), scope)
      const session = yield* http2Session(address)
      const away = Effect.callback<number>((resume) => {
        session.once("goaway", (code) => resume(Effect.succeed(code)))
      })
      yield* Effect.forkChild(requests2(session)({}))
      yield* arrived
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      assert.equal(yield* away, 0)
      yield* answer("")
      yield* Fiber.join(closing)
    }))

  test("interrupts what runs on after the grace, and lets it answer still", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const { arrived, answer, handle } = yield* held
      const interrupt = () => void Effect.runFork(answer("interrupted"))
      const address = yield* Scope.provide(open(handle, { grace: "10 millis" }, interrupt), scope)
      const running = yield* Effect.forkChild((yield* http1(address))({}))
      yield* arrived
      yield* Scope.close(scope, Exit.void)
      assert.equal(`${(yield* Fiber.join(running)).body}`, "interrupted")
    }))

  test("closes the connections even of a call that doesn't end when it is interrupted", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const { arrived, handle } = yield* held
      const address = yield* Scope.provide(open(handle, { grace: 0 }), scope)
      const { send, closed } = yield* wire(address)
      yield* send(request1({}))
      yield* arrived
      yield* Scope.close(scope, Exit.void)
      assert.equal((yield* closed).length, 0)
    }))
})

/** The request with windows of 1 GiB for its connection and its streams. */
const widen = (request: Buffer): Buffer => {
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".length
  const gibibyte = Buffer.of(0x40, 0, 0, 0)
  const settings = Buffer.concat([Buffer.of(0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4), gibibyte])
  const window = Buffer.concat([Buffer.of(0, 0, 4, 8, 0, 0, 0, 0, 0), gibibyte])
  return Buffer.concat([request.subarray(0, preface), settings, window, request.subarray(preface + 9)])
}
