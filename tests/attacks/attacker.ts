/**
 * An attacker: sockets that say what no honest client would, and that read only if they are told to.
 */
import { Buffer } from "node:buffer"
import * as net from "node:net"
import { flag, frameType, preface } from "../../src/transport/http2/frames.ts"
import { data, headers, settings, windowUpdate } from "../transport/http2/support.ts"
import { callOf } from "../transport/net/support.ts"
import { envelope } from "../transport/support.ts"

/** Where the server listens. */
export interface Target {
  readonly host: string
  readonly port: number
}

export const pause = (millis: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, millis))

/** A body in DATA frames of the largest size that every server takes. */
export const body = (streamId: number, bytes: Uint8Array, end: boolean): Buffer => {
  const most = 16_384
  const frames: Array<Buffer> = []
  for (let at = 0; at < bytes.length; at += most) {
    frames.push(data(streamId, bytes.subarray(at, at + most), end && at + most >= bytes.length))
  }
  return Buffer.concat(frames)
}

/** A gRPC call of one message on a stream. */
export const call = (streamId: number, method: string, message: Uint8Array): Buffer =>
  Buffer.concat([headers(streamId, false, callOf(method)), body(streamId, envelope(message), true)])

/** `PiRequest { n: 999 }` */
export const request999 = Buffer.from([0x08, 0xe7, 0x07])

/** `PiRange { first: 1, last: 2147483647 }`, whose end nobody will see. */
export const endless = Buffer.from([0x08, 0x01, 0x10, 0xff, 0xff, 0xff, 0xff, 0x07])

/** What a client says first: with the widest windows, unless it gives a window of its own. */
export const hello = (streamWindow = 0x7fff_ffff): Buffer =>
  Buffer.concat([
    preface,
    settings([4, streamWindow]),
    streamWindow === 0 ? Buffer.alloc(0) : windowUpdate(0, 0x7fff_0000 - 65_535),
  ])

/** One connection of an attacker. */
export class Attacker implements AsyncDisposable {
  readonly socket: net.Socket
  /** True once the server has closed or reset it. */
  gone = false
  /** How many bytes have come. */
  received = 0
  private readonly connected: Promise<void>

  constructor({ host, port }: Target) {
    this.socket = net.connect({ host, port })
    this.socket.on("error", () => {
      this.gone = true
    })
    this.socket.on("close", () => {
      this.gone = true
    })
    this.socket.on("end", () => {
      this.gone = true
    })
    this.connected = new Promise((resolve) => {
      this.socket.once("connect", () => resolve())
      this.socket.once("close", () => resolve())
    })
  }

  static async to(target: Target): Promise<Attacker> {
    const attacker = new Attacker(target)
    await attacker.connected
    return attacker
  }

  /** Reads what comes, and forgets it. */
  reads(): this {
    this.socket.on("data", (chunk: Buffer) => {
      this.received += chunk.length
    })
    return this
  }

  /** Sends, no faster than the server reads; gives up after a time. False if not all of it went. */
  async send(bytes: Uint8Array, patienceMillis = 5000): Promise<boolean> {
    if (this.gone) return false
    if (this.socket.write(bytes)) return true
    return await new Promise<boolean>((resolve) => {
      const end = (sent: boolean) => () => {
        this.socket.off("drain", drained).off("close", closed)
        clearTimeout(late)
        resolve(sent)
      }
      const [drained, closed] = [end(true), end(false)]
      this.socket.on("drain", drained).on("close", closed)
      const late = setTimeout(closed, patienceMillis)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    if (!this.socket.closed) await new Promise((resolve) => this.socket.once("close", resolve))
  }
}

/** The frames that are whole in bytes, as a stream of them is read. */
const eachFrame = (bytes: Buffer, found: (type: number, flags: number, streamId: number) => void): void => {
  for (let at = 0; at + 9 <= bytes.length; ) {
    const length = bytes.readUIntBE(at, 3)
    if (at + 9 + length > bytes.length) return
    found(bytes.readUInt8(at + 3), bytes.readUInt8(at + 4), bytes.readUInt32BE(at + 5))
    at += 9 + length
  }
}

/** One honest call on a new connection: how long it took, in milliseconds. Fails if it isn't answered in time. */
export const honestCall = (target: Target, patienceMillis = 20_000): Promise<number> =>
  new Promise((resolve, reject) => {
    const from = performance.now()
    // Another peer than the attacker, with a share of its own.
    const socket = net.connect({ host: target.host, port: target.port, localAddress: "127.0.0.2" })
    let received = Buffer.alloc(0)
    const end = (then: () => void) => {
      clearTimeout(late)
      socket.destroy()
      then()
    }
    const late = setTimeout(
      () => end(() => reject(new Error(`no response within ${patienceMillis} ms`))),
      patienceMillis,
    )
    socket.on("connect", () => socket.write(Buffer.concat([hello(), call(1, "Calc", request999)])))
    socket.on("error", (error) => end(() => reject(error)))
    socket.on("close", () => end(() => reject(new Error("the connection was closed before a response"))))
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk])
      eachFrame(received, (type, flags, streamId) => {
        if (type === frameType.headers && (flags & flag.endStream) !== 0 && streamId === 1) {
          end(() => resolve(performance.now() - from))
        }
      })
    })
  })
