import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test as plainTest } from "node:test"
import { Deferred, Effect } from "effect"
import type { Answerer, Exchange } from "../../../src/transport/exchange.ts"
import { Http1Connection } from "../../../src/transport/http1/connection.ts"
import { http1Times } from "../../../src/transport/http1/times.ts"
import { MemoryBudget } from "../../../src/transport/http2/memory.ts"
import { type ListenOptions, listen } from "../../../src/transport/net/listen.ts"
import { responded } from "../../../src/transport/refusal.ts"
import { test } from "../../effect.ts"
import { wire } from "../support.ts"

const large = 32_000_000
const get = "GET / HTTP/1.1\r\nhost: x\r\n\r\n"
const ok = [{ name: ":status", value: "200" }]

const serving = (http1: Answerer, options: ListenOptions = {}) =>
  listen({ http2: () => {}, http1, interrupt: () => {} }, { port: 0, grace: 0, ...options })

const respond = (exchange: Exchange, length: number) => {
  exchange.sendHeaders(ok, false)
  exchange.sendData(Buffer.alloc(length))
  exchange.sendEnd()
}

const whole =
  (length: number): Answerer =>
  (exchange) => {
    respond(exchange, length)
    return responded(exchange)
  }

/** A connection whose last response is with its socket. */
const closing = () => {
  const seen: { finish?: () => void; destroyed: boolean; paused: boolean } = { destroyed: false, paused: false }
  const connection = new Http1Connection(
    {
      socket: {
        write: () => true,
        pause: () => {
          seen.paused = true
        },
        resume: () => {},
        end: (done) => {
          seen.finish = done
        },
        destroy: () => {
          seen.destroyed = true
        },
      },
      scheme: "http",
      peer: { address: undefined },
      answer: whole(2),
      times: http1Times(30_000),
      maxHeadSize: 65_536,
      memory: new MemoryBudget("connection", 1_000_000),
      wake: () => {},
      died: () => {},
    },
    performance.now(),
  )
  connection.receive(Buffer.from("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
  connection.drained()
  return { connection, seen }
}

describe("over HTTP/1.1", () => {
  test("a response has its time from when it is there, however long its program took", () =>
    Effect.gen(function* () {
      const late: Answerer = (exchange) => {
        setTimeout(() => respond(exchange, large), 2500)
        return responded(exchange)
      }
      const { socket, send, closed, drop } = yield* wire(yield* serving(late, { http1: { stallTimeout: "2 seconds" } }))
      drop()
      let came = 0
      socket.on("data", (piece: Buffer) => {
        came += piece.length
        if (came > large) socket.destroy()
      })
      yield* send(get)
      yield* closed
      assert.ok(came > large, `${came} bytes came`)
    }))

  plainTest("a connection isn't destroyed while its socket has bytes of the last response to send", () => {
    const { connection, seen } = closing()
    assert.ok(seen.finish !== undefined)
    connection.ring(performance.now() + 10_000)
    assert.equal(seen.destroyed, false)
    seen.finish()
    connection.ring(performance.now() + 10_000)
    assert.equal(seen.destroyed, true)
  })

  plainTest("a connection that closes doesn't go on reading what its client sends", () => {
    const { connection, seen } = closing()
    const piece = Buffer.alloc(65_536)
    for (let sent = 0; sent < 10_000_000 && !seen.paused; sent += piece.length) connection.receive(piece)
    assert.equal(seen.paused, true)
    assert.equal(seen.destroyed, false)
  })

  test("a head that came behind a request has its time from when that has its response", () =>
    Effect.gen(function* () {
      const late: Answerer = (exchange) => {
        setTimeout(() => respond(exchange, 2), 2000)
        return responded(exchange)
      }
      const { send, receive } = yield* wire(yield* serving(late, { headersTimeout: "1500 millis" }))
      yield* send(`${get}${get.slice(0, 9)}`)
      const responses = (received: Buffer) => `${received}`.split("HTTP/1.1 200").length - 1
      yield* receive((received) => responses(received) === 1 || undefined)
      yield* Effect.sleep("100 millis")
      yield* send(get.slice(9))
      yield* receive((received) => responses(received) === 2 || undefined)
    }))

  test("who has said its last and reads nothing has no place for ever", () =>
    Effect.gen(function* () {
      const address = yield* serving(whole(large), { maxConnections: 1, http1: { stallTimeout: "300 millis" } })
      const first = yield* wire(address)
      first.socket.pause()
      yield* first.send(get)
      yield* Effect.sleep("50 millis")
      first.socket.end()
      const again = Effect.gen(function* () {
        const { send, receive } = yield* wire(address)
        yield* send(get)
        yield* receive((received) => received.length > 0 || undefined)
      }).pipe(Effect.scoped)
      yield* again.pipe(
        Effect.catch(() => Effect.sleep("100 millis").pipe(Effect.andThen(Effect.fail("no place")))),
        Effect.retry({ times: 40 }),
      )
    }))

  test("bytes of a body are no progress of a response that its client doesn't read", () =>
    Effect.gen(function* () {
      const cut = yield* Deferred.make<void>()
      const address = yield* serving(
        (exchange) => {
          exchange.sendHeaders(ok, false)
          exchange.sendData(Buffer.alloc(large))
          return { ...responded(exchange), reset: () => Deferred.doneUnsafe(cut, Effect.void) }
        },
        { http1: { stallTimeout: "400 millis" } },
      )
      const { socket, send } = yield* wire(address)
      socket.pause()
      yield* send("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
      const dripping = setInterval(() => socket.write("1\r\n \r\n"), 50)
      yield* Deferred.await(cut).pipe(
        Effect.timeout("10 seconds"),
        Effect.ensuring(Effect.sync(() => clearInterval(dripping))),
      )
    }))

  test("a head that isn't whole counts as held", () =>
    Effect.gen(function* () {
      const address = yield* serving(whole(2), { memory: { process: 400_000 } })
      const { send, closed, socket } = yield* wire(address)
      yield* send(`GET / HTTP/1.1\r\nhost: x\r\nx-long: ${"a".repeat(60_000)}`)
      while (address.memory.used < 60_000) yield* Effect.sleep("10 millis")
      const second = yield* wire(address)
      yield* second.send(`GET / HTTP/1.1\r\nhost: x\r\nx-long: ${"a".repeat(60_000)}`)
      assert.match(`${yield* second.closed}`, /^HTTP\/1\.1 503 /)
      socket.end()
      yield* closed
      while (address.memory.used > 0) yield* Effect.sleep("10 millis")
    }))

  test("a client's first bytes have one time limit, however they drip", () =>
    Effect.gen(function* () {
      const { socket, closed } = yield* wire(yield* serving(whole(2), { headersTimeout: "500 millis" }))
      let sent = 0
      const dripping = setInterval(() => {
        sent += 1
        socket.write("A")
      }, 150)
      yield* Effect.ensuring(
        closed,
        Effect.sync(() => clearInterval(dripping)),
      )
      assert.ok(sent < 12, `${sent} bytes were taken`)
    }))
})
