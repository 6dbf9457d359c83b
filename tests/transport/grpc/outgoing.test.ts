import assert from "node:assert/strict"
import { describe } from "node:test"
import { create, createRegistry, toBinary } from "@bufbuild/protobuf"
import { Effect, Exit, Fiber } from "effect"
import { LogEntrySchema, PiPointSchema } from "../../../src/transport/gen/pi_pb.ts"
import { codecOf } from "../../../src/transport/grpc/codec.ts"
import { EnvelopeReader, envelopeLength, readLength } from "../../../src/transport/grpc/envelope.ts"
import { Outgoing, type OutgoingOptions } from "../../../src/transport/grpc/outgoing.ts"
import { gzip } from "../../../src/transport/layers/compression.ts"
import { test } from "../../effect.ts"

const codec = codecOf("application/grpc", createRegistry())
assert.ok(codec)

/** Outgoing, and the pieces of the body that they were sent in; as long as `full` is set, pieces wait. */
const open = (options: Partial<OutgoingOptions> = {}) => {
  const seen = { pieces: [] as Uint8Array[], full: false }
  const sink = {
    send: (bytes: Uint8Array) => {
      seen.pieces.push(bytes)
      return !seen.full
    },
  }
  const answers = new Outgoing(
    { desc: PiPointSchema, codec, encoding: undefined, minBytes: 1024, maxBytes: 1 << 20, what: "answer", ...options },
    sink,
  )
  return { answers, seen }
}

/** The messages in a body, and whether each is compressed. */
const messagesOf = (pieces: ReadonlyArray<Uint8Array>): ReadonlyArray<readonly [Buffer, boolean]> => {
  const messages: Array<readonly [Buffer, boolean]> = []
  const reader = new EnvelopeReader(1 << 20, {
    messages: (bytes, start, end) => {
      for (let at = start; at < end; at += envelopeLength + readLength(bytes, at)) {
        const from = at + envelopeLength
        messages.push([Buffer.from(bytes.slice(from, from + readLength(bytes, at))), false])
      }
    },
    compressed: (bytes, start, end) => messages.push([Buffer.from(bytes.slice(start, end)), true]),
  })
  for (const piece of pieces) reader.read(piece, 0, piece.length)
  assert.ok(reader.complete)
  return messages
}

const points = (count: number) =>
  Array.from({ length: count }, (_, i) => create(PiPointSchema, { n: i + 1, value: Math.PI }))
const plain = (message: ReturnType<typeof points>[number]) => [Buffer.from(toBinary(PiPointSchema, message)), false]

const entry = (length: number) => create(LogEntrySchema, { text: "x".repeat(length) })

/** Whatever others had to do is done. */
const aTurn = Effect.promise(() => new Promise<void>((resolve) => setTimeout(resolve, 10)))

describe("the answers of a call", () => {
  test("go out in order, many at once, whatever arrays they came in", () =>
    Effect.gen(function* () {
      const { answers, seen } = open()
      const all = points(5000)
      for (const [from, to] of [
        [0, 1],
        [1, 3],
        [3, 1000],
        [1000, 5000],
      ]) {
        yield* answers.emit(all.slice(from, to))
      }
      assert.deepEqual(messagesOf(seen.pieces), all.map(plain))
      assert.ok(seen.pieces.length < 50, `${seen.pieces.length} pieces`)
    }))

  test("wait while the client is slow to take them, and then go on where they were", () =>
    Effect.gen(function* () {
      const { answers, seen } = open()
      seen.full = true
      const all = points(100)
      const fiber = yield* Effect.forkChild(answers.emit(all))
      for (let pieces = 1; pieces <= 3; pieces++) {
        yield* aTurn
        assert.equal(seen.pieces.length, pieces)
        answers.drained()
      }
      seen.full = false
      answers.drained()
      yield* Fiber.join(fiber)
      assert.deepEqual(messagesOf(seen.pieces), all.map(plain))
    }))

  test("that are long are encoded few at a time, for all that is encoded is held", () =>
    Effect.gen(function* () {
      const { answers, seen } = open({ desc: LogEntrySchema })
      yield* answers.emit(Array.from({ length: 300 }, () => entry(10)))
      yield* answers.emit(Array.from({ length: 300 }, () => entry(20_000)))
      const longest = Math.max(...seen.pieces.slice(-100).map(({ length }) => length))
      assert.ok(longest < 100_000, `${longest} bytes at once`)
    }))

  test("are compressed where that is agreed, those that are long enough for it", () =>
    Effect.gen(function* () {
      const { answers, seen } = open({ desc: LogEntrySchema, encoding: gzip, minBytes: 100 })
      const lengths = [10, 2000, 10, 10, 10, 2000, 2000, 10]
      yield* answers.emit(lengths.map(entry))
      const messages = messagesOf(seen.pieces)
      assert.deepEqual(
        messages.map(([, compressed]) => compressed),
        lengths.map((length) => length > 100),
      )
      for (const [i, [bytes, compressed]] of messages.entries()) {
        const message = compressed ? yield* gzip.decompress(bytes, 10_000) : bytes
        assert.deepEqual(Buffer.from(message), Buffer.from(toBinary(LogEntrySchema, entry(lengths[i] ?? 0))))
      }
    }))

  test("over the limit fail behind those before them", () =>
    Effect.gen(function* () {
      const { answers, seen } = open({ desc: LogEntrySchema, maxBytes: 100 })
      const emitted = Effect.flip(answers.emit([10, 10, 10, 10, 200, 10].map(entry)))
      assert.match((yield* emitted).message, /^an answer of 20\d bytes is over the limit of 100$/)
      assert.equal(messagesOf(seen.pieces).length, 4)
    }))

  test("that are no message of the method are a defect behind those before them", () =>
    Effect.gen(function* () {
      const { answers, seen } = open()
      const exit = yield* Effect.exit(Effect.suspend(() => answers.emit([...points(3), entry(1), ...points(3)])))
      assert.ok(Exit.isFailure(exit))
      assert.equal(messagesOf(seen.pieces).length, 3)
    }))

  test("leave others their turn, however many there are", () =>
    Effect.gen(function* () {
      const { answers } = open()
      const all = points(500)
      let turns = 0
      const others = yield* Effect.forkChild(
        Effect.forever(
          Effect.andThen(
            Effect.yieldNow,
            Effect.sync(() => turns++),
          ),
        ),
      )
      // What takes 100 ms on an idle machine.
      const until = performance.now() + 5000
      while (turns < 5 && performance.now() < until) yield* answers.emit(all)
      yield* Fiber.interrupt(others)
      assert.ok(turns >= 5, `${turns} turns`)
    }))
})
