/**
 * What the tests of HTTP/2 share: frames as they are on the wire, and a server in memory that anything can be done to.
 */
import { Buffer } from "node:buffer"
import { Connection } from "../../../src/transport/http2/connection.ts"
import type { Events } from "../../../src/transport/http2/events.ts"
import { errorCode, flag, frameType, preface } from "../../../src/transport/http2/frames.ts"
import type { Field } from "../../../src/transport/http2/hpack.ts"
import { Encoder } from "../../../src/transport/http2/hpackEncoder.ts"
import { type Limits, limitsOf } from "../../../src/transport/http2/limits.ts"
import type { MemoryBudget } from "../../../src/transport/http2/memory.ts"
import type { Stream } from "../../../src/transport/http2/stream.ts"
import { frame } from "../support.ts"

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly streamId: number
  readonly payload: Buffer
}

/** The whole frames that bytes consist of. */
export const frames = (bytes: Uint8Array): ReadonlyArray<Frame> => {
  const all = Buffer.from(bytes)
  const found: Array<Frame> = []
  for (let at = 0; at < all.length; ) {
    const next = at + 9 + all.readUIntBE(at, 3)
    if (next > all.length) throw new Error("a frame is cut off")
    found.push({
      type: all.readUInt8(at + 3),
      flags: all.readUInt8(at + 4),
      streamId: all.readUInt32BE(at + 5),
      payload: all.subarray(at + 9, next),
    })
    at = next
  }
  return found
}

export const uint32 = (...values: ReadonlyArray<number>): Buffer => {
  const bytes = Buffer.alloc(4 * values.length)
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, 4 * i)
  return bytes
}

export const fields = (pairs: Readonly<Record<string, string>>): ReadonlyArray<Field> =>
  Object.entries(pairs).map(([name, value]) => ({ name, value }))

/** A header block that leaves no trace in any table: each is good on any connection, at any time. */
export const block = (list: ReadonlyArray<Field>): Buffer => {
  const plain = list.map((field) => ({ ...field, sensitive: true }))
  const out = Buffer.alloc(Encoder.bound(plain))
  return out.subarray(0, new Encoder().encode(plain, out, 0))
}

export const requestFields = fields({ ":method": "POST", ":scheme": "http", ":path": "/", ":authority": "localhost" })
const requestBlock = block(requestFields)

export const settings = (...entries: ReadonlyArray<readonly [number, number]>): Buffer =>
  frame(
    frameType.settings,
    0,
    0,
    Buffer.concat(entries.map(([id, value]) => Buffer.concat([Buffer.of(id >> 8, id), uint32(value)]))),
  )

/** What a client says first. */
export const hello: Buffer = Buffer.concat([preface, settings()])

export const headers = (streamId: number, end = false, payload: Uint8Array = requestBlock, flags = 0): Buffer =>
  frame(frameType.headers, flags | flag.endHeaders | (end ? flag.endStream : 0), streamId, payload)
/** The same in as many frames as it takes. */
export const longHeaders = (streamId: number, end: boolean, payload: Uint8Array): Buffer => {
  const pieces = cut(payload, [16_384])
  return Buffer.concat(
    pieces.map((piece, i) => {
      const first = i === 0
      const last = i === pieces.length - 1 ? flag.endHeaders : 0
      const ends = first && end ? flag.endStream : 0
      return frame(first ? frameType.headers : frameType.continuation, last | ends, streamId, piece)
    }),
  )
}
export const data = (streamId: number, payload: Uint8Array, end = false): Buffer =>
  frame(frameType.data, end ? flag.endStream : 0, streamId, payload)
export const rstStream = (streamId: number, code: number = errorCode.cancel): Buffer =>
  frame(frameType.rstStream, 0, streamId, uint32(code))
export const windowUpdate = (streamId: number, increment: number): Buffer =>
  frame(frameType.windowUpdate, 0, streamId, uint32(increment))
export const goaway = (last: number, code: number = errorCode.noError): Buffer =>
  frame(frameType.goaway, 0, 0, uint32(last, code))
export const ping: Buffer = frame(frameType.ping, 0, 0, Buffer.alloc(8))

const ignore = () => {}

/** Events that nobody cares for, but for those given. */
export const eventsOf = <T>(given: Partial<Events<T>>): Events<T> => ({
  head: ignore,
  headTooLong: ignore,
  trailersTooLong: ignore,
  data: ignore,
  end: ignore,
  reset: ignore,
  exhausted: ignore,
  drained: ignore,
  goaway: ignore,
  pong: ignore,
  settings: ignore,
  output: ignore,
  failed: ignore,
  ...given,
})

/**
 * A server that has been greeted, and answers as told; all that it sends is kept. Its clock stands still but for
 * `clock.now`.
 */
export const victim = (limits: Partial<Limits> = {}, on: Partial<Events<unknown>> = {}, memory?: MemoryBudget) => {
  const clock = { now: 0 }
  const sent: Array<Frame> = []
  const open = new Map<number, Stream<unknown>>()
  const ended: Array<number> = []
  const failures: Array<number> = []
  const connection: Connection<unknown> = new Connection<unknown>(
    eventsOf({
      ...on,
      head: (stream, head) => {
        open.set(stream.id, stream)
        on.head?.(stream, head)
      },
      end: (stream, trailers) => {
        ended.push(stream.id)
        on.end?.(stream, trailers)
      },
      reset: (stream, code) => {
        open.delete(stream.id)
        on.reset?.(stream, code)
      },
      failed: (error) => failures.push(error.code),
    }),
    { role: "server", limits: limitsOf(limits), now: () => clock.now, ...(memory && { memory }) },
  )
  const flush = () => {
    for (let bytes = connection.take(); bytes.length > 0; bytes = connection.take()) sent.push(...frames(bytes))
  }
  const send = (...parts: ReadonlyArray<Uint8Array>) => {
    for (const part of parts) {
      connection.receive(part)
      flush()
    }
  }
  send(hello)
  return {
    connection,
    clock,
    sent,
    ended,
    failures,
    send,
    flush,
    /** A stream that has begun and goes on. */
    stream: (id: number): Stream<unknown> => {
      const stream = open.get(id)
      if (stream === undefined) throw new Error(`stream ${id} is not open`)
      return stream
    },
    /** The codes of the RST_STREAM frames that a stream got. */
    resets: (id: number): ReadonlyArray<number> =>
      sent
        .filter(({ type, streamId }) => type === frameType.rstStream && streamId === id)
        .map(({ payload }) => payload.readUInt32BE(0)),
    /** The code of the GOAWAY frame that ended the connection. */
    goaway: (): number | undefined => sent.find(({ type }) => type === frameType.goaway)?.payload.readUInt32BE(4),
    /** The bytes of the DATA frames that a stream got. */
    body: (id: number): Buffer =>
      Buffer.concat(
        sent.filter(({ type, streamId }) => type === frameType.data && streamId === id).map(({ payload }) => payload),
      ),
  }
}

export type Victim = ReturnType<typeof victim>

/** Bytes cut into chunks of these sizes, again and again; the rest as it comes. */
export const cut = (bytes: Uint8Array, sizes: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const chunks: Array<Uint8Array> = []
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? bytes.length)
    chunks.push(bytes.subarray(at, at + size))
    at += size
  }
  return chunks
}
