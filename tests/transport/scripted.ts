/**
 * A server that says only what it is told to, frame by frame, and keeps all that its clients send.
 */
import { Buffer } from "node:buffer"
import * as net from "node:net"
import { Effect, Queue } from "effect"
import { errorCode, flag, frameType } from "../../src/transport/http2/frames.ts"
import type { Field } from "../../src/transport/http2/hpack.ts"
import { Decoder } from "../../src/transport/http2/hpackDecoder.ts"
import { block, data, type Frame, fields, frames, headers, ping, settings, uint32 } from "./http2/support.ts"
import { frame, type Headers } from "./support.ts"

const prefaceLength = 24

/** A request as far as it has come. */
export interface Request {
  readonly id: number
  readonly fields: ReadonlyArray<Field>
  readonly headers: Headers
}

/** One client's connection, with the test as its server. */
export class Peer {
  readonly socket: net.Socket
  readonly frames: Array<Frame> = []
  /** The heads of requests in the order in which they came. */
  readonly requests: Array<Request> = []
  closed = false
  private readonly decoder = new Decoder({ maxListSize: 1_000_000 })
  private readonly waiting = new Set<() => void>()
  private rest = Buffer.alloc(0)
  private greeted = false
  private pings = 0

  constructor(socket: net.Socket) {
    this.socket = socket
    socket.on("error", () => {})
    socket.on("data", (chunk: Buffer) => this.receive(chunk))
    socket.on("close", () => {
      this.closed = true
      this.tell()
    })
  }

  private receive(chunk: Buffer): void {
    this.rest = Buffer.concat([this.rest, chunk])
    if (!this.greeted) {
      if (this.rest.length < prefaceLength) return
      this.rest = this.rest.subarray(prefaceLength)
      this.greeted = true
    }
    let end = 0
    while (end + 9 <= this.rest.length && end + 9 + this.rest.readUIntBE(end, 3) <= this.rest.length) {
      end += 9 + this.rest.readUIntBE(end, 3)
    }
    for (const one of frames(this.rest.subarray(0, end))) {
      this.frames.push(one)
      if (one.type !== frameType.headers) continue
      const list = this.decoder.decode(one.payload, 0, one.payload.length) ?? []
      const named = Object.fromEntries(list.map(({ name, value }): [string, string] => [name, value]))
      this.requests.push({ id: one.streamId, fields: list, headers: named })
    }
    this.rest = this.rest.subarray(end)
    this.tell()
  }

  private tell(): void {
    for (const reader of this.waiting) reader()
  }

  /** Says something. */
  say(...parts: ReadonlyArray<Uint8Array>): void {
    this.socket.write(Buffer.concat(parts))
  }

  /** Waits until `read` makes something of what has come. Fails if the client closes before. */
  until<A>(read: () => A | undefined): Effect.Effect<A, Error> {
    return Effect.callback((resume) => {
      const reader = () => {
        const made = read()
        if (made !== undefined) resume(Effect.succeed(made))
        else if (this.closed) resume(Effect.fail(new Error("the client has closed the connection")))
      }
      this.waiting.add(reader)
      reader()
      return Effect.sync(() => this.waiting.delete(reader))
    })
  }

  /** Waits until the client has read all that was said so far. */
  get heard(): Effect.Effect<void, Error> {
    return Effect.suspend(() => {
      this.pings += 1
      const { pings } = this
      this.say(ping)
      const answers = () =>
        this.frames.filter(({ type, flags }) => type === frameType.ping && flags === flag.ack).length
      return Effect.asVoid(this.until(() => (answers() >= pings ? true : undefined)))
    })
  }

  /** Waits until the client has closed the connection. */
  get gone(): Effect.Effect<void> {
    return Effect.orDie(this.until(() => (this.closed ? true : undefined)))
  }

  /** Waits for a request, the first one if none is named. */
  request(index = 0): Effect.Effect<Request, Error> {
    return this.until(() => this.requests[index])
  }

  /** Waits for a frame that is like this; gives the first. */
  frame(like: (frame: Frame) => boolean): Effect.Effect<Frame, Error> {
    return this.until(() => this.frames.find(like))
  }

  /** Waits for a stream's end. */
  ended(id: number): Effect.Effect<Frame, Error> {
    return this.frame(({ streamId, type, flags }) => streamId === id && type <= 1 && (flags & flag.endStream) !== 0)
  }

  /** Waits until a stream is cut short; gives the code. */
  cut(id: number): Effect.Effect<number, Error> {
    return Effect.map(
      this.frame(({ streamId, type }) => streamId === id && type === frameType.rstStream),
      ({ payload }) => payload.readUInt32BE(0),
    )
  }

  /** What has come of a stream's body. */
  body(id: number): Buffer {
    return Buffer.concat(
      this.frames
        .filter(({ streamId, type }) => streamId === id && type === frameType.data)
        .map(({ payload }) => payload),
    )
  }
}

/** The head of an answer of gRPC. */
export const head = (id: number, more: Headers = {}, end = false): Buffer =>
  headers(id, end, block(fields({ ":status": "200", "content-type": "application/grpc", ...more })))

/** The trailers of one. */
export const trailers = (id: number, more: Headers = {}): Buffer =>
  headers(id, true, block(fields({ "grpc-status": "0", ...more })))

/** A message in its envelope, in a frame of its own. */
export const message = (id: number, bytes: Uint8Array, compressed = false): Buffer => {
  const envelope = Buffer.alloc(5 + bytes.length)
  envelope[0] = compressed ? 1 : 0
  envelope.writeUInt32BE(bytes.length, 1)
  envelope.set(bytes, 5)
  return data(id, envelope)
}

/** An answer of gRPC that is all right. */
export const answer = (id: number, ...messages: ReadonlyArray<Uint8Array>): Buffer =>
  Buffer.concat([head(id), ...messages.map((bytes) => message(id, bytes)), trailers(id)])

export const goaway = (last: number, code: number = errorCode.noError): Buffer =>
  frame(frameType.goaway, 0, 0, uint32(last, code))

/** Listens on a free port until the scope closes; greets each client with these settings. */
export const scripted = Effect.fnUntraced(function* (...entries: ReadonlyArray<readonly [number, number]>) {
  const peers: Array<Peer> = []
  const arrived = yield* Queue.make<Peer>()
  const server = net.createServer((socket) => {
    const peer = new Peer(socket.setNoDelay(true))
    peers.push(peer)
    peer.say(settings(...entries))
    Queue.offerUnsafe(arrived, peer)
  })
  yield* Effect.acquireRelease(
    Effect.callback<void>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.void))
    }),
    () =>
      Effect.sync(() => {
        server.close()
        for (const { socket } of peers) socket.destroy()
      }),
  )
  const bound = server.address()
  const port = typeof bound === "object" && bound !== null ? bound.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    /** All that have come, in order. */
    peers,
    /** Waits for the next client. */
    accept: Queue.take(arrived),
  }
})
