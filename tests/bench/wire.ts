/**
 * A raw client: bytes made beforehand, on a plain socket, so that a server waits for it as little as can be, and no
 * engine of ours is at both ends. It keeps within the server's windows, and opens its own wide.
 */
import { connect, type Socket } from "node:net"
import { Decoder } from "../../src/transport/http2/hpackDecoder.ts"

const headerLength = 9
const maxFrame = 16_384
const maxWindow = 2 ** 31 - 1
const defaultWindow = 65_535
// Windows are filled up again well before they are empty.
const refill = 2 ** 28

const data = 0x0
const headers = 0x1
const rstStream = 0x3
const settings = 0x4
const ping = 0x6
const goaway = 0x7
const windowUpdate = 0x8
const continuation = 0x9

const endStream = 0x1
const ack = 0x1
const endHeaders = 0x4
const padded = 0x8
const prioritized = 0x20

const initialWindowSetting = 0x4

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

const nothing: Uint8Array = Buffer.alloc(0)

const frame = (type: number, flags: number, stream: number, payload: Uint8Array = nothing): Buffer => {
  const bytes = Buffer.allocUnsafe(headerLength + payload.length)
  bytes.writeUIntBE(payload.length, 0, 3)
  bytes[3] = type
  bytes[4] = flags
  bytes.writeUInt32BE(stream, 5)
  bytes.set(payload, headerLength)
  return bytes
}

const uint32 = (value: number): Buffer => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeUInt32BE(value)
  return bytes
}

const beginning = (streamWindow: number): Buffer =>
  Buffer.concat([
    preface,
    frame(settings, 0, 0, Buffer.concat([Buffer.from([0, initialWindowSetting]), uint32(streamWindow)])),
    frame(windowUpdate, 0, 0, uint32(maxWindow - defaultWindow)),
  ])

/** How a call ended. */
export interface Answer {
  /** The status that gRPC's trailers have; `undefined` if they have none. */
  readonly status: string | undefined
  /** How many bytes there were in DATA frames. */
  readonly length: number
}

/** What is sent over and over: frames, one behind the other. */
export interface Repeated {
  /** One unit: how it is cut into frames is said by `frameLength`. */
  readonly unit: Uint8Array
  readonly times: number
  /** The most that a frame holds. Default: 16,384. */
  readonly frameLength?: number
}

export interface Listener {
  readonly ended: (answer: Answer) => void
  /** Is given the content of DATA frames, which stays as it is only until it returns. */
  readonly received?: (bytes: Uint8Array) => void
}

/** Frames that wait for windows and for the socket. */
interface Sending {
  readonly bytes: Uint8Array
  /** Where each frame ends. */
  readonly ends: ReadonlyArray<number>
  frame: number
  left: number
  /** What is left of a frame of which the window took only a part. */
  cut: Uint8Array
}

interface Stream {
  readonly id: number
  readonly listener: Listener
  status: string | undefined
  length: number
  unopened: number
  window: number
  sending: Sending | undefined
}

// A call that hangs is a failure, not a long one.
const silenceMillis = 15_000

// Frames that leave in one write.
const batch = 65_536

/** The same unit as often as fits a batch, in frames. */
const sendingOf = (id: number, { unit, times, frameLength = maxFrame }: Repeated): Sending => {
  const frames: Array<Buffer> = []
  const copies = Math.max(1, Math.min(times, Math.floor(batch / unit.length)))
  for (let copy = 0; copy < copies; copy++) {
    for (let at = 0; at < unit.length; at += frameLength) {
      frames.push(frame(data, 0, id, unit.subarray(at, at + frameLength)))
    }
  }
  let end = 0
  const ends = frames.map(({ length }) => {
    end += length
    return end
  })
  return { bytes: Buffer.concat(frames), ends, frame: 0, left: (frames.length / copies) * times, cut: nothing }
}

/** A connection to a server. */
export class Wire implements Disposable {
  private readonly socket: Socket
  private readonly authority: string
  private readonly streams = new Map<number, Stream>()
  private readonly decoder = new Decoder({ maxListSize: 2 ** 20 })
  private readonly failed: (error: Error) => void
  private readonly ready: () => void
  // The fields that the server's table has by now, oldest first.
  private readonly fields: Array<string> = []
  private readonly heads = new Map<string, Uint8Array>()
  private output: Array<Uint8Array> = []
  private nextStream = 1
  private window = defaultWindow
  private initialWindow = defaultWindow
  private unopened = 0
  private writable = true
  private rest: Buffer = Buffer.alloc(0)
  private closed = false

