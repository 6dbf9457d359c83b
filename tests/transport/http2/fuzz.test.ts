/**
 * Whatever bytes come, a connection bears them: it never throws or hangs, holds no more than its limits allow, and does
 * the same wherever the socket has cut them. `FUZZ_RUNS` multiplies the number of cases.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import fc from "fast-check"
import { Connection } from "../../../src/transport/http2/connection.ts"
import type { Events } from "../../../src/transport/http2/events.ts"
import { errorCode, flag, frameType } from "../../../src/transport/http2/frames.ts"
import type { Limits } from "../../../src/transport/http2/limits.ts"
import { frame } from "../support.ts"
import {
  block,
  cut,
  data,
  eventsOf,
  fields,
  frames,
  headers,
  hello,
  ping,
  requestFields,
  rstStream,
  settings,
  windowUpdate,
} from "./support.ts"

const runs = (count: number) => ({ numRuns: Math.ceil(count * Number(process.env.FUZZ_RUNS ?? 1)) })

type Role = "server" | "client"

// So small that little input goes over them.
const limits: Limits = {
  maxConcurrentStreams: 4,
  maxHeaderListSize: 600,
  maxHeaderBlockSize: 800,
  maxContinuations: 4,
  maxIdleFrames: 12,
  maxIdleFramesPerSecond: 1,
  maxDroppedHeaderBytes: 5000,
  maxDroppedHeaderBytesPerSecond: 10,
  maxResets: 6,
  maxResetsPerSecond: 1,
  streamWindow: 65_535,
  connectionWindow: 65_535,
  maxOutput: 1500,
}

const answerHead = fields({ ":status": "200", "content-type": "text/plain" })
const answerTrailers = fields({ "grpc-status": "0" })
const largeAnswer = Buffer.alloc(3000, "a")
const opened = 3

/** A peer of either role that does a bit of everything, and what it saw and said. */
const peer = (role: Role) => {
  const log: Array<string> = []
  const bodies = new Map<number, Array<Uint8Array>>()
  const answer = (id: number, size: number) => {
    const stream = connection.all().find((open) => open.id === id)
    if (stream === undefined || role === "client") return
    connection.sendHeaders(stream, answerHead, false)
    connection.sendData(stream, largeAnswer.subarray(0, size))
    connection.sendEnd(stream, id % 3 === 0 ? answerTrailers : undefined)
  }
  const events: Events<number> = eventsOf<number>({
    head: (stream, head) => {
      log.push(`head ${stream.id} ${JSON.stringify(head)}`)
      // Some are answered before their end, some are cut short.
      if (stream.id % 8 === 5) answer(stream.id, 10)
    },
    headTooLong: (stream) => {
      log.push(`too long ${stream.id}`)
      connection.reset(stream, errorCode.enhanceYourCalm)
    },
    data: (stream, bytes, start, end) => {
      const pieces = bodies.get(stream.id) ?? []
      bodies.set(stream.id, pieces)
      pieces.push(bytes.slice(start, end))
      if (stream.id % 8 !== 7) connection.taken(stream, end - start)
    },
    end: (stream, trailers) => {
      log.push(`end ${stream.id} ${JSON.stringify(trailers)}`)
      answer(stream.id, stream.id % 8 === 1 ? largeAnswer.length : 10)
    },
    reset: (stream, code) => log.push(`reset ${stream.id} ${code}`),
    drained: (stream) => log.push(`drained ${stream.id}`),
    goaway: (last, code) => log.push(`goaway ${last} ${code}`),
    pong: () => log.push("pong"),
    settings: (all) => log.push(`settings ${JSON.stringify(all)}`),
    failed: ({ code, message }) => log.push(`failed ${code} ${message}`),
  })
  const connection: Connection<number> = new Connection<number>(events, { role, limits, now: () => 0 })
  for (let i = 0; i < opened && role === "client"; i++) {
    const stream = connection.open(requestFields, i)
    if (stream === undefined) continue
    connection.sendData(stream, largeAnswer.subarray(0, 5))
    if (i === 1) connection.sendEnd(stream)
    if (i === 2) connection.sendLast(stream, largeAnswer)
  }
  return { connection, log, bodies }
}

