/**
 * What the tests of the transport share: servers and clients of the calculator, and raw HTTP to look at the wire with.
 */
import * as http2 from "node:http2"
import * as net from "node:net"
import type { Message } from "@bufbuild/protobuf"
import { Deferred, Effect, Exit, Logger, Scope } from "effect"
import { intercept } from "../../src/core/layers/intercept.ts"
import * as Calculator from "../../src/core/pi/calculator.ts"
import type { CallInfo } from "../../src/core/rpc/call.ts"
import type { Service as AnyService } from "../../src/core/rpc/service.ts"
import { type ChannelLayer, type ConnectOptions, connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import type { DescService } from "../../src/transport/method.ts"
import { type ServeOptions, serve } from "../../src/transport/server.ts"
import * as Service from "../../src/transport/service.ts"

/** The calculator's programs; they answer every request of a stream, and keep no report. */
export const calculator = Calculator.make({
  policy: Effect.succeed(true),
  journal: { report: () => Effect.succeed(true) },
})

export const pi = Service.make(PiCalculator, calculator)

/** Serves on a free port until the scope closes. */
export const start = <R>(
  services: AnyService<DescService, R> | ReadonlyArray<AnyService<DescService, R>>,
  options: ServeOptions = {},
) => serve(services, { port: 0, ...options })

/** A client of the calculator at an address, over a channel with a layer if one is given. */
export const dial = ({ url }: { readonly url: string }, options: ConnectOptions = {}, layer?: ChannelLayer) =>
  Effect.map(connect(url, options), (channel) => Client.make(PiCalculator, layer?.(channel) ?? channel))

/** A layer that shows the last call that ended. */
export const watch = () => {
  const seen: { call?: CallInfo } = {}
  const layer = intercept((call, next) =>
    Effect.ensuring(
      next(call),
      Effect.sync(() => {
        seen.call = call
      }),
    ),
  )
  return { seen, layer }
}

/** A scope that the test closes by itself. */
export const ownScope = Effect.acquireRelease(Scope.make(), (scope) => Scope.close(scope, Exit.void))

/** Gives the body what is logged in it, and prints nothing. */
export const withLog = <A, E, R>(body: (lines: Array<string>) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  const lines: Array<string> = []
  const logger = Logger.make(({ message, cause }) => {
    lines.push(`${message} ${cause}`)
  })
  return Effect.provide(body(lines), Logger.layer([logger]))
}

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

/** A message as gRPC sends it: a flag, four bytes of length, and the message. */
export const envelope = (message: Uint8Array, flag = 0): Uint8Array => {
  const enveloped = new Uint8Array(5 + message.length)
  enveloped[0] = flag
  new DataView(enveloped.buffer).setUint32(1, message.length)
  enveloped.set(message, 5)
  return enveloped
}

/** The same message with 4 KiB more, in a field that nobody knows: the calculator's own messages are small. */
export const padded = <M extends Message>(message: M): M => ({
  ...message,
  $unknown: [{ no: 99, wireType: 2, data: new Uint8Array([0x80, 0x20, ...new Uint8Array(4096)]) }],
})

/** The protobuf bytes of `PiRequest { n: 999 }`. */
export const request999 = new Uint8Array([0x08, 0xe7, 0x07])

export type Headers = Readonly<Record<string, string>>

/** What a server answered. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly trailers: Headers
  readonly body: Buffer
}

/** The status of an answer of gRPC, which has it in front if there is no body. */
export const grpcStatus = ({ headers, trailers }: Answer): number =>
  Number(trailers["grpc-status"] ?? headers["grpc-status"])

/** Makes requests on one connection. */
export type Requests = (headers: Headers, body?: string | Uint8Array) => Effect.Effect<Answer, Error>

interface Address {
  readonly host: string
  readonly port: number
}

/** A socket of our own to a server. */
export interface Wire {
  readonly socket: net.Socket
  readonly send: (...parts: ReadonlyArray<string | Uint8Array>) => Effect.Effect<void>
  /** Waits until `read` makes something of all the bytes that have arrived. Fails if they end before. */
  readonly receive: <A>(read: (received: Buffer) => A | undefined) => Effect.Effect<A, Error>
  /** Waits until the other side has closed, and gives all that arrived. */
  readonly closed: Effect.Effect<Buffer>
  /** Goes on reading, and keeps nothing of it. */
  readonly drop: () => void
}

export const wire = ({ host, port }: Address) =>
  Effect.gen(function* () {
    let received = Buffer.alloc(0)
    let dropping = false
    const closed = yield* Deferred.make<Buffer>()
    const readers = new Set<() => void>()
    const socket = yield* Effect.acquireRelease(
      Effect.callback<net.Socket, Error>((resume) => {
        const opening: net.Socket = net.connect({ host, port, noDelay: true }, () => resume(Effect.succeed(opening)))
        opening.on("error", (error) => resume(Effect.fail(error)))
      }),
      (open) => Effect.sync(() => open.destroy()),
    )
    socket.on("data", (chunk: Buffer) => {
      if (dropping) return
      received = Buffer.concat([received, chunk])
      for (const reader of readers) reader()
    })
    socket.on("close", () => {
      Deferred.doneUnsafe(closed, Effect.succeed(received))
      for (const reader of readers) reader()
    })
    const self: Wire = {
      socket,
      send: (...parts) =>
        Effect.callback<void>((resume) => {
          const all = Buffer.concat(parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)))
          socket.write(all, () => resume(Effect.void))
        }),
      receive: (read) =>
        Effect.callback((resume) => {
          const reader = () => {
            const made = read(received)
            if (made !== undefined) resume(Effect.succeed(made))
            else if (socket.closed) resume(Effect.fail(new Error(`closed after ${JSON.stringify(`${received}`)}`)))
          }
          readers.add(reader)
          reader()
          return Effect.sync(() => readers.delete(reader))
        }),
      closed: Deferred.await(closed),
      drop: () => {
        dropping = true
      },
    }
    return self
  })

