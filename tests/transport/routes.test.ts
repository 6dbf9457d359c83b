import assert from "node:assert/strict"
import { describe } from "node:test"
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect"
import { Effect, Stream } from "effect"
import * as Metadata from "../../src/core/rpc/metadata.ts"
import { connect, type Protocol, protocols } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { serve } from "../../src/transport/server.ts"
import { test } from "../effect.ts"
import { envelope, http2Requests, request999 } from "./support.ts"

/** A service as a user of Connect-ES has written it. */
const theirs = {
  calc: ({ n }: { readonly n: number }) => {
    if (n < 0) throw new ConnectError("no", Code.OutOfRange)
    return { value: n }
  },
  async *calcRange({ first, last }: { readonly first: number; readonly last: number }) {
    for (let n = first; n <= last; n++) yield { n, value: n }
  },
  async *calcStream(_: unknown, { responseTrailer }: HandlerContext) {
    yield { n: 1 }
    yield { n: 2 }
    responseTrailer.set("x-last", "2")
    throw new ConnectError("no third", Code.Aborted)
  },
}

describe("services written for Connect-ES", () => {
  for (const protocol of protocols satisfies ReadonlyArray<Protocol>) {
    test(`are served on our HTTP/2, over ${protocol}`, () =>
      Effect.gen(function* () {
        const { url } = yield* serve([], { port: 0, routes: (router) => router.service(PiCalculator, theirs) })
        const client = Client.make(PiCalculator, yield* connect(url, { protocol }))
        assert.equal((yield* client.calc({ n: 7 })).value, 7)
        const points = yield* Stream.runCollect(client.calcRange({ first: 1, last: 1000 }))
        assert.equal(points.length, 1000)
        const error = yield* Effect.flip(client.calc({ n: -1 }))
        assert.deepEqual([error.code, error.message], ["out_of_range", "no"])
        assert.equal((yield* Effect.flip(client.report({}))).code, "unimplemented")
      }))
  }

  for (const protocol of protocols) {
    test(`end a stream with what they say last, over ${protocol}`, () =>
      Effect.gen(function* () {
        const { url } = yield* serve([], { port: 0, routes: (router) => router.service(PiCalculator, theirs) })
        const client = Client.make(PiCalculator, yield* connect(url, { protocol }))
        const seen: Array<number> = []
        const error = yield* client.calcStream(Stream.empty).pipe(
          Stream.runForEach(({ n }) => Effect.sync(() => seen.push(n))),
          Effect.flip,
        )
        assert.deepEqual([seen, error.code, error.message], [[1, 2], "aborted", "no third"])
        assert.equal(Metadata.get(error.metadata, "x-last"), "2")
      }))
  }

  test("that say more in headers or trailers than the client takes end that call alone", () =>
    Effect.gen(function* () {
      const wide = "w".repeat(100_000)
      const calc = ({ n }: { readonly n: number }, { responseHeader }: HandlerContext) => {
        if (n === 1) throw new ConnectError(wide, Code.Aborted)
        if (n === 2) responseHeader.set("x-wide", wide)
        return { value: n }
      }
      const { url } = yield* serve([], { port: 0, routes: (router) => router.service(PiCalculator, { calc }) })
      const client = Client.make(PiCalculator, yield* connect(url))
      for (const n of [1, 2]) assert.equal((yield* Effect.flip(client.calc({ n }))).code, "internal")
      assert.equal((yield* client.calc({ n: 3 })).value, 3)
    }))

  test("answer a path of nobody's as our own do", () =>
    Effect.gen(function* () {
      const server = yield* serve([], { port: 0, routes: (router) => router.service(PiCalculator, theirs) })
      const request = yield* http2Requests(server)
      const headers = { "content-type": "application/grpc", ":path": "/nope.Nope/Nope" }
      assert.equal((yield* request(headers, envelope(request999))).headers["grpc-status"], "12")
    }))
})