const take = (connection: Connection<number>): Buffer => {
  const parts: Array<Uint8Array> = []
  for (let part = connection.take(); part.length > 0; part = connection.take()) parts.push(part)
  return Buffer.concat(parts)
}

const prefaceLength = (role: Role) => (role === "client" ? 24 : 0)

/** Gives a connection bytes in chunks, and sees to it that it stays within its bounds. */
const run = (role: Role, bytes: Uint8Array, sizes: ReadonlyArray<number>) => {
  const { connection, log, bodies } = peer(role)
  for (const chunk of cut(bytes, sizes)) connection.receive(chunk)
  const streams = connection.all()
  assert.ok(streams.length <= limits.maxConcurrentStreams, "too many streams are open")
  for (const { pending, untaken } of streams) {
    assert.ok(pending.reduce((sum, { length }) => sum + length, 0) <= largeAnswer.length, "too much waits")
    assert.ok(untaken <= limits.streamWindow, "too much was not taken in")
  }
  const output = take(connection)
  const sent = frames(output.subarray(prefaceLength(role)))
  const failures = log.filter((line) => line.startsWith("failed"))
  assert.ok(failures.length <= 1)
  assert.equal(connection.over, failures.length === 1)
  if (connection.over) assert.ok(sent.some(({ type }) => type === frameType.goaway))
  // No more than a few bytes for each of its own, apart from answers.
  assert.ok(output.length < 20 * bytes.length + 4 * largeAnswer.length + 2000, `${output.length} bytes of output`)
  const received = [...bodies].map(([id, pieces]) => `${id}: ${Buffer.concat(pieces).toString("base64")}`)
  connection.abandon()
  assert.equal(connection.openStreams, 0)
  return { log, received, output: output.toString("base64") }
}

/** The same whole and in chunks. */
const bears = (role: Role, bytes: Uint8Array, sizes: ReadonlyArray<number>) =>
  assert.deepEqual(run(role, bytes, sizes), run(role, bytes, [bytes.length]))

/** What a peer of ours says: the bytes of real conversations, HPACK's tables and Huffman code included. */
const recorded = (): Readonly<Record<Role, ReadonlyArray<Uint8Array>>> => {
  const client = peer("client").connection
  const server = peer("server").connection
  const said: Record<Role, Array<Uint8Array>> = { server: [], client: [] }
  for (let i = 0; i < 4; i++) {
    const asked = take(client)
    said.server.push(asked)
    server.receive(asked)
    const answered = take(server)
    said.client.push(answered)
    client.receive(answered)
  }
  const many = Buffer.concat([
    hello,
    settings([1, 0], [4, 100], [5, 20_000]),
    headers(1, false),
    data(1, Buffer.alloc(50, "d")),
    ping,
    headers(3, true, Buffer.concat([Buffer.of(0, 0, 0, 0, 1), block(requestFields)]), flag.priority),
    frame(frameType.data, flag.padded, 1, Buffer.concat([Buffer.of(3), Buffer.from("padded"), Buffer.alloc(3)])),
    windowUpdate(0, 1000),
    windowUpdate(3, 1000),
    frame(frameType.headers, 0, 5, block(requestFields).subarray(0, 7)),
    frame(frameType.continuation, flag.endHeaders, 5, block(requestFields).subarray(7)),
    data(5, Buffer.from("more"), true),
    headers(7, false, block([...requestFields, ...fields({ "content-length": "4" })])),
    data(7, Buffer.from("1234")),
    headers(7, true, block(fields({ checksum: "x" }))),
    rstStream(3),
    frame(frameType.priority, 0, 9, Buffer.alloc(5)),
    settings([4, 10_000]),
    frame(frameType.goaway, 0, 0, Buffer.alloc(8)),
    frame(0x77, 0xff, 11, Buffer.from("who knows")),
  ])
  const answers = Buffer.concat([
    settings([3, 100], [4, 1000]),
    frame(frameType.settings, flag.ack, 0, Buffer.alloc(0)),
    headers(1, false, block(fields({ ":status": "103", link: "x" }))),
    headers(1, false, block(answerHead)),
    data(1, Buffer.from("answer")),
    headers(3, true, block(fields({ ":status": "200", "grpc-status": "3" }))),
    headers(1, true, block(answerTrailers)),
    ping,
    rstStream(5, errorCode.refusedStream),
    frame(frameType.goaway, 0, 0, Buffer.of(0, 0, 0, 3, 0, 0, 0, 0)),
  ])
  return { server: [Buffer.concat(said.server), many], client: [Buffer.concat(said.client), answers] }
}

