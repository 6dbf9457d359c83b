/**
 * Our engine against the runtime's own, over sockets, in either role.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import * as http2 from "node:http2"
import * as net from "node:net"
import { describe } from "node:test"
import { Effect } from "effect"
import { Connection } from "../../../src/transport/http2/connection.ts"
import type { Field } from "../../../src/transport/http2/hpack.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import { listen } from "../../../src/transport/net/listen.ts"
import { test } from "../../effect.ts"
import { http2Requests } from "../support.ts"
import { eventsOf, fields } from "./support.ts"

const body = (index: number, length: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + index) & 0xff))

// Empty, small, about a frame, about a window, larger than any.
const lengths = [0, 1, 1000, 16_384, 16_385, 65_535, 65_536, 300_000, 2_000_000]

/** Our server, which echoes what it takes in only as fast as it can send. */
const echo = listen(
  {
    http2: (connection, stream, head) => {
      let waiting = 0
      connection.sendHeaders(stream, fields({ ":status": "200", "x-path": head.path }), false)
      stream.context = {
        data: (bytes, start, end) => {
          if (connection.sendData(stream, bytes.slice(start, end))) connection.taken(stream, end - start)
          else waiting += end - start
        },
        drained: () => {
          const length = waiting
          waiting = 0
          if (length > 0) connection.taken(stream, length)
        },
        end: () => connection.sendEnd(stream, fields({ "x-trailer": head.path })),
        reset: () => {},
        stop: () => {},
      }
    },
    http1: () => {},
    interrupt: () => {},
  },
  { port: 0, limits: { streamWindow: 100_000, connectionWindow: 200_000 } },
)

describe("the runtime's client and our server", () => {
  test("tell each other all, many calls at a time", () =>
    Effect.gen(function* () {
      const request = yield* http2Requests(yield* echo)
      yield* Effect.forEach(
        [...lengths, ...lengths],
        (length, index) =>
          Effect.gen(function* () {
            const sent = body(index, length)
            const answer = yield* request({ ":path": `/${index}` }, sent)
            assert.equal(answer.status, 200)
            assert.equal(answer.headers["x-path"], `/${index}`)
            assert.equal(answer.trailers["x-trailer"], `/${index}`)
            assert.equal(Buffer.compare(answer.body, sent), 0, `${length} bytes`)
          }),
        { concurrency: "unbounded" },
      )
    }))
})

/** The runtime's server, which echoes. */
const runtimes = Effect.gen(function* () {
  const sessions = new Set<http2.ServerHttp2Session>()
  const server = http2.createServer()
  server.on("session", (session) => sessions.add(session))
  server.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    stream.on("error", () => {})
    stream.respond({ ":status": 200, "x-path": headers[":path"] ?? "" }, { waitForTrailers: true })
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-trailer": headers[":path"] ?? "" }))
    stream.pipe(stream)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        for (const session of sessions) session.destroy()
        server.close()
      }),
  )
  const bound = server.address()
  return typeof bound === "object" && bound !== null ? bound.port : 0
})

interface Exchanged {
  readonly sent: Buffer
  readonly parts: Array<Uint8Array>
  readonly done: (got: Exchanged) => void
  path?: string | undefined
  trailers?: ReadonlyArray<Field>
  reset?: number
}

/** A client of ours on a socket of the runtime's. */
const client = (port: number) =>
  Effect.gen(function* () {
    const socket = yield* Effect.acquireRelease(
      Effect.sync(() => net.connect({ host: "127.0.0.1", port, noDelay: true })),
      (open) => Effect.sync(() => open.destroy()),
    )
    const flush = () => {
      for (let bytes = connection.take(); bytes.length > 0; bytes = connection.take()) {
        if (!socket.write(bytes)) connection.setWritable(false)
      }
    }
    const connection: Connection<Exchanged> = new Connection<Exchanged>(
      eventsOf<Exchanged>({
        head: ({ context }, head) => {
          if (context !== undefined) context.path = head.fields.find(({ name }) => name === "x-path")?.value
        },
        data: (stream, bytes, start, end) => {
          stream.context?.parts.push(bytes.slice(start, end))
          connection.taken(stream, end - start)
        },
        end: ({ context }, trailers) => {
          if (context === undefined) return
          context.trailers = trailers
          context.done(context)
        },
        reset: ({ context }, code) => {
          if (context === undefined || context.trailers !== undefined) return
          context.reset = code
          context.done(context)
        },
        output: () => queueMicrotask(flush),
        failed: (error) => socket.destroy(error),
      }),
      { role: "client", limits: limitsOf({ streamWindow: 100_000, connectionWindow: 200_000 }) },
    )
    socket.on("data", (chunk: Buffer) => {
      connection.receive(chunk)
      flush()
    })
    socket.on("drain", () => {
      connection.setWritable(true)
      flush()
    })
    socket.on("close", () => connection.abandon())
    socket.on("error", () => {})
    flush()
    return (path: string, sent: Buffer) =>
      Effect.callback<Exchanged>((resume) => {
        const head = fields({ ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost" })
        const done = (got: Exchanged) => resume(Effect.succeed(got))
        const stream = connection.open(head, { sent, parts: [], done })
        if (stream === undefined) return assert.fail("the server takes no more streams")
        connection.sendData(stream, Uint8Array.from(sent))
        connection.sendEnd(stream)
      })
  })

describe("our client and the runtime's server", () => {
  test("tell each other all, many calls at a time", () =>
    Effect.gen(function* () {
      const call = yield* client(yield* runtimes)
      yield* Effect.forEach(
        [...lengths, ...lengths],
        (length, index) =>
          Effect.gen(function* () {
            const { sent, parts, path, trailers, reset } = yield* call(`/${index}`, body(index, length))
            assert.equal(reset, undefined)
            assert.equal(path, `/${index}`)
            assert.equal(Buffer.compare(Buffer.concat(parts), sent), 0, `${length} bytes`)
            assert.deepEqual(
              trailers?.map(({ name, value }) => [name, value]),
              [["x-trailer", `/${index}`]],
            )
          }),
        { concurrency: "unbounded" },
      )
    }))
})
