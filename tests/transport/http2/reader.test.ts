import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import fc from "fast-check"
import { ConnectionError, errorCode, flag, frameType, preface } from "../../../src/transport/http2/frames.ts"
import { FrameReader } from "../../../src/transport/http2/reader.ts"
import { frame } from "../support.ts"
import { cut } from "./support.ts"

type Seen =
  | { readonly type: number; readonly flags: number; readonly streamId: number; readonly payload: Buffer }
  | {
      readonly streamId: number
      readonly length: number
      readonly data: Buffer
      readonly padding: number
      readonly end: boolean
    }

const maxFrameSize = 16_384

/** All that a reader finds in chunks, with the pieces of a DATA frame put together. */
const read = (chunks: ReadonlyArray<Uint8Array>, peer: "server" | "client" = "server"): ReadonlyArray<Seen> => {
  const seen: Array<Seen> = []
  let begun: { streamId: number; length: number; padding: number; pieces: Array<Uint8Array> } | undefined
  const reader = new FrameReader(
    {
      frame: (type, flags, streamId, bytes, start, end) =>
        seen.push({ type, flags, streamId, payload: Buffer.from(Uint8Array.from(bytes.subarray(start, end))) }),
      dataBegin: (streamId, length, padding) => {
        assert.equal(begun, undefined)
        begun = { streamId, length, padding, pieces: [] }
      },
      dataPiece: (bytes, start, end) => {
        assert.ok(end > start)
        begun?.pieces.push(Uint8Array.from(bytes.subarray(start, end)))
      },
      dataEnd: (end) => {
        if (begun === undefined) return assert.fail("a frame ends that hasn't begun")
        const { pieces, ...rest } = begun
        seen.push({ ...rest, data: Buffer.concat(pieces), end })
        begun = undefined
      },
    },
    maxFrameSize,
    peer,
  )
  for (const chunk of chunks) {
    const copy = Uint8Array.from(chunk)
    reader.read(copy)
    // The chunk is the socket's again.
    copy.fill(0xaa)
  }
  return seen
}

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 80 }),
  fc.nat(maxFrameSize).map((length) => Buffer.alloc(length, 7)),
)

interface Sent {
  readonly bytes: Buffer
  readonly seen: Seen
}

const control: fc.Arbitrary<Sent> = fc
  .tuple(fc.integer({ min: 1, max: 255 }), fc.nat(255), fc.nat(0x7fff_ffff), fc.boolean(), payload)
  .map(([type, flags, streamId, reserved, body]) => ({
    // The reserved bit means nothing.
    bytes: frame(type, flags, reserved ? streamId + 0x8000_0000 : streamId, body),
    seen: { type, flags, streamId, payload: Buffer.from(body) },
  }))

const dataFrame: fc.Arbitrary<Sent> = fc
  .tuple(fc.integer({ min: 1, max: 0x7fff_ffff }), payload, fc.option(fc.nat(255)), fc.boolean())
  .map(([streamId, anything, padding, end]) => {
    const body = Buffer.from(anything.subarray(0, maxFrameSize - 256))
    const whole = padding === null ? body : Buffer.concat([Buffer.of(padding), body, Buffer.alloc(padding)])
    const flags = (padding === null ? 0 : flag.padded) | (end ? flag.endStream : 0)
    return {
      bytes: frame(frameType.data, flags, streamId, whole),
      seen: { streamId, length: whole.length, data: body, padding: padding === null ? 0 : padding + 1, end },
    }
  })

const fails = (code: number, ...chunks: ReadonlyArray<Uint8Array>) =>
  assert.throws(
    () => read(chunks),
    (error) => error instanceof ConnectionError && error.code === code,
  )

describe("the frame reader", () => {
  test("finds the same frames and data wherever the bytes are cut", () => {
    const size = fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 20_000 }))
    fc.assert(
      fc.property(
        fc.array(fc.oneof(control, dataFrame), { maxLength: 8 }),
        fc.array(size, { minLength: 1 }),
        (sent, sizes) => {
          const chunks = cut(Buffer.concat(sent.map(({ bytes }) => bytes)), sizes)
          assert.deepEqual(
            read(chunks),
            sent.map(({ seen }) => seen),
          )
        },
      ),
      { numRuns: 500 },
    )
  })

  test("takes the largest frame there may be, and refuses a larger one at its header, of any type", () => {
    assert.equal(read([frame(frameType.ping, 0, 0, Buffer.alloc(maxFrameSize))]).length, 1)
    for (const type of [frameType.data, frameType.headers, 0xee]) {
      const header = frame(type, 0, 1, Buffer.alloc(maxFrameSize + 1)).subarray(0, 9)
      fails(errorCode.frameSizeError, header)
      fails(errorCode.frameSizeError, ...cut(header, [4]))
    }
  })

  test("refuses padding that leaves no room for itself, and takes padding that leaves none for data", () => {
    const padded = (length: number, ...body: ReadonlyArray<number>) =>
      frame(frameType.data, flag.padded, 1, Buffer.concat([Buffer.of(...body), Buffer.alloc(length - body.length)]))
    fails(errorCode.protocolError, padded(1, 1))
    fails(errorCode.protocolError, padded(10, 10))
    fails(errorCode.protocolError, padded(0))
    assert.deepEqual(read([padded(10, 9)]), [
      { streamId: 1, length: 10, data: Buffer.alloc(0), padding: 10, end: false },
    ])
  })

  test("reads a client's preface first, wherever it is cut, and takes nothing else for it", () => {
    const whole = Buffer.concat([preface, frame(frameType.ping, 0, 0, Buffer.of(1))])
    const expected = read([frame(frameType.ping, 0, 0, Buffer.of(1))])
    for (let size = 1; size <= whole.length; size++) assert.deepEqual(read(cut(whole, [size]), "client"), expected)
    for (let at = 0; at < preface.length; at++) {
      const wrong = Buffer.from(whole)
      wrong[at] = 0
      for (const size of [1, at + 1, whole.length]) {
        const chunks = cut(wrong.subarray(0, at + 1), [size])
        assert.throws(
          () => read(chunks, "client"),
          (error) => error instanceof ConnectionError && error.code === errorCode.protocolError,
        )
      }
    }
  })

  test("refuses DATA that is on no stream", () => {
    fails(errorCode.protocolError, frame(frameType.data, 0, 0, Buffer.of(1)))
  })
})
