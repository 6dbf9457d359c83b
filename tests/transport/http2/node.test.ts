/**
 * Our engine against the runtime's own, in either role: over sockets, and in memory, where a wire cuts the bytes anywhere.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import * as http2 from "node:http2"
import * as net from "node:net"
import { Duplex } from "node:stream"
import { describe } from "node:test"
import { Effect } from "effect"
import { Connection } from "../../../src/transport/http2/connection.ts"
import type { Accept } from "../../../src/transport/http2/handler.ts"
import type { Field } from "../../../src/transport/http2/hpack.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import { serverConnection } from "../../../src/transport/http2/server.ts"
import { listen } from "../../../src/transport/net/listen.ts"
import { notFound } from "../../../src/transport/refusal.ts"
import { test } from "../../effect.ts"
import { http2Requests, type Requests, requests2 } from "../support.ts"
import { eventsOf, fields } from "./support.ts"

const body = (index: number, length: number): Buffer =>
  Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + index) & 0xff))

// Empty, small, about a frame, about a window, larger than any.
const lengths = [0, 1, 1000, 16_384, 16_385, 65_535, 65_536, 300_000, 2_000_000]

const limits = { streamWindow: 100_000, connectionWindow: 200_000 }

/** Our server echoes what it takes in only as fast as it can send. */
const echo: Accept = (connection, stream, head) => {
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
}

/** Moves bytes between a connection and what it is on. */
const carry = <T>(connection: Connection<T>, wire: Duplex) => {
  const flush = () => {
    for (let bytes = connection.take(); bytes.length > 0; bytes = connection.take()) {
      if (!wire.write(bytes)) connection.setWritable(false)
    }
  }
  wire.on("data", (chunk: Buffer) => {
    connection.receive(chunk)
    flush()
  })
  wire.on("drain", () => {
    connection.setWritable(true)
    flush()
  })
  wire.on("close", () => connection.abandon())
  wire.on("error", () => {})
  flush()
  return flush
}

/** One end of a wire in memory: what is written to it comes out of the other in pieces of these sizes, one a turn. */
class Cutting extends Duplex {
  other: Cutting | undefined
  private readonly sizes: ReadonlyArray<number>
  private at = 0
  constructor(sizes: ReadonlyArray<number>) {
    super()
    this.sizes = sizes
  }
  override _read() {}
  override _write(bytes: Uint8Array, _: unknown, written: () => void) {
    const size = this.sizes[this.at++ % this.sizes.length] ?? bytes.length
    this.other?.push(Buffer.from(bytes.subarray(0, size)))
    const rest = bytes.subarray(size)
    setImmediate(() => (rest.length > 0 ? this._write(rest, _, written) : written()))
  }
  override _final(done: () => void) {
    this.other?.push(null)
    done()
  }
}

const cutting = (sizes: ReadonlyArray<number>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const [one, other] = [new Cutting(sizes), new Cutting(sizes.toReversed())] as const
      one.other = other
      other.other = one
      return [one, other] as const
    }),
    (ends) =>
      Effect.sync(() => {
        for (const end of ends) end.destroy()
      }),
  )

// Within a frame's header, at its edges, and across several frames.
const cuts = [
  [1, 8, 1, 9, 500],
  [10, 3, 20_000],
  [16_384, 9, 4, 13],
  [7, 70_000, 1],
]
const cutLengths = [0, 1, 1000, 16_385, 65_536, 150_000]

/** All calls at a time, each of which gets back what it sent. */
const callAll = (request: Requests, all: ReadonlyArray<number>) =>
  Effect.forEach(
    all,
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

describe("the runtime's client and our server", () => {
  test("tell each other all, many calls at a time", () =>
    Effect.gen(function* () {
      const server = yield* listen({ http2: echo, http1: notFound, interrupt: () => {} }, { port: 0, limits })
      yield* callAll(yield* http2Requests(server), [...lengths, ...lengths])
    }))

  test("tell each other all wherever the bytes are cut", () =>
    Effect.gen(function* () {
      for (const sizes of cuts) {
        const [ours, theirs] = yield* cutting(sizes)
        const side = { output: () => queueMicrotask(() => flush()), failed: (error: Error) => ours.destroy(error) }
        const flush = carry(serverConnection(echo, side, limitsOf(limits)), ours)
        const session = yield* Effect.acquireRelease(
          Effect.sync(() => http2.connect("http://localhost", { createConnection: () => theirs })),
          (open) => Effect.sync(() => open.destroy()),
        )
        yield* callAll(requests2(session), cutLengths)
      }
    }))
})

/** The runtime's server, which echoes. */
const runtimes = Effect.acquireRelease(
  Effect.sync(() => {
    const sessions = new Set<http2.ServerHttp2Session>()
    const server = http2.createServer()
    server.on("session", (session) => sessions.add(session))
    server.on("stream", (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
      stream.on("error", () => {})
      stream.respond({ ":status": 200, "x-path": headers[":path"] ?? "" }, { waitForTrailers: true })
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-trailer": headers[":path"] ?? "" }))
      stream.pipe(stream)
    })
    return { server, sessions }
  }),
  ({ server, sessions }) =>
    Effect.sync(() => {
      for (const session of sessions) session.destroy()
      server.close()
    }),
)

interface Exchanged {
  readonly sent: Buffer
  readonly parts: Array<Uint8Array>
  readonly done: (got: Exchanged) => void
  path?: string | undefined
  trailers?: ReadonlyArray<Field>
  reset?: number
}

/** A client of ours. */
const client = (wire: Duplex) => {
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
      output: () => queueMicrotask(() => flush()),
      failed: (error) => wire.destroy(error),
    }),
    { role: "client", limits: limitsOf(limits) },
  )
  const flush = carry(connection, wire)
  return (path: string, sent: Buffer) =>
    Effect.callback<Exchanged>((resume) => {
      const head = fields({ ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost" })
      const done = (got: Exchanged) => resume(Effect.succeed(got))
      const stream = connection.open(head, { sent, parts: [], done })
      if (stream === undefined) return assert.fail("the server takes no more streams")
      connection.sendData(stream, Uint8Array.from(sent))
      connection.sendEnd(stream)
    })
}

/** All calls at a time, each of which gets back what it sent. */
const exchangeAll = (call: ReturnType<typeof client>, all: ReadonlyArray<number>) =>
  Effect.forEach(
    all,
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

describe("our client and the runtime's server", () => {
  test("tell each other all, many calls at a time", () =>
    Effect.gen(function* () {
      const { server } = yield* runtimes
      yield* Effect.callback<void>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.void))
      })
      const bound = server.address()
      const port = typeof bound === "object" && bound !== null ? bound.port : 0
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => net.connect({ host: "127.0.0.1", port, noDelay: true })),
        (open) => Effect.sync(() => open.destroy()),
      )
      yield* exchangeAll(client(socket), [...lengths, ...lengths])
    }))

  test("tell each other all wherever the bytes are cut", () =>
    Effect.gen(function* () {
      const { server } = yield* runtimes
      for (const sizes of cuts) {
        const [ours, theirs] = yield* cutting(sizes)
        server.emit("connection", theirs)
        yield* exchangeAll(client(ours), cutLengths)
      }
    }))
})
