import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import * as http from "node:http"
import { describe } from "node:test"
import { Deferred, Effect, Exit, Queue, Scope } from "effect"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { listen } from "../../../src/transport/net/listen.ts"
import { notFound, responded } from "../../../src/transport/refusal.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { bytes, envelope, http1, ownScope, pi, request1, start, wire, withLog } from "../support.ts"
import { oddRequests } from "./requests.ts"

const json = { "content-type": "application/json" }
const calc = request1(json, '{"n":1}')
const statuses = (received: Buffer): ReadonlyArray<number> =>
  Array.from(`${received}`.matchAll(/HTTP\/1\.1 (\d+) /g), ([, status]) => Number(status))

/** A service whose Calc waits at a gate, and how many calls have come to it. */
const gated = Effect.gen(function* () {
  const gate = yield* Deferred.make<void>()
  const begun = yield* Queue.unbounded<void>()
  const ended = yield* Queue.unbounded<void>()
  const seen = { running: 0, most: 0, all: 0 }
  const service = Service.partial(PiCalculator, {
    calc: ({ n }) =>
      Effect.suspend(() => {
        seen.running += 1
        seen.all += 1
        seen.most = Math.max(seen.most, seen.running)
        Queue.offerUnsafe(begun, undefined)
        return Effect.as(Deferred.await(gate), { value: n })
      }).pipe(
        Effect.ensuring(
          Effect.sync(() => {
            seen.running -= 1
            Queue.offerUnsafe(ended, undefined)
          }),
        ),
      ),
  })
  return { service, seen, open: Deferred.succeed(gate, undefined), begun: Queue.take(begun), ended: Queue.take(ended) }
})

/** Waits until something is so. */
const until = (isSo: () => boolean) =>
  Effect.gen(function* () {
    while (!isSo()) yield* Effect.sleep("10 millis")
  })

const memory = { process: 100_000_000 }