/** The whole answers at the beginning of what arrived over HTTP/1.1. */
const answers1 = (received: Buffer): ReadonlyArray<Answer> => {
  const end = received.indexOf("\r\n\r\n")
  if (end < 0) return []
  const [first = "", ...lines] = received.toString("latin1", 0, end).split("\r\n")
  const headers = Object.fromEntries(
    lines.map((line): [string, string] => [
      line.slice(0, line.indexOf(":")).toLowerCase(),
      line.slice(line.indexOf(":") + 1).trim(),
    ]),
  )
  const whole =
    headers["transfer-encoding"] === "chunked" ? chunks(received, end + 4) : sized(received, end + 4, headers)
  if (whole === undefined) return []
  const answer = { status: Number(first.split(" ")[1]), headers, trailers: {}, body: whole.body }
  return [answer, ...answers1(received.subarray(whole.next))]
}

interface Body {
  readonly body: Buffer
  readonly next: number
}

const sized = (received: Buffer, from: number, headers: Headers): Body | undefined => {
  const next = from + Number(headers["content-length"] ?? 0)
  return next <= received.length ? { body: received.subarray(from, next), next } : undefined
}

const chunks = (received: Buffer, from: number): Body | undefined => {
  const parts: Array<Buffer> = []
  for (let at = from; ; ) {
    const line = received.indexOf("\r\n", at)
    if (line < 0) return undefined
    const size = Number.parseInt(received.toString("latin1", at, line), 16)
    at = line + 2 + size + 2
    if (at > received.length) return undefined
    if (size === 0) return { body: Buffer.concat(parts), next: at }
    parts.push(received.subarray(line + 2, line + 2 + size))
  }
}

/** A request of HTTP/1.1 as it is on the wire. The pseudo-headers of HTTP/2 name method and path. */
export const request1 = (
  { ":method": method = "POST", ":path": path = "/pi.PiCalculator/Calc", ...headers }: Headers,
  body: string | Uint8Array = "",
): Buffer =>
  Buffer.concat([
    Buffer.from(
      [
        `${method} ${path} HTTP/1.1`,
        "host: localhost",
        `content-length: ${Buffer.byteLength(body)}`,
        ...Object.entries(headers).map(([key, value]) => `${key}: ${value}`),
        "\r\n",
      ].join("\r\n"),
    ),
    Buffer.from(body),
  ])

/** One connection of HTTP/1.1, all of whose requests must find it open. */
export const http1 = (server: Address) =>
  Effect.map(wire(server), ({ socket, receive }): Requests => {
    let sent = 0
    return (headers, body) =>
      Effect.suspend(() => {
        const index = sent++
        // The answer may come before all of the request has left.
        socket.write(request1(headers, body))
        return receive((received) => answers1(received)[index])
      })
  })

const text = (headers: http2.IncomingHttpHeaders): Headers =>
  Object.fromEntries(Object.entries(headers).map(([key, value]) => [key, `${value}`]))

