import assert from "node:assert/strict"
import { describe } from "node:test"
import { create, createRegistry, toBinary } from "@bufbuild/protobuf"
import { Effect, Fiber, Stream } from "effect"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { PiRequestSchema } from "../../../src/transport/gen/pi_pb.ts"
import { codecOf } from "../../../src/transport/grpc/codec.ts"
import { Incoming, type IncomingOptions } from "../../../src/transport/grpc/incoming.ts"
import { gzip } from "../../../src/transport/layers/compression.ts"
import { test } from "../../effect.ts"
import { envelope } from "../support.ts"

const codec = codecOf("application/grpc", createRegistry())
assert.ok(codec)

const open = (options: Partial<IncomingOptions> = {}) => {
  const seen = { taken: 0, held: 0 }
  const source = {
    taken: (length: number, released: number) => {
      seen.taken += length
      seen.held += length - released
    },
  }
  const requests = new Incoming(
    {
      desc: PiRequestSchema,
      codec,
      encoding: undefined,
      maxBytes: 1 << 20,
      streaming: true,
      what: "request",
      ...options,
    },
    source,
  )
  return { requests, seen, read: (bytes: Uint8Array) => requests.read(bytes, 0, bytes.length) }
}

const encoded = (n: number) => toBinary(PiRequestSchema, create(PiRequestSchema, { n }))
const body = (...numbers: ReadonlyArray<number>) => Buffer.concat(numbers.map((n) => envelope(encoded(n))))
const malformed = envelope(new Uint8Array([0x08]))

const numbers = (messages: ReadonlyArray<unknown>) => messages.map((message) => Reflect.get(Object(message), "n"))

const refused = (code: RpcError["code"], message: RegExp) => (error: unknown) =>
  error instanceof RpcError && error.code === code && message.test(error.message)

