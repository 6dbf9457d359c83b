import assert from "node:assert/strict"
import type * as http2 from "node:http2"
import * as net from "node:net"
import { describe } from "node:test"
import { Code, ConnectError } from "@connectrpc/connect"
import { Effect, Exit, Scope } from "effect"
import { type Dialed, dial } from "../../../src/transport/net/dial.ts"
import { listen } from "../../../src/transport/net/listen.ts"
import { test } from "../../effect.ts"
import { between, ownScope } from "../support.ts"

const dialed = ({ port }: { readonly port: number }) =>
  Effect.acquireRelease(
    Effect.sync(() => dial(`http://127.0.0.1:${port}`)),
    (one) => Effect.sync(one.close),
  )

const server = (answer: Buffer = Buffer.from("ok"), port = 0) =>
  listen(
    (request, response) => {
      request.resume()
      response.end(answer)
    },
    () => {},
    { port, grace: 0 },
  )

const request = ({ request }: Dialed) => Effect.tryPromise(() => request("POST", "/", {}, { endStream: true }))

const read = (stream: http2.ClientHttp2Stream, pause: () => Promise<unknown> = async () => {}) =>
  Effect.tryPromise(async () => {
    const parts: Array<Uint8Array> = []
    for await (const part of stream) {
      parts.push(part)
      await pause()
    }
    return Buffer.concat(parts)
  })

const ask = (one: Dialed) => Effect.flatMap(request(one), (stream) => read(stream))

describe("a connection", () => {
  test("carries many requests", () =>
    Effect.gen(function* () {
      const middle = yield* between(yield* server())
      const one = yield* dialed(middle)
      const answers = yield* Effect.all(
        Array.from({ length: 50 }, () => ask(one)),
        { concurrency: "unbounded" },
      )
      assert.deepEqual(new Set(answers.map(String)), new Set(["ok"]))
      assert.equal(`${middle.sent()}`.split("PRI * HTTP/2.0").length - 1, 1)
    }))

  test("is made again after it was lost, and after the server went away and came back", () =>
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

  test("gives all of an answer to a reader who is slower than the server", () =>
    Effect.gen(function* () {
      const turns = async () => {
        for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
      }
      for (const length of [10, 30_000, 300_000]) {
        const stream = yield* request(yield* dialed(yield* server(Buffer.alloc(length, "x"))))
        // The end of what fits into the window has come before its beginning is read.
        yield* Effect.promise(() => new Promise((resolve) => stream.once("response", resolve)))
        yield* Effect.promise(turns)
        assert.equal((yield* read(stream, turns)).length, length)
      }
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
      const one = yield* dialed({ port: typeof bound === "object" && bound !== null ? bound.port : 0 })
      for (let attempt = 0; attempt < 5; attempt++) assert.ok(Exit.isFailure(yield* Effect.exit(whole(one))))
    }))

  test("that is closed takes no more requests, and opens no other connection", () =>
    Effect.gen(function* () {
      const middle = yield* between(yield* server())
      const one = dial(middle.url)
      yield* ask(one)
      one.close()
      const before = middle.sent().length
      const error = yield* Effect.flip(request(one))
      assert.equal(ConnectError.from(error.cause).code, Code.Canceled)
      assert.equal(middle.sent().length, before)
    }))
})

/** A request that fails if its stream does. */
const whole = (one: Dialed) =>
  Effect.flatMap(request(one), (stream) =>
    Effect.callback<void, Error>((resume) => {
      let answered = false
      stream.on("response", () => {
        answered = true
      })
      stream.on("error", (error) => resume(Effect.fail(error)))
      stream.on("close", () => resume(answered ? Effect.void : Effect.fail(new Error("no answer"))))
    }),
  )
