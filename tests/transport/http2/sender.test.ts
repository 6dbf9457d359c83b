import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import fc from "fast-check"
import { flag, frameType } from "../../../src/transport/http2/frames.ts"
import { Decoder } from "../../../src/transport/http2/hpackDecoder.ts"
import { Sender } from "../../../src/transport/http2/sender.ts"
import { defaultSettings } from "../../../src/transport/http2/settings.ts"
import { Stream } from "../../../src/transport/http2/stream.ts"
import { type Frame, fields, frames } from "./support.ts"

const flush = <T>(sender: Sender<T>): ReadonlyArray<Frame> => {
  const all: Array<Frame> = []
  for (;;) {
    sender.pump()
    const bytes = sender.out.take()
    if (bytes.length === 0) return all
    all.push(...frames(bytes))
  }
}

const trailers = fields({ "grpc-status": "0" })
const maxOutput = 2000
const maxFrameSize = 500

type Command =
  | { readonly kind: "data"; readonly stream: number; readonly size: number }
  | { readonly kind: "last"; readonly stream: number; readonly size: number }
  | { readonly kind: "end"; readonly stream: number; readonly withTrailers: boolean }
  | { readonly kind: "forget"; readonly stream: number }
  // What the peer does; its initial window can become smaller, and then a stream's window is negative.
  | { readonly kind: "openStream"; readonly stream: number; readonly size: number }
  | { readonly kind: "openConnection"; readonly size: number }
  | { readonly kind: "writable"; readonly to: boolean }
  | { readonly kind: "flush" }

const streamIndex = fc.nat(3)
const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({ kind: fc.constant("data" as const), stream: streamIndex, size: fc.oneof(fc.nat(1500), fc.constant(0)) }),
  fc.record({ kind: fc.constant("last" as const), stream: streamIndex, size: fc.oneof(fc.nat(1500), fc.constant(0)) }),
  fc.record({ kind: fc.constant("end" as const), stream: streamIndex, withTrailers: fc.boolean() }),
  fc.record({
    kind: fc.constant("openStream" as const),
    stream: streamIndex,
    size: fc.integer({ min: -600, max: 1500 }),
  }),
  fc.record({ kind: fc.constant("openConnection" as const), size: fc.nat(2000) }),
  fc.record({ kind: fc.constant("writable" as const), to: fc.boolean() }),
  fc.constant({ kind: "flush" as const }),
  fc.record({ kind: fc.constant("forget" as const), stream: fc.constant(3) }),
)

/** What one stream has written, and what of it a peer would have seen. */
class Model {
  readonly stream: Stream<Model>
  credit: number
  written = 0
  seen = 0
  asked = false
  ended = false
  done = false
  forgotten = false
  constructor(id: number, credit: number) {
    this.credit = credit
    this.stream = new Stream<Model>(id, credit, 0)
  }
}

