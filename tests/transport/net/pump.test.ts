/**
 * What moves bytes between connections and sockets: neither end may hold more than its bounds, nor wait for ever.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import * as net from "node:net"
import { Duplex } from "node:stream"
import { describe } from "node:test"
import { Deferred, Effect } from "effect"
import { clientConnection, type ResponseHandler } from "../../../src/transport/http2/client.ts"
import { errorCode } from "../../../src/transport/http2/frames.ts"
import type { Accept } from "../../../src/transport/http2/handler.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import { serverConnection } from "../../../src/transport/http2/server.ts"
import { Pump } from "../../../src/transport/net/pump.ts"
import { test } from "../../effect.ts"
import { fields, headers, hello, settings, windowUpdate } from "../http2/support.ts"
import { wire } from "../support.ts"
import { lineTo } from "./support.ts"

const head = fields({ ":method": "POST", ":scheme": "http", ":path": "/", ":authority": "localhost" })
// 12 KB that HPACK can do nothing about.
const long = { name: "x-long", value: "~".repeat(12_000), sensitive: true }

const ignore = () => {}
const died = (defect: unknown) => {
  throw defect
}
const idle: ResponseHandler = { head: ignore, data: ignore, end: ignore, reset: ignore, drained: ignore }

/** Lets a server listen until the scope closes. */
const listening = Effect.fnUntraced(function* (server: net.Server) {
  yield* Effect.callback<void>((resume) => {
    server.listen(0, "127.0.0.1", () => resume(Effect.void))
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
  const bound = server.address()
  return { host: "127.0.0.1", port: typeof bound === "object" && bound !== null ? bound.port : 0 }
})

/** One end of a wire that holds next to nothing; a chunk arrives in pieces, as the other end reads. */
class End extends Duplex {
  other: End | undefined
  private incoming: { readonly bytes: Buffer; readonly done: () => void } | undefined
  private wants = false

  override _read(): void {
    this.wants = true
    this.pull()
  }

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    if (this.other === undefined) return
    this.other.incoming = { bytes, done }
    this.other.pull()
  }

  private pull(): void {
    while (this.wants && this.incoming !== undefined) {
      const { bytes, done } = this.incoming
      const rest = bytes.subarray(4096)
      this.incoming = rest.length > 0 ? { bytes: rest, done } : undefined
      this.wants = false
      if (this.push(bytes.subarray(0, 4096))) this.wants = true
      if (rest.length === 0) done()
    }
  }

  /** As the pump takes it, which asks no more of a socket than a stream has. */
  get socket(): net.Socket {
    return this as unknown as net.Socket
  }
}

const wired = (): readonly [net.Socket, net.Socket] => {
  const [one, other] = [new End(), new End()]
  one.other = other
  other.other = one
  return [one.socket, other.socket]
}

describe("a client and a server that both have more to say than the wire takes", () => {
  test("don't wait for each other", () =>
    Effect.gen(function* () {
      const [near, far] = wired()
      const calls = 2000
      const answer: Accept = (connection, stream) => {
        connection.sendHeaders(stream, [{ name: ":status", value: "200" }, long], true)
      }
      const limits = limitsOf({ maxConcurrentStreams: calls })
      const options = { linger: 1000, died }
      new Pump({
        ...options,
        socket: far,
        role: "server",
        connection: (output) => serverConnection(answer, { output, failed: ignore }, limits),
      })
      const all = yield* Deferred.make<void>()
      let ended = 0
      const handler: ResponseHandler = {
        ...idle,
        end: () => {
          ended += 1
          if (ended === calls) Deferred.doneUnsafe(all, Effect.void)
        },
      }
      let begun = 0
      const begin = () => {
        while (begun < calls) {
          const stream = client.connection.open([...head, { ...long, value: "~".repeat(1000) }], handler)
          if (stream === undefined) return
          client.connection.sendEnd(stream)
          begun += 1
        }
      }
      const client: Pump<ResponseHandler> = new Pump({
        ...options,
        socket: near,
        role: "client",
        connection: (output) => clientConnection({ output, goaway: ignore, room: begin, failed: ignore }),
      })
      near.on("drain", begin)
      client.flush()
      yield* Deferred.await(all)
    }))
})

/** A server that greets, and then reads nothing. */
const deaf = Effect.gen(function* () {
  const server = net.createServer((socket) => {
    socket.on("error", () => {})
    socket.write(settings([3, 1_000_000]))
    socket.pause()
  })
  return yield* listening(server)
})

describe("a client of a server that reads nothing", () => {
  test("begins no more streams while too much of its output waits, though it has ended those before", () =>
    Effect.gen(function* () {
      const line = yield* lineTo(`http://127.0.0.1:${(yield* deaf).port}`)
      let begun = 0
      const begin = async () => {
        // A turn each, so that the socket takes what it can.
        for (; begun < 20_000; begun++) {
          await new Promise<void>((resolve) => {
            line.open({
              ...idle,
              waitForReady: true,
              fields: () => [...head, long],
              opened: ({ connection }, stream) => {
                connection.reset(stream, errorCode.cancel)
                resolve()
              },
              unopened: () => {},
            })
          })
          await new Promise((resolve) => setImmediate(resolve))
        }
      }
      begin().catch(() => {})
      let before = -1
      while (begun !== before || begun === 0) {
        before = begun
        yield* Effect.sleep("200 millis")
      }
      assert.ok(begun * long.value.length < 50_000_000, `${begun} heads of 12 KB wait in memory`)
    }))
})

describe("a server's connection that has ended", () => {
  test("is cut off if the client doesn't take the last words", () =>
    Effect.gen(function* () {
      const cut = yield* Deferred.make<void>()
      const server = net.createServer((socket) => {
        socket.on("error", () => {})
        socket.once("close", () => Deferred.doneUnsafe(cut, Effect.void))
        // More than all buffers between the two.
        socket.write(Buffer.alloc(50_000_000))
        new Pump({
          socket,
          connection: (output) => serverConnection(() => {}, { output, failed: () => {} }),
          role: "server",
          linger: 100,
          died,
        })
      })
      const { socket, send } = yield* wire(yield* listening(server))
      socket.pause()
      yield* send("no preface of HTTP/2")
      yield* Deferred.await(cut)
    }))

  test("gives all of its last words to a client that speaks on before it reads them", () =>
    Effect.gen(function* () {
      // Some of it is in the client's buffers, some in the server's.
      const words = 400_000
      const sent = yield* Deferred.make<void>()
      const server = net.createServer((socket) => {
        socket.on("error", () => {})
        socket.once("finish", () => Deferred.doneUnsafe(sent, Effect.void))
        socket.write(Buffer.alloc(words))
        const { connection } = new Pump({
          socket,
          connection: (output) => serverConnection(() => {}, { output, failed: () => {} }),
          role: "server",
          linger: 10_000,
          died,
        })
        socket.on("data", () => connection.part())
      })
      const { socket, send, closed } = yield* wire(yield* listening(server))
      socket.pause()
      yield* send(hello)
      yield* Deferred.await(sent)
      for (let turns = 0; turns < 10; turns++) yield* send("and more")
      socket.resume()
      assert.ok((yield* closed).length > words)
    }))
})

/** A socket that sends nothing until it is told to, and has a look at what it still has to send. */
class Held extends Duplex {
  readonly waiting: Array<{ readonly bytes: Buffer; readonly done: () => void }> = []

  override _read(): void {}

  override _write(bytes: Buffer, _encoding: string, done: () => void): void {
    this.waiting.push({ bytes, done })
  }

  get socket(): net.Socket {
    return this as unknown as net.Socket
  }
}

describe("what a socket hasn't sent yet", () => {
  test("stays as it is, whatever other connections write meanwhile", () =>
    Effect.sync(() => {
      const request = Buffer.concat([hello, settings([4, 1 << 20]), windowUpdate(0, 1 << 20), headers(1, true)])
      /** A connection that answers its only request with so much of one byte. */
      const answering = (byte: number) => {
        const held = new Held()
        const answer: Accept = (connection, stream) => {
          connection.sendHeaders(stream, [{ name: ":status", value: "200" }], false)
          connection.sendData(stream, new Uint8Array(200_000).fill(byte))
        }
        const pump = new Pump({
          socket: held.socket,
          role: "server",
          linger: 1000,
          died,
          connection: (output) => serverConnection(answer, { output, failed: ignore }, limitsOf({})),
        })
        pump.receive(request)
        return held.waiting
      }
      const count = ({ bytes }: { readonly bytes: Buffer }, byte: number) => bytes.filter((one) => one === byte).length
      const [first] = answering(1)
      assert.ok(first)
      for (const byte of [2, 3, 4]) assert.ok(count(answering(byte)[0] ?? first, byte) >= 200_000)
      assert.ok(count(first, 1) >= 200_000)
      first.done()
    }))
})