/** One connection of HTTP/2, all of whose requests must find it open. */
export const http2Session = ({ host, port }: Address) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const session = http2.connect(`http://${host}:${port}`)
      session.on("error", () => {})
      return session
    }),
    (session) => Effect.sync(() => session.destroy()),
  )

export const requests2 =
  (session: http2.ClientHttp2Session): Requests =>
  (headers, body = "") =>
    Effect.callback((resume) => {
      const all = { ":method": "POST", ":path": "/pi.PiCalculator/Calc", ...headers }
      const stream = session.request(all, { endStream: body.length === 0 })
      const parts: Array<Buffer> = []
      let answered: http2.IncomingHttpHeaders = {}
      let trailers: http2.IncomingHttpHeaders = {}
      stream.on("response", (got) => {
        answered = got
      })
      stream.on("trailers", (got) => {
        trailers = got
      })
      stream.on("data", (part: Buffer) => parts.push(part))
      stream.on("error", (error) => resume(Effect.fail(error)))
      const answer = () =>
        resume(
          Effect.succeed({
            status: Number(answered[":status"]),
            headers: text(answered),
            trailers: text(trailers),
            body: Buffer.concat(parts),
          }),
        )
      stream.on("close", answer)
      // Where the server has answered without the rest of a request, Deno's client waits for ever to write it.
      stream.on("end", () => setTimeout(answer))
      if (body.length > 0) stream.end(body)
      return Effect.sync(() => stream.close(http2.constants.NGHTTP2_CANCEL))
    })

export const http2Requests = (server: Address) => Effect.map(http2Session(server), requests2)

/** A frame of HTTP/2. */
export const frame = (type: number, flags: number, stream: number, payload: Uint8Array): Buffer => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUIntBE(type, 3, 1)
  head.writeUIntBE(flags, 4, 1)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A request of HTTP/2 as it is on the wire, from the connection's first byte on; for what no client would send. */
export const request2 = (headers: Headers, body: string | Uint8Array): Buffer => {
  const all = { ":method": "POST", ":scheme": "http", ":path": "/pi.PiCalculator/Calc", ...headers }
  // HPACK's plainest form: neither indexed nor compressed.
  const block = Object.entries(all).map(([key, value]) =>
    Buffer.concat([Buffer.of(0, key.length), Buffer.from(key), Buffer.of(value.length), Buffer.from(value)]),
  )
  return Buffer.concat([
    Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    frame(4, 0, 0, Buffer.alloc(0)),
    frame(1, 4, 1, Buffer.concat(block)),
    frame(0, 1, 1, Buffer.from(body)),
  ])
}

/** A server's address with someone between it and its clients: who records what clients send, and may cut them off. */
export const between = (server: Address) =>
  Effect.gen(function* () {
    const sent: Array<Buffer> = []
    const sockets = new Set<net.Socket>()
    const middle = net.createServer((client) => {
      const upstream = net.connect({ host: server.host, port: server.port })
      client.on("data", (chunk: Buffer) => sent.push(chunk))
      for (const socket of [client, upstream]) {
        sockets.add(socket)
        socket.on("error", () => {})
        socket.on("close", () => {
          sockets.delete(socket)
          client.destroy()
          upstream.destroy()
        })
      }
      client.pipe(upstream).pipe(client)
    })
    const cut = Effect.sync(() => {
      for (const socket of sockets) socket.destroy()
    })
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => {
        middle.listen({ host: "127.0.0.1", port: 0 }, () => resume(Effect.void))
      }),
      () =>
        Effect.andThen(
          Effect.sync(() => middle.close()),
          cut,
        ),
    )
    const bound = middle.address()
    const port = typeof bound === "object" && bound !== null ? bound.port : 0
    // The sockets are gone when the clients' have closed.
    const idle = Effect.promise(async () => {
      while (sockets.size > 0) await new Promise((resolve) => setImmediate(resolve))
    })
    return { host: "127.0.0.1", port, url: `http://127.0.0.1:${port}`, sent: () => Buffer.concat(sent), cut, idle }
  })

/** The payloads of the DATA frames in what a client of HTTP/2 sent. */
export const dataFrames = (sent: Buffer): ReadonlyArray<Buffer> => {
  const found: Array<Buffer> = []
  for (let at = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".length; at + 9 <= sent.length; ) {
    const next = at + 9 + sent.readUIntBE(at, 3)
    if (sent[at + 3] === 0) found.push(sent.subarray(at + 9, next))
    at = next
  }
  return found
}