  private constructor(port: number, ready: () => void, failed: (error: Error) => void, streamWindow: number) {
    this.authority = `127.0.0.1:${port}`
    this.ready = ready
    this.failed = failed
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true })
    this.socket.on("connect", () => this.socket.write(beginning(streamWindow)))
    this.socket.on("data", (chunk) => typeof chunk === "string" || this.receive(chunk))
    this.socket.on("drain", () => {
      this.writable = true
      this.pump()
    })
    this.socket.on("error", (error) => this.fail(error))
    this.socket.setTimeout(silenceMillis, () => {
      if (this.streams.size > 0) this.fail(new Error(`nothing has happened for ${silenceMillis} ms`))
    })
    this.socket.on("close", () => this.fail(new Error("the server has closed the connection")))
  }

  /**
   * Connects, and waits for the server's settings. `failed` hears of whatever goes wrong on the connection later. A stream
   * whose window is smaller than the widest is paused for good once that is full.
   */
  static connect(port: number, failed: (error: Error) => void, streamWindow = maxWindow): Promise<Wire> {
    return new Promise((resolve, reject) => {
      const wire: Wire = new Wire(
        port,
        () => resolve(wire),
        (error) => {
          reject(error)
          failed(error)
        },
        streamWindow,
      )
    })
  }

  /** Sends one message. */
  call(path: string, message: Uint8Array, listener: Listener): void {
    const { id } = this.open(listener)
    this.send(frame(headers, endHeaders, id, this.head(path)))
    this.send(frame(data, endStream, id, message))
    this.window -= message.length
  }

  /** Sends many. */
  stream(path: string, repeated: Repeated, listener: Listener): void {
    const stream = this.open(listener)
    this.send(frame(headers, endHeaders, stream.id, this.head(path)))
    stream.sending = sendingOf(stream.id, repeated)
    this.pump()
  }

  [Symbol.dispose](): void {
    this.closed = true
    this.socket.destroy()
  }

  private open(listener: Listener): Stream {
    const id = this.nextStream
    this.nextStream += 2
    const window = this.initialWindow
    const stream = { id, listener, status: undefined, length: 0, unopened: 0, window, sending: undefined }
    this.streams.set(id, stream)
    return stream
  }

  // RFC 7541: POST and http are in the static table, the others enter the dynamic one the first time.
  private head(path: string): Uint8Array {
    const known = this.heads.get(path)
    if (known !== undefined) return known
    const entered = this.fields.length
    const fields = [
      [":path", path],
      [":authority", this.authority],
      ["content-type", "application/grpc"],
      ["te", "trailers"],
    ] as const
    const head = Buffer.concat([
      Buffer.from([0x83, 0x86]),
      ...fields.map(([name, value]) => {
        const field = `${name}: ${value}`
        const at = this.fields.indexOf(field)
        if (at >= 0) return Buffer.from([0x80 | (61 + this.fields.length - at)])
        this.fields.push(field)
        return Buffer.concat([Buffer.from([0x40]), ...[name, value].map(literal)])
      }),
    ])
    // A field that enters moves the indices of those before.
    if (this.fields.length === entered) this.heads.set(path, head)
    else this.heads.clear()
    return head
  }

  /** Sends bytes along with all others of this turn. */
  private send(bytes: Uint8Array): void {
    if (this.output.length === 0) queueMicrotask(() => this.flush())
    this.output.push(bytes)
  }

  private flush(): void {
    if (this.output.length === 0 || this.closed) return
    const bytes = Buffer.concat(this.output)
    this.output = []
    this.writable = this.socket.write(bytes)
  }

  /** Sends what windows and socket let through. */
  private pump(): void {
    for (const stream of this.streams.values()) if (this.writable && stream.sending !== undefined) this.push(stream)
  }

  private push(stream: Stream): void {
    const { sending } = stream
    while (sending !== undefined && (sending.left > 0 || sending.cut.length > 0)) {
      const room = Math.min(this.window, stream.window)
      if (!this.writable || room <= 0) return
      const start = sending.ends[sending.frame - 1] ?? 0
      const { cut } = sending
      const bytes = cut.length > 0 ? this.pushCut(stream, sending, cut, room) : this.pushWhole(stream, sending, start)
      this.flush()
      if (bytes.length > 0) this.writable = this.socket.write(bytes)
      else sending.cut = this.takeFrame(sending, start)
    }
    stream.sending = undefined
    this.send(frame(data, endStream, stream.id))
  }

  /** As many whole frames as there are room for, from the one that starts there. */
  private pushWhole(stream: Stream, sending: Sending, start: number): Uint8Array {
    let end = start
    while (sending.frame < sending.ends.length && sending.left > 0) {
      const next = sending.ends[sending.frame] ?? end
      const length = next - end - headerLength
      if (length > Math.min(this.window, stream.window)) break
      this.spend(stream, length)
      end = next
      sending.frame++
      sending.left--
    }
    if (sending.frame === sending.ends.length) sending.frame = 0
    return sending.bytes.subarray(start, end)
  }

  /** A part of a frame: some servers open a window only when it is used up. */
  private pushCut(stream: Stream, sending: Sending, cut: Uint8Array, room: number): Uint8Array {
    const part = cut.subarray(0, room)
    this.spend(stream, part.length)
    sending.cut = cut.subarray(room)
    return frame(data, 0, stream.id, part)
  }

  private takeFrame(sending: Sending, start: number): Uint8Array {
    const end = sending.ends[sending.frame] ?? start
    sending.frame = (sending.frame + 1) % sending.ends.length
    sending.left--
    return sending.bytes.subarray(start + headerLength, end)
  }

  private spend(stream: Stream, length: number): void {
    this.window -= length
    stream.window -= length
  }

  private receive(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    let at = 0
    while (bytes.length - at >= headerLength) {
      const length = bytes.readUIntBE(at, 3)
      const start = at + headerLength
      if (bytes.length < start + length) break
      const type = bytes[at + 3] ?? 0
      const flags = bytes[at + 4] ?? 0
      this.frame(type, flags, bytes.readUInt32BE(at + 5), bytes, start, start + length)
      at = start + length
    }
    this.rest = bytes.subarray(at)
  }

  private frame(type: number, flags: number, id: number, bytes: Buffer, start: number, end: number): void {
    const stream = this.streams.get(id)
    switch (type) {
      case data:
        if (flags & padded) return this.fail(new Error("padding isn't expected"))
        this.widen(stream, end - start)
        if (stream === undefined) return
        stream.length += end - start
        stream.listener.received?.(bytes.subarray(start, end))
        break
      case headers: {
        if (flags & (padded | prioritized) || !(flags & endHeaders))
          return this.fail(new Error("a HEADERS frame that isn't plain"))
        const fields = this.decoder.decode(bytes, start, end)
        if (stream === undefined) return
        stream.status = fields?.find(({ name }) => name === "grpc-status")?.value
        break
      }
      case rstStream:
        if (stream !== undefined) this.fail(new Error(`the server has reset a stream: ${bytes.readUInt32BE(start)}`))
        return
      case settings:
        if (flags & ack) return
        this.settings(bytes.subarray(start, end))
        return
      case ping:
        if (!(flags & ack)) this.send(frame(ping, ack, 0, bytes.subarray(start, end)))
        return
      case goaway:
        this.fail(new Error(`the server goes away: ${bytes.readUInt32BE(start + 4)}`))
        return
      case windowUpdate:
        if (id === 0) this.window += bytes.readUInt32BE(start)
        else if (stream !== undefined) stream.window += bytes.readUInt32BE(start)
        this.pump()
        return
      case continuation:
        this.fail(new Error("a CONTINUATION frame isn't expected"))
        return
      default:
        return
    }
    if (flags & endStream && stream !== undefined) {
      this.streams.delete(id)
      stream.listener.ended({ status: stream.status, length: stream.length })
    }
  }

  private settings(payload: Buffer): void {
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== initialWindowSetting) continue
      const window = payload.readUInt32BE(at + 2)
      for (const stream of this.streams.values()) stream.window += window - this.initialWindow
      this.initialWindow = window
    }
    this.send(frame(settings, ack, 0))
    this.ready()
    this.pump()
  }

  /** Gives back what was read to the windows of the connection and of a stream. */
  private widen(stream: Stream | undefined, length: number): void {
    this.unopened += length
    if (this.unopened >= refill) {
      this.send(frame(windowUpdate, 0, 0, uint32(this.unopened)))
      this.unopened = 0
    }
    if (stream === undefined) return
    stream.unopened += length
    if (stream.unopened >= refill) {
      this.send(frame(windowUpdate, 0, stream.id, uint32(stream.unopened)))
      stream.unopened = 0
    }
  }

  private fail(error: Error): void {
    if (this.closed) return
    this.closed = true
    this.socket.destroy()
    this.failed(error)
  }
}

/** A string of HPACK, which has to be shorter than 127 bytes. */
const literal = (text: string): Buffer => {
  const bytes = Buffer.from(text, "latin1")
  return Buffer.concat([Buffer.from([bytes.length]), bytes])
}

/** Does something on a connection of its own, until it ends the promise or the connection fails. */
export const onWire = async <A>(
  port: number,
  use: (wire: Wire, done: (result: A) => void, failed: (error: Error) => void) => void,
): Promise<A> => {
  const { promise, resolve, reject } = Promise.withResolvers<A>()
  // Whoever waits for the connection hears of its failure first.
  promise.catch(() => {})
  using wire = await Wire.connect(port, reject)
  use(wire, resolve, reject)
  return await promise
}