describe("a connection of HTTP/1.1", () => {
  test("gives each odd request its status, and what is refused nothing behind it", () =>
    Effect.gen(function* () {
      const server = yield* start(pi, { limits: { maxHeaderListSize: 16_384 } })
      yield* Effect.forEach(
        oddRequests,
        ({ name, bytes, status }) =>
          Effect.gen(function* () {
            const { send, receive, closed } = yield* wire(server)
            yield* send(Buffer.from(`${bytes}GET /hidden HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`, "latin1"))
            yield* receive((received) => received.includes("\r\n\r\n") || undefined)
            assert.deepEqual(statuses(yield* closed), status === 200 ? [200, 404] : [status], name)
          }).pipe(Effect.scoped),
        { concurrency: 8 },
      )
    }))

  test("has one request at a time, however many are sent, and holds no more than the next ones", () =>
    Effect.gen(function* () {
      const { service, seen, open, begun } = yield* gated
      const server = yield* start(service, { memory })
      const { socket, drop } = yield* wire(server)
      drop()
      let counted = 0
      socket.on("data", (piece: Buffer) => {
        counted += statuses(piece).length
      })
      const many = Buffer.concat(Array.from({ length: 1000 }, () => calc))
      for (let i = 0; i < 100; i++) socket.write(many)
      yield* begun
      const other = yield* http1(server)
      for (let i = 0; i < 20; i++) yield* other({ ":path": "/none" })
      assert.deepEqual(seen, { running: 1, most: 1, all: 1 })
      assert.ok(server.memory.used < 1_000_000, `${server.memory.used} bytes are held`)
      yield* open
      yield* until(() => counted > 100)
      assert.equal(seen.most, 1)
      socket.destroy()
    }))

  test("reads no more of a body than its program takes", () =>
    Effect.gen(function* () {
      let came = 0
      const address = yield* listen(
        {
          http2: () => {},
          http1: (exchange) => ({
            ...responded(exchange),
            data: (_, start, end) => {
              came += end - start
            },
          }),
          interrupt: () => {},
        },
        { port: 0, grace: 0, memory, http1: { bodyTimeout: "2 seconds" } },
      )
      const { socket } = yield* wire(address)
      const size = 30_000_000
      socket.write(`POST / HTTP/1.1\r\nhost: x\r\ncontent-length: ${size}\r\n\r\n`)
      socket.write(Buffer.alloc(size))
      const other = yield* http1(yield* start(pi))
      yield* until(() => came > 60_000)
      for (let i = 0; i < 20; i++) yield* other(json, '{"n":1}')
      assert.ok(came < 2_000_000, `${came} bytes came`)
      assert.equal(address.memory.used, came)
      yield* until(() => address.memory.used === 0)
    }))

  for (const [what, first, drip] of [
    ["never comes", `content-length: 9\r\n\r\n`, ""],
    ["comes byte by byte", "transfer-encoding: chunked\r\n\r\n", "1\r\n \r\n"],
    ["never comes, of a stream", "transfer-encoding: chunked\r\n\r\n", ""],
  ] as const) {
    test(`ends a request whose body ${what}`, () =>
      Effect.gen(function* () {
        const type = what.endsWith("stream") ? "application/connect+proto" : "application/json"
        const path = what.endsWith("stream") ? "Summarize" : "Calc"
        const http1 = drip === "" ? { stallTimeout: "200 millis" as const } : { bodyTimeout: "400 millis" as const }
        const { send, socket, closed } = yield* wire(yield* start(pi, { http1 }))
        yield* send(`POST /pi.PiCalculator/${path} HTTP/1.1\r\nhost: x\r\ncontent-type: ${type}\r\n${first}`)
        const dripping = setInterval(() => drip !== "" && socket.write(drip), 50)
        const received = yield* Effect.ensuring(
          closed,
          Effect.sync(() => clearInterval(dripping)),
        )
        assert.deepEqual(statuses(received), [408])
      }))
  }

  test("answers a path that nobody serves without waiting for its body, and closes where that doesn't come", () =>
    Effect.gen(function* () {
      const { send, receive, closed } = yield* wire(yield* start(pi, { http1: { idleTimeout: "300 millis" } }))
      yield* send("POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n")
      assert.deepEqual(
        yield* receive((received) => (statuses(received).length > 0 ? statuses(received) : undefined)),
        [404],
      )
      yield* closed
    }))

  test("closes once a client reads nothing of a response for too long, and tells its handler", () =>
    Effect.gen(function* () {
      const cut = yield* Deferred.make<void>()
      const piece = Buffer.alloc(65_536)
      const address = yield* listen(
        {
          http2: () => {},
          http1: (exchange) => {
            const fill = () => {
              while (!exchange.closed && exchange.sendData(piece));
            }
            exchange.sendHeaders([{ name: ":status", value: "200" }], false)
            fill()
            return { ...responded(exchange), drained: fill, reset: () => Deferred.doneUnsafe(cut, Effect.void) }
          },
          interrupt: () => {},
        },
        { port: 0, grace: 0, memory, http1: { stallTimeout: "300 millis" } },
      )
      const { socket, send } = yield* wire(address)
      socket.pause()
      yield* send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      yield* Deferred.await(cut)
      assert.equal(address.memory.used, 0)
    }))

  test("refuses a response for which no memory is left, and serves others meanwhile", () =>
    Effect.gen(function* () {
      const large = Buffer.alloc(1_000_000)
      const address = yield* listen(
        {
          http2: () => {},
          http1: (exchange, head) => {
            exchange.sendHeaders([{ name: ":status", value: "200" }], false)
            exchange.sendData(head.path === "/large" ? large : Buffer.from("ok"))
            exchange.sendEnd()
            return responded(exchange)
          },
          interrupt: () => {},
        },
        { port: 0, grace: 0, memory: { ...memory, connection: 500_000 } },
      )
      const other = yield* http1(address)
      const { send, closed } = yield* wire(address)
      yield* send("GET /large HTTP/1.1\r\nhost: x\r\n\r\n")
      assert.match(`${yield* closed}`, /^HTTP\/1\.1 503 .*no memory left/s)
      assert.equal(`${(yield* other({})).body}`, "ok")
      assert.equal(address.memory.used, 0)
    }))

  test("drops what waits of a response at its deadline", () =>
    Effect.gen(function* () {
      const cut = yield* Deferred.make<void>()
      const address = yield* listen(
        {
          http2: () => {},
          http1: (exchange) => {
            exchange.sendHeaders([{ name: ":status", value: "200" }], false)
            exchange.sendData(Buffer.alloc(20_000_000))
            exchange.sendEnd()
            exchange.sendBy?.(performance.now() + 300)
            return { ...responded(exchange), reset: () => Deferred.doneUnsafe(cut, Effect.void) }
          },
          interrupt: () => {},
        },
        { port: 0, grace: 0, memory },
      )
      const { socket, send } = yield* wire(address)
      socket.pause()
      yield* send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
      yield* Deferred.await(cut)
      assert.equal(address.memory.used, 0)
    }))

  test("lets who handles a request say that there is no memory for it", () =>
    Effect.gen(function* () {
      const address = yield* listen(
        {
          http2: () => {},
          http1: (exchange) => ({
            ...responded(exchange),
            data: () => {},
            exhausted: ({ name }) => {
              exchange.sendHeaders(
                [
                  { name: ":status", value: "429" },
                  { name: "x-short", value: name },
                ],
                true,
              )
            },
          }),
          interrupt: () => {},
        },
        { port: 0, grace: 0, memory: { ...memory, connection: 1000 } },
      )
      const { send, receive } = yield* wire(address)
      yield* send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2000\r\n\r\n", new Uint8Array(2000))
      yield* receive((received) => /^HTTP\/1\.1 429 .*\r\nx-short: connection\r\n/s.test(`${received}`) || undefined)
    }))

  test("hears that its client has gone away while a call runs, and ends that", () =>
    Effect.gen(function* () {
      for (const leave of ["end", "destroy", "resetAndDestroy"] as const) {
        const { service, begun, ended } = yield* gated
        const { socket, send } = yield* wire(yield* start(service))
        yield* send(calc)
        yield* begun
        socket[leave]()
        yield* ended
      }
    }))

  test("closes behind the response where the client asks for it, or speaks HTTP/1.0, which has no chunks", () =>
    Effect.gen(function* () {
      const server = yield* start(pi)
      const rangePath = "/pi.PiCalculator/CalcRange"
      const range = (version: string, more: string) => {
        const body = envelope(bytes('{"first":1,"last":3}'))
        return Buffer.concat([
          Buffer.from(`POST ${rangePath} HTTP/${version}\r\nhost: x\r\ncontent-type: application/connect+json\r\n`),
          Buffer.from(`content-length: ${body.length}\r\n${more}\r\n`),
          body,
        ])
      }
      for (const [request, chunked] of [
        [range("1.1", "connection: close\r\n"), true],
        [range("1.0", ""), false],
        [range("1.0", "connection: keep-alive\r\n"), false],
      ] as const) {
        const { send, closed } = yield* wire(server)
        yield* send(request)
        const received = `${yield* closed}`
        assert.match(received, /^HTTP\/1\.1 200 OK\r\n/)
        assert.match(received, /\r\nconnection: close\r\n/)
        assert.equal(/transfer-encoding: chunked/.test(received), chunked)
        assert.equal(received.match(/"value":/g)?.length, 3)
      }
    }))

  test("tells a client that waits for it to go on with its body, but not where the response is there without", () =>
    Effect.gen(function* () {
      const server = yield* start(pi)
      const head = (path: string) =>
        `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\ncontent-length: 7\r\n\r\n`
      const { send, receive } = yield* wire(server)
      yield* send(head("/pi.PiCalculator/Calc"))
      yield* receive((received) => `${received}` === "HTTP/1.1 100 Continue\r\n\r\n" || undefined)
      yield* send('{"n":1}')
      yield* receive((received) => statuses(received).includes(200) || undefined)
      const refused = yield* wire(server)
      yield* refused.send(head("/none"))
      assert.deepEqual(statuses(yield* refused.closed), [404])
    }))

  test("reads what is left of a request that was answered early, up to a bound", () =>
    Effect.gen(function* () {
      const server = yield* start(pi)
      const request = yield* http1(server)
      assert.equal((yield* request({ ":path": "/none" }, new Uint8Array(200_000))).status, 404)
      assert.equal((yield* request(json, '{"n":1}')).status, 200)
      const { send, receive, closed, socket } = yield* wire(server)
      yield* send("POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n")
      yield* receive((received) => statuses(received).includes(404) || undefined)
      socket.on("error", () => {})
      socket.write(Buffer.alloc(100_000_000))
      assert.deepEqual(statuses(yield* closed), [404])
    }))

  test("tells who may have more to send behind an early response that the connection closes", () =>
    Effect.gen(function* () {
      const server = yield* start(pi)
      for (const body of ["content-length: 100000000", "transfer-encoding: chunked"]) {
        const { send, closed } = yield* wire(server)
        yield* send(`POST /none HTTP/1.1\r\nhost: x\r\n${body}\r\n\r\n`)
        assert.match(`${yield* closed}`, /^HTTP\/1\.1 404 .*\r\nconnection: close\r\n/s)
      }
      const { send, receive } = yield* wire(server)
      yield* send("POST /none HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
      const whole = yield* receive((received) => (statuses(received).includes(404) ? `${received}` : undefined))
      assert.doesNotMatch(whole, /connection: close/)
    }))

  test("sends a response to HEAD without its body", () =>
    Effect.gen(function* () {
      const { send, closed } = yield* wire(yield* start(pi))
      yield* send("HEAD /none HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
      const received = `${yield* closed}`
      assert.match(received, /^HTTP\/1\.1 404 Not Found\r\n/)
      assert.ok(received.endsWith("\r\n\r\n"))
    }))

  test("sends nothing of a response with a field that would split it, and logs which one", () =>
    withLog((log) =>
      Effect.gen(function* () {
        for (const value of ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b", "\u010d\u010ax-evil: 1"]) {
          const address = yield* listen(
            {
              http2: () => {},
              http1: (exchange) => {
                exchange.sendHeaders(
                  [
                    { name: ":status", value: "200" },
                    { name: "x-a", value },
                  ],
                  true,
                )
                return responded(exchange)
              },
              interrupt: () => {},
            },
            { port: 0, grace: 0 },
          )
          const { send, closed } = yield* wire(address)
          yield* send("GET / HTTP/1.1\r\nhost: x\r\n\r\n")
          assert.doesNotMatch(`${yield* closed}`, /evil|200/)
          assert.match(log.join("\n"), /field x-a has a character that can't be sent/)
          log.length = 0
        }
      }),
    ))

  test("is closed by a drain once its response is sent, which says so", () =>
    Effect.gen(function* () {
      const { service, begun, open } = yield* gated
      const scope = yield* ownScope
      const server = yield* Scope.provide(start(service, { grace: "1 hour" }), scope)
      const { send, closed } = yield* wire(server)
      yield* send(Buffer.concat([calc, calc]))
      yield* begun
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* Effect.yieldNow
      yield* open
      const received = yield* closed
      assert.deepEqual(statuses(received), [200])
      assert.match(`${received}`, /\r\nconnection: close\r\n/)
      yield* closing.pipe((fiber) => Effect.promise(() => new Promise((resolve) => fiber.addObserver(resolve))))
    }))

  test("serves the runtime's own clients, on connections that they keep", () =>
    Effect.gen(function* () {
      const peers = new Set<string | undefined>()
      const address = yield* listen(
        {
          http2: () => {},
          http1: (exchange, head) => {
            peers.add(exchange.peer.address)
            if (head.path === "/none") return notFound(exchange)
            let length = 0
            return {
              ...responded(exchange),
              data: (_, start, end) => {
                length += end - start
                exchange.consumed(end - start)
              },
              end: () => {
                exchange.sendHeaders([{ name: ":status", value: "200" }], false)
                exchange.sendData(Buffer.alloc(length, "x"))
                setTimeout(() => exchange.sendEnd(), length % 2)
              },
            }
          },
          interrupt: () => {},
        },
        { port: 0 },
      )
      const url = `http://${address.host}:${address.port}/`
      const sizes = [0, 1, 2, 1000, 100_000, 3_000_001]
      for (const size of sizes) {
        const response = yield* Effect.promise(() => fetch(url, { method: "POST", body: new Uint8Array(size) }))
        const body = yield* Effect.promise(() => response.arrayBuffer())
        assert.deepEqual([response.status, body.byteLength], [200, size])
        const none = yield* Effect.promise(() => fetch(`${url}none`))
        assert.equal(none.status, 404)
        yield* Effect.promise(() => none.text())
      }
      peers.clear()
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
      for (const size of sizes) {
        const length = yield* Effect.callback<number>((resume) => {
          const request = http.request(url, { method: "POST", agent }, (response) => {
            let length = 0
            response.on("data", (piece: Buffer) => {
              length += piece.length
            })
            response.on("end", () => resume(Effect.succeed(length)))
          })
          // Without a length: in chunks.
          request.write(Buffer.alloc(Math.floor(size / 2)))
          request.end(Buffer.alloc(Math.ceil(size / 2)))
        })
        assert.equal(length, size)
      }
      agent.destroy()
      assert.equal(peers.size, 1)
    }))
})