describe("the sender", () => {
  test("sends all of every stream, in order, within the windows and the frame size, whatever comes between", () => {
    fc.assert(
      fc.property(fc.array(command, { maxLength: 60 }), fc.nat(1000), fc.nat(3000), (commands, window, whole) => {
        const drained: Array<Stream<Model>> = []
        const sender = new Sender<Model>(maxOutput, (stream) => drained.push(stream))
        sender.configure({ ...defaultSettings, maxFrameSize }, Number.POSITIVE_INFINITY)
        sender.window.size = whole
        let credit = whole
        const models = [1, 3, 5, 7].map((id) => new Model(id, window))
        const check = () => {
          for (const { type, flags, streamId, payload } of flush(sender)) {
            const model = models.find(({ stream }) => stream.id === streamId)
            assert.ok(model !== undefined && !model.ended)
            assert.ok(payload.length <= maxFrameSize)
            if ((flags & flag.endStream) !== 0) model.ended = true
            if (type !== frameType.data || payload.length === 0) continue
            credit -= payload.length
            model.credit -= payload.length
            assert.ok(credit >= 0, "more than the connection's window")
            assert.ok(model.credit >= 0, "more than the stream's window")
            for (const byte of payload) assert.equal(byte, model.seen++ & 0xff)
          }
          for (const model of models) {
            assert.equal(model.ended, model.done, "an end is told when it is written")
            if (model.ended) assert.equal(model.seen, model.written, "the end comes last")
          }
        }
        for (const { kind, ...rest } of commands) {
          const model = "stream" in rest ? models[rest.stream] : undefined
          if (kind === "writable" && "to" in rest) sender.writable = rest.to
          else if (kind === "flush") check()
          else if (kind === "openConnection" && "size" in rest) {
            sender.window.open(rest.size)
            credit += rest.size
          } else if (model === undefined || model.forgotten) continue
          else if (kind === "openStream" && "size" in rest) {
            // What was written before was allowed.
            if (rest.size < 0) check()
            model.stream.send.open(rest.size)
            model.credit += rest.size
          } else if (kind === "forget") {
            check()
            model.forgotten = true
            sender.forget(model.stream)
          } else if (model.asked) continue
          else if (kind === "data" && "size" in rest) {
            sender.data(
              model.stream,
              Uint8Array.from({ length: rest.size }, () => model.written++ & 0xff),
            )
          } else if (kind === "last" && "size" in rest) {
            model.asked = true
            const bytes = Uint8Array.from({ length: rest.size }, () => model.written++ & 0xff)
            sender.last(model.stream, bytes, () => {
              model.done = true
            })
          } else if (kind === "end" && "withTrailers" in rest) {
            model.asked = true
            sender.end(model.stream, rest.withTrailers ? trailers : undefined, () => {
              model.done = true
            })
          }
        }
        // In the end all doors are open.
        sender.writable = true
        sender.window.open(1_000_000)
        credit += 1_000_000
        for (const model of models) {
          model.stream.send.open(1_000_000)
          model.credit += 1_000_000
        }
        check()
        assert.ok(sender.idle)
        for (const { seen, written, asked, ended, forgotten, stream } of models) {
          if (forgotten) continue
          assert.equal(seen, written)
          assert.equal(ended, asked)
          assert.equal(stream.pending.length, 0)
        }
        assert.equal(sender.window.size, credit)
      }),
      { numRuns: 2000 },
    )
  })

  test("gives each stream its turn, also where the output has room for a few of them only", () => {
    const sender = new Sender<never>(64_000, () => {})
    sender.window.open(1_000_000_000)
    sender.writable = false
    const sent = new Map<number, number>()
    for (let id = 1; id < 80; id += 2) {
      sent.set(id, 0)
      sender.data(new Stream<never>(id, 1_000_000_000, 0), new Uint8Array(1_000_000))
    }
    sender.writable = true
    for (let turn = 0; turn < 100; turn++) {
      sender.pump()
      for (const { streamId, payload } of frames(sender.out.take())) {
        sent.set(streamId, (sent.get(streamId) ?? 0) + payload.length)
      }
      const all = [...sent.values()]
      assert.ok(Math.max(...all) - Math.min(...all) <= defaultSettings.maxFrameSize, `turn ${turn}: ${all}`)
    }
  })

  test("lets small answers of other streams pass one whose own window is closed", () => {
    const sender = new Sender<never>(64_000, () => {})
    const [stuck, free] = [new Stream<never>(1, 10, 0), new Stream<never>(3, 1000, 0)]
    sender.data(stuck, new Uint8Array(1000))
    sender.data(free, new Uint8Array(1000))
    const lengths = flush(sender).map(({ streamId, payload }) => [streamId, payload.length])
    assert.deepEqual(lengths, [
      [1, 10],
      [3, 1000],
    ])
  })

  test("takes nothing from a window, and gives it nothing, for data that is empty", () => {
    const sender = new Sender<never>(64_000, () => {})
    const stream = new Stream<never>(1, -1000, 0)
    const before = sender.window.size
    sender.data(stream, new Uint8Array(0))
    assert.equal(sender.window.size, before)
    assert.equal(stream.send.size, -1000)
    assert.ok(sender.idle)
  })

  test("says once that a stream has drained, when the last of it was written and it hasn't ended", () => {
    const drained: Array<number> = []
    const sender = new Sender<never>(64_000, ({ id }) => drained.push(id))
    const [goesOn, ends] = [new Stream<never>(1, 0, 0), new Stream<never>(3, 0, 0)]
    for (const stream of [goesOn, ends]) for (const size of [10, 20]) sender.data(stream, new Uint8Array(size))
    sender.end(ends, undefined, () => {})
    for (const stream of [goesOn, ends]) stream.send.open(15)
    flush(sender)
    assert.deepEqual(drained, [])
    for (const stream of [goesOn, ends]) stream.send.open(15)
    flush(sender)
    assert.deepEqual(drained, [1])
  })

  test("ends a stream with the last of its data, in the same frame where that fits, and once in any case", () => {
    let ended = 0
    const last = (window: number, size: number) => {
      const sender = new Sender<never>(64_000, () => {})
      const stream = new Stream<never>(1, window, 0)
      ended = 0
      sender.last(stream, new Uint8Array(size), () => ended++)
      const before = [flush(sender), ended] as const
      stream.send.open(1_000_000)
      return { before, after: [flush(sender), ended] as const }
    }
    const shape = ([all, count]: readonly [ReadonlyArray<Frame>, number]) => [
      all.map(({ flags, payload }) => [flags, payload.length]),
      count,
    ]
    const fits = last(100, 100)
    assert.deepEqual(
      [shape(fits.before), shape(fits.after)],
      [
        [[[flag.endStream, 100]], 1],
        [[], 1],
      ],
    )
    const empty = last(0, 0)
    assert.deepEqual(shape(empty.before), [[[flag.endStream, 0]], 1])
    const waits = last(30, 100)
    assert.deepEqual(shape(waits.before), [[[0, 30]], 0])
    const [rest, count] = waits.after
    assert.equal(count, 1)
    assert.equal(
      rest.reduce((sum, { payload }) => sum + payload.length, 0),
      70,
    )
    assert.deepEqual(
      rest.map(({ flags }) => flags & flag.endStream),
      rest.map((_, i) => (i === rest.length - 1 ? flag.endStream : 0)),
    )
  })

  test("cuts a header block that is longer than a frame into CONTINUATION frames, and ends the stream with the first", () => {
    const sender = new Sender<never>(64_000, () => {})
    const list = [...fields({ ":status": "200" }), { name: "x", value: "\u0001".repeat(40_000) }]
    sender.headers(1, list, true)
    const all = frames(sender.out.take())
    assert.ok(all.length > 2)
    assert.ok(all.every(({ payload }) => payload.length <= defaultSettings.maxFrameSize))
    assert.deepEqual(
      all.map(({ type, flags }) => [type, flags]),
      all.map((_, i) => [
        i === 0 ? frameType.headers : frameType.continuation,
        (i === 0 ? flag.endStream : 0) | (i === all.length - 1 ? flag.endHeaders : 0),
      ]),
    )
    const whole = Buffer.concat(all.map(({ payload }) => payload))
    const decoded = new Decoder({ maxListSize: 100_000 }).decode(whole, 0, whole.length)
    assert.deepEqual(
      decoded?.map(({ value }) => value.length),
      [3, 40_000],
    )
  })
})
