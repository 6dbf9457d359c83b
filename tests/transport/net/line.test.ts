import assert from "node:assert/strict"
import * as net from "node:net"
import { describe } from "node:test"
import { Effect, Exit, Scope } from "effect"
import type { RpcError } from "../../../src/core/rpc/error.ts"
import { resetError } from "../../../src/transport/grpc/reset.ts"
import type { Caller, Carrier, ClientStream, Opener } from "../../../src/transport/http2/client.ts"
import { type Handlers, listen } from "../../../src/transport/net/listen.ts"
import { test } from "../../effect.ts"
import { between, ownScope } from "../support.ts"
import { lineTo } from "./support.ts"

const dialed = ({ port }: { readonly port: number }) => lineTo(`http://127.0.0.1:${port}`)

/** A server that gives each request the same answer; with `stingy`, to one stream at a time. */
const server = (answer: Uint8Array = Buffer.from("ok"), port = 0, maxConcurrentStreams = 250) => {
  const handlers: Handlers = {
    http1: (_, response) => response.end(),
    http2: (connection, stream) => {
      stream.context = {
        data: (_, start, end) => connection.taken(stream, end - start),
        end: () => {
          connection.sendHeaders(stream, [{ name: ":status", value: "200" }], false)
          connection.sendData(stream, answer)
          connection.sendEnd(stream)
        },
        reset: () => {},
        drained: () => {},
        stop: () => {},
      }
    },
    interrupt: () => {},
  }
  return listen(handlers, { port, grace: 0, limits: { maxConcurrentStreams } })
}

const fields = [
  { name: ":method", value: "POST" },
  { name: ":scheme", value: "http" },
  { name: ":path", value: "/" },
  { name: ":authority", value: "localhost" },
]

/** Makes a request and gives the whole body of its answer. */
const ask = (line: Opener): Effect.Effect<Buffer, RpcError> =>
  Effect.callback((resume) => {
    const parts: Array<Uint8Array> = []
    let opened: readonly [Carrier, ClientStream] | undefined
    const caller: Caller = {
      waitForReady: false,
      fields: () => fields,
      opened: (carrier, stream) => {
        opened = [carrier, stream]
        carrier.connection.sendEnd(stream)
      },
      unopened: (error) => resume(Effect.fail(error)),
      head: () => {},
      data: (bytes, start, end) => {
        parts.push(bytes.slice(start, end))
        if (opened !== undefined) opened[0].connection.taken(opened[1], end - start)
      },
      end: () => resume(Effect.succeed(Buffer.concat(parts))),
      reset: (code) => resume(Effect.fail(opened?.[0].lost ?? resetError(code))),
      drained: () => {},
    }
    line.open(caller)
  })

describe("a line", () => {
  test("carries many requests on one connection", () =>
    Effect.gen(function* () {
      const middle = yield* between(yield* server())
      const line = yield* dialed(middle)
      const answers = yield* Effect.all(
        Array.from({ length: 50 }, () => ask(line)),
        { concurrency: "unbounded" },
      )
      assert.deepEqual(new Set(answers.map(String)), new Set(["ok"]))
      assert.equal(`${middle.sent()}`.split("PRI * HTTP/2.0").length - 1, 1)
    }))

  test("opens no more streams at once than the server takes, and all of them in the end", () =>
    Effect.gen(function* () {
      const line = yield* dialed(yield* server(Buffer.alloc(100_000, "x"), 0, 2))
      const ask1 = Effect.map(ask(line), ({ length }) => length)
      // The server's settings come with its first answer.
      yield* ask1
      const lengths = yield* Effect.all(
        Array.from({ length: 20 }, () => ask1),
        { concurrency: "unbounded" },
      )
      assert.deepEqual(new Set(lengths), new Set([100_000]))
    }))

  test("is opened again after it was lost, and after the server went away and came back", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const first = yield* Scope.provide(server(), scope)
      const middle = yield* between(first)
      const [direct, cut] = [yield* dialed(first), yield* dialed(middle)]
      yield* ask(direct)
      yield* ask(cut)
      yield* middle.cut
      yield* Effect.eventually(ask(cut))
      yield* Scope.close(scope, Exit.void)
      yield* server(Buffer.from("again"), first.port)
      assert.equal(`${yield* Effect.eventually(ask(direct))}`, "again")
    }))

  test("gives all of an answer that is larger than every window", () =>
    Effect.gen(function* () {
      const answer = Buffer.alloc(10_000_000, "x")
      const line = yield* dialed(yield* server(answer))
      assert.equal((yield* ask(line)).length, answer.length)
    }))

  test("to who closes it at once fails, each time, and nothing else does", () =>
    Effect.gen(function* () {
      const rude = net.createServer((socket) => {
        socket.on("error", () => {})
        socket.destroy()
      })
      yield* Effect.callback<void>((resume) => {
        rude.listen(0, "127.0.0.1", () => resume(Effect.void))
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => rude.close()))
      const bound = rude.address()
      const line = yield* dialed({ port: typeof bound === "object" && bound !== null ? bound.port : 0 })
      for (let attempt = 0; attempt < 5; attempt++) assert.ok(Exit.isFailure(yield* Effect.exit(ask(line))))
    }))

  test("to nobody says so", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const gone = yield* Scope.provide(server(), scope)
      yield* Scope.close(scope, Exit.void)
      const error = yield* Effect.flip(ask(yield* dialed(gone)))
      assert.equal(error.code, "unavailable")
      assert.match(error.message, /nothing listens there/)
    }))

  test("that is closed takes no more requests, and opens no other connection", () =>
    Effect.gen(function* () {
      const middle = yield* between(yield* server())
      const line = yield* dialed(middle)
      yield* ask(line)
      yield* line.close
      const before = middle.sent().length
      assert.equal((yield* Effect.flip(ask(line))).code, "cancelled")
      assert.equal(middle.sent().length, before)
    }))
})
