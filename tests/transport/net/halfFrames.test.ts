/**
 * Frames and header blocks of which the rest doesn't come: nothing else gets through meanwhile, so they have a time.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe } from "node:test"
import { Effect, Fiber } from "effect"
import { errorCode, frameType } from "../../../src/transport/http2/frames.ts"
import { test } from "../../effect.ts"
import { cut, data, headers, settings } from "../http2/support.ts"
import { head, scripted } from "../scripted.ts"
import { dial, envelope, frame, pi, request999, start } from "../support.ts"
import { call, callOf, endOf, goaway, ofType, peer } from "./support.ts"

const block = callOf("CalcStream")
const begun = headers(1, false, block)
// A frame that takes as long as its sender likes: it sends a byte of it, again and again.
const long = data(1, Buffer.alloc(16_384))
const pieces: ReadonlyArray<Uint8Array> = Array.from({ length: 60 }, () =>
  frame(frameType.continuation, 0, 1, Buffer.of(block[0] ?? 0)),
)

/** What is said at first, and what then, piece by piece. */
const slow: Readonly<Record<string, readonly [Uint8Array, ReadonlyArray<Uint8Array>]>> = {
  "half the header of a frame": [begun.subarray(0, 5), []],
  "half a frame": [begun.subarray(0, 30), []],
  "half a frame, byte by byte": [begun.subarray(0, 10), cut(begun.subarray(10), [1])],
  "half a header block": [frame(frameType.headers, 0, 1, block.subarray(0, 10)), []],
  "a header block, frame by frame": [frame(frameType.headers, 0, 1, block.subarray(0, 10)), pieces],
  "half a DATA frame": [Buffer.concat([begun, long.subarray(0, 100)]), []],
  "a DATA frame, byte by byte": [Buffer.concat([begun, long.subarray(0, 100)]), cut(long.subarray(100, 200), [1])],
}

describe("a client", () => {
  for (const [what, [first, then]] of Object.entries(slow)) {
    test(`that sends ${what}, is told so after a time, and closed`, () =>
      Effect.gen(function* () {
        const server = yield* start(pi, { frameTimeout: "300 millis" })
        const client = yield* peer(server)
        yield* client.send(first)
        const sending = Effect.forEach(
          then,
          (piece) =>
            Effect.andThen(
              Effect.sync(() => client.socket.write(piece)),
              Effect.sleep("50 millis"),
            ),
          { discard: true },
        )
        yield* Effect.forkScoped(sending)
        const told = yield* client.frame(ofType(frameType.goaway))
        assert.equal(goaway(told)[1], errorCode.enhanceYourCalm)
        yield* client.closed
      }))
  }

  test("that sends each frame in time may take as long as it likes for all of them", () =>
    Effect.gen(function* () {
      const server = yield* start(pi, { frameTimeout: "3 seconds" })
      const client = yield* peer(server)
      // Each time half of one frame, and half of the next.
      const message = envelope(Buffer.of(0x08, 1))
      const all = Buffer.concat([
        begun,
        ...Array.from({ length: 8 }, () => data(1, message)),
        data(1, Buffer.of(), true),
      ])
      const from = performance.now()
      yield* client.send(all.subarray(0, begun.length + 4))
      for (const piece of cut(all.subarray(begun.length + 4), [9 + message.length])) {
        yield* Effect.sleep("500 millis")
        yield* client.send(piece)
      }
      assert.ok(performance.now() - from > 4000)
      yield* client.frame(endOf(1))
      yield* client.send(call(3, "Calc", request999))
      yield* client.frame(endOf(3))
    }))

  test("that says nothing between frames may do so for as long as it likes", () =>
    Effect.gen(function* () {
      const server = yield* start(pi, { frameTimeout: "100 millis" })
      const client = yield* peer(server)
      yield* client.send(begun, data(1, envelope(Buffer.of(0x08, 1))))
      yield* client.frame(ofType(frameType.data, 1))
      yield* Effect.sleep("500 millis")
      yield* client.send(data(1, Buffer.of(), true))
      yield* client.frame(endOf(1))
    }))
})

describe("a server", () => {
  test("that doesn't send the rest of a frame is left, and its calls are told why", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server, { frameTimeout: "200 millis" })
      const failing = yield* Effect.forkChild(Effect.flip(client.calc({ n: 1 })))
      const connected = yield* server.accept
      const { id } = yield* connected.request()
      connected.say(head(id), data(id, envelope(Buffer.alloc(100))).subarray(0, 50))
      const { code, message } = yield* Fiber.join(failing)
      assert.equal(code, "unavailable")
      assert.match(message, /wasn't whole after 200 ms/)
      yield* connected.gone
    }))

  test("that sends half of new settings is left as well", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      const client = yield* dial(server, { frameTimeout: "200 millis" })
      const failing = yield* Effect.forkChild(Effect.flip(client.calc({ n: 1 })))
      const connected = yield* server.accept
      yield* connected.request()
      connected.say(settings([4, 100_000]).subarray(0, 12))
      assert.equal((yield* Fiber.join(failing)).code, "unavailable")
    }))
})