describe("the requests of a call", () => {
  test("are a stream of all that came, before it was pulled and after, in order", () =>
    Effect.gen(function* () {
      const { requests, read } = open()
      read(body(1, 2))
      const all = yield* Effect.forkChild(Stream.runCollect(requests.stream))
      yield* Effect.yieldNow
      for (const n of [3, 4]) {
        read(body(n))
        yield* Effect.yieldNow
      }
      read(body(5))
      requests.end()
      assert.deepEqual(numbers(yield* Fiber.join(all)), [1, 2, 3, 4, 5])
    }))

  test("that came together are one array, and their bytes are taken when it is pulled", () =>
    Effect.gen(function* () {
      const { requests, seen, read } = open()
      read(body(1, 2, 3))
      assert.equal(seen.taken, 0)
      requests.end()
      const arrays = yield* Stream.runCollect(Stream.chunks(requests.stream))
      assert.deepEqual(arrays.map(numbers), [[1, 2, 3]])
      assert.equal(seen.taken, body(1, 2, 3).length)
    }))

  test("reach a program that waits for them in the turn in which they come", () =>
    Effect.gen(function* () {
      const { requests, read } = open()
      const got: Array<unknown> = []
      yield* Effect.forkChild(Stream.runForEach(requests.stream, (message) => Effect.sync(() => got.push(message))))
      yield* Effect.yieldNow
      read(body(1))
      assert.deepEqual(numbers(got), [1])
    }))

  test("may be left by their program: what comes later waits for nobody", () =>
    Effect.gen(function* () {
      const { requests, seen, read } = open()
      const fiber = yield* Effect.forkChild(Stream.runDrain(requests.stream))
      yield* Effect.yieldNow
      yield* Fiber.interrupt(fiber)
      read(body(1))
      assert.equal(seen.taken, 0)
    }))

  test("open the window for a message that isn't whole yet: only its rest could", () =>
    Effect.sync(() => {
      const { seen, read } = open()
      read(body(1).subarray(0, 6))
      assert.equal(seen.taken, 6)
    }))

  for (const waited of [true, false])
    test(`that are well-formed come before one that isn't, ${waited ? "where they are waited for" : "where they wait"}`, () =>
      Effect.gen(function* () {
        const { requests, seen, read } = open()
        const got: Array<unknown> = []
        const each = Effect.flip(Stream.runForEach(requests.stream, (message) => Effect.sync(() => got.push(message))))
        const fiber = waited ? yield* Effect.forkChild(each) : undefined
        yield* Effect.yieldNow
        // More than are decoded at once.
        const behind = Array.from({ length: 1000 }, (_, i) => i + 3)
        const first = Buffer.concat([body(1, 2), malformed, body(...behind)])
        read(first)
        read(body(4))
        requests.end()
        const error = yield* fiber === undefined ? each : Fiber.join(fiber)
        assert.ok(refused("internal", /no pi.PiRequest/)(error))
        assert.deepEqual(numbers(got), [1, 2])
        // All bytes are taken, were they read or not, and once: those of other calls need the room.
        assert.equal(seen.taken, first.length + body(4).length)
      }))

  test("are decoded some at a time, and their bytes are taken with them", () =>
    Effect.gen(function* () {
      const { requests, seen, read } = open()
      const all = Array.from({ length: 10_000 }, (_, i) => i + 1)
      const bytes = body(...all)
      read(bytes)
      requests.end()
      const got: Array<unknown> = []
      const arrays = Stream.runForEachArray(requests.stream, (some) =>
        Effect.sync(() => {
          got.push(...some)
          assert.ok(some.length <= 256)
          // No more has been taken than was handed on.
          assert.equal(seen.taken, body(...all.slice(0, got.length)).length)
        }),
      )
      yield* arrays
      assert.deepEqual(numbers(got), all)
      assert.equal(seen.taken, bytes.length)
    }))

  test("leave others their turn, however many there are", () =>
    Effect.gen(function* () {
      const { requests, read } = open()
      const bytes = body(...Array.from({ length: 1000 }, () => 1))
      let others = 0
      const turns = setInterval(() => {
        others++
      }, 1)
      let left = 200
      // A program that always has its next ones ready, as when they come faster than it takes them.
      const more = () => {
        if (left-- > 0) read(bytes)
        else requests.end()
      }
      more()
      let got = 0
      yield* Stream.runForEachArray(requests.stream, (some) =>
        Effect.sync(() => {
          got += some.length
          if (got % 1000 === 0) more()
        }),
      )
      clearInterval(turns)
      assert.equal(got, 200_000)
      assert.ok(others > 5, `others had ${others} turns`)
    }))

  test("are decompressed when they are pulled, those that were compressed", () =>
    Effect.gen(function* () {
      const { requests, read } = open({ encoding: gzip })
      read(envelope(yield* gzip.compress(encoded(1)), 1))
      read(Buffer.concat([body(2, 3), envelope(yield* gzip.compress(encoded(4)), 1), malformed]))
      requests.end()
      const got: Array<unknown> = []
      const each = Stream.runForEach(requests.stream, (message) => Effect.sync(() => got.push(message)))
      assert.ok(refused("internal", /no pi.PiRequest/)(yield* Effect.flip(each)))
      assert.deepEqual(numbers(got), [1, 2, 3, 4])
    }))

  test("are one where the method takes one, compressed or not", () =>
    Effect.gen(function* () {
      for (const encoding of [undefined, gzip]) {
        const { requests, seen, read } = open({ streaming: false, encoding })
        read(encoding === undefined ? body(7) : envelope(yield* gzip.compress(encoded(7)), 1))
        assert.ok(seen.taken > 0)
        requests.end()
        assert.deepEqual(numbers([yield* requests.one]), [7])
      }
    }))

  test("are held as what they are once they are decompressed, where the method takes one", () =>
    Effect.gen(function* () {
      const { requests, seen, read } = open({ streaming: false, encoding: gzip })
      // A field that nobody knows, with 60,000 zeros.
      const plain = Buffer.concat([encoded(7), Buffer.of(0x7a, 0xe0, 0xd4, 0x03), Buffer.alloc(60_000)])
      const sent = envelope(yield* gzip.compress(plain), 1)
      read(sent)
      requests.end()
      assert.equal(seen.held, sent.length)
      assert.equal(Reflect.get(Object(yield* requests.one), "n"), 7)
      assert.deepEqual(seen, { taken: sent.length, held: 5 + plain.length })
    }))

  test("are refused where they are more or fewer than the method takes, or end in the middle", () =>
    Effect.sync(() => {
      const extra = refused("unimplemented", /extra message/)
      const one = { streaming: false }
      assert.throws(() => open(one).read(body(1, 2)), extra)
      const { read } = open(one)
      read(body(1))
      assert.throws(() => read(body(2)), extra)
      assert.throws(() => open(one).requests.end(), refused("unimplemented", /missing message/))
      for (const streaming of [true, false]) {
        const { requests, read } = open({ streaming })
        read(body(1).subarray(0, 3))
        assert.throws(() => requests.end(), refused("invalid_argument", /within a message/))
      }
      assert.throws(() => open().read(envelope(encoded(1), 1)), refused("internal", /nothing named/))
    }))
})