const conversations = recorded()

interface Mutation {
  readonly kind: "flip" | "set" | "insert" | "delete" | "duplicate" | "truncate"
  readonly at: number
  readonly length: number
  readonly byte: number
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom("flip", "flip", "set", "set", "insert", "delete", "duplicate", "truncate"),
  at: fc.nat(1000),
  length: fc.integer({ min: 1, max: 40 }),
  byte: fc.nat(255),
})

const mutate = (bytes: Uint8Array, { kind, at: anywhere, length, byte }: Mutation): Uint8Array => {
  const at = anywhere % (bytes.length + 1)
  const [before, there, after] = [bytes.subarray(0, at), bytes.subarray(at, at + length), bytes.subarray(at + length)]
  switch (kind) {
    case "flip":
      return Buffer.concat([before, Buffer.of((bytes[at] ?? 0) ^ (1 << (byte & 7))), bytes.subarray(at + 1)])
    case "set":
      return Buffer.concat([before, Buffer.of(byte), bytes.subarray(at + 1)])
    case "insert":
      return Buffer.concat([before, Buffer.alloc(length, byte), there, after])
    case "delete":
      return Buffer.concat([before, after])
    case "duplicate":
      return Buffer.concat([before, there, there, after])
    case "truncate":
      return before
  }
}

const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 4 })

const someFrame = fc
  .tuple(
    fc.oneof({ weight: 9, arbitrary: fc.nat(9) }, { weight: 1, arbitrary: fc.nat(255) }),
    fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 0x2d), fc.nat(255)),
    fc.oneof(fc.nat(9), fc.constantFrom(0x7fff_ffff, 0x8000_0001)),
    fc.oneof(
      fc.uint8Array({ maxLength: 20 }),
      fc.constantFrom(block(requestFields), block(answerHead), Buffer.alloc(4, 1), Buffer.alloc(8), Buffer.alloc(0)),
    ),
  )
  .map(([type, flags, streamId, payload]) => frame(type, flags, streamId, payload))

const greeting: Readonly<Record<Role, Buffer>> = { server: hello, client: settings() }

for (const role of ["server", "client"] as const) {
  describe(`a ${role}'s connection bears`, () => {
    test("valid conversations, however they are cut", () => {
      fc.assert(
        fc.property(fc.constantFrom(...conversations[role]), sizes, (bytes, chunks) => bears(role, bytes, chunks)),
        runs(1000),
      )
      // They are valid: otherwise the mutants die of what isn't their own.
      for (const bytes of conversations[role]) {
        const { log } = run(role, bytes, [bytes.length])
        assert.ok(!log.some((line) => line.startsWith("failed")), log.join("\n"))
      }
    })

    test("valid conversations with something wrong", () => {
      fc.assert(
        fc.property(
          fc.constantFrom(...conversations[role]),
          fc.array(mutation, { minLength: 1, maxLength: 5 }),
          sizes,
          (bytes, mutations, chunks) => bears(role, mutations.reduce(mutate, bytes), chunks),
        ),
        runs(30_000),
      )
    })

    test("frames of any kind in any order", () => {
      fc.assert(
        fc.property(fc.array(someFrame, { maxLength: 30 }), sizes, (some, chunks) =>
          bears(role, Buffer.concat([greeting[role], ...some]), chunks),
        ),
        runs(15_000),
      )
    })

    test("any bytes at all", () => {
      fc.assert(
        fc.property(fc.boolean(), fc.uint8Array({ maxLength: 200 }), sizes, (greets, bytes, chunks) =>
          bears(role, greets ? Buffer.concat([greeting[role], bytes]) : bytes, chunks),
        ),
        runs(10_000),
      )
    })
  })
}
