/**
 * What the tests of sockets share: a client of HTTP/2 that does only what it is told.
 */
import { Buffer } from "node:buffer"
import { Duration, Effect, Result } from "effect"
import * as Backoff from "../../../src/core/rpc/backoff.ts"
import { flag, frameType } from "../../../src/transport/http2/frames.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import { parseAddress, type Target } from "../../../src/transport/net/address.ts"
import { type ClientSession, clientTimes } from "../../../src/transport/net/clientSession.ts"
import { dial } from "../../../src/transport/net/dial.ts"
import * as Line from "../../../src/transport/net/line.ts"
import { block, data, type Frame, fields, frames, headers, hello } from "../http2/support.ts"
import { envelope, frame, type Headers, wire } from "../support.ts"

export const grpc: Headers = { "content-type": "application/grpc", te: "trailers" }

/** The header block of a call, which is gRPC's unless it names another content type. */
export const callOf = (method: string, contentType = "application/grpc", more: Headers = {}): Buffer =>
  block(
    fields({
      ":method": "POST",
      ":scheme": "http",
      ":path": `/pi.PiCalculator/${method}`,
      ":authority": "localhost",
      ...grpc,
      "content-type": contentType,
      ...more,
    }),
  )

/** A call of one message as it is on the wire. */
export const call = (streamId: number, method: string, message: Uint8Array): Buffer =>
  Buffer.concat([headers(streamId, false, callOf(method)), data(streamId, envelope(message), true)])

/** The frames that are whole in what has arrived. */
const whole = (received: Buffer): ReadonlyArray<Frame> => {
  let end = 0
  while (end + 9 <= received.length && end + 9 + received.readUIntBE(end, 3) <= received.length) {
    end += 9 + received.readUIntBE(end, 3)
  }
  return frames(received.subarray(0, end))
}

/** A PING that asks. */
export const isPing = ({ type, flags }: Frame): boolean => type === frameType.ping && (flags & flag.ack) === 0

/** The answer to a PING. */
export const pong = ({ payload }: Frame): Buffer => frame(frameType.ping, flag.ack, 0, payload)

/** A client that has greeted the server. It answers PINGs if it `answers`, and nothing else that it isn't told to. */
export const peer = (server: { readonly host: string; readonly port: number }, answers = true) =>
  Effect.gen(function* () {
    const { socket, send, receive, closed } = yield* wire(server)
    let answered = 0
    if (answers) {
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.flatMap(
            receive((received) => whole(received).filter(isPing)[answered]),
            (ping) => {
              answered += 1
              return send(pong(ping))
            },
          ),
        ),
      )
    }
    yield* send(hello)
    return {
      socket,
      send,
      /** Waits until a frame has come that is like this; gives the first. Fails if the server closes before. */
      frame: (like: (frame: Frame) => boolean) => receive((received) => whole(received).find(like)),
      /** Waits until so many of them have. */
      frames: (count: number, like: (frame: Frame) => boolean) =>
        receive((received) => {
          const found = whole(received).filter(like)
          return found.length >= count ? found : undefined
        }),
      /** Waits until the server has closed, and gives all frames that came. */
      closed: Effect.map(closed, whole),
    }
  })

/** A frame of a type, on a stream if one is given. */
export const ofType =
  (type: number, streamId?: number) =>
  (one: Frame): boolean =>
    one.type === type && (streamId === undefined || one.streamId === streamId)

/** Who ends a stream. */
export const endOf =
  (streamId: number) =>
  (one: Frame): boolean =>
    one.streamId === streamId && one.type === frameType.headers && (one.flags & flag.endStream) !== 0

/** The last stream and the code that a GOAWAY has. */
export const goaway = ({ payload }: Frame): readonly [number, number] => [
  payload.readUInt32BE(0),
  payload.readUInt32BE(4),
]

/** A line to an address, over so many connections at most, which ends with its scope. */
export const lineTo = (address: string, maxConnections = 16) =>
  Line.make<Target, ClientSession>({
    targets: [Result.getOrThrow(parseAddress(address, {}))],
    dial: (target, side) =>
      dial(target, { times: clientTimes({}, Duration.infinity), limits: limitsOf(), timeout: "20 seconds" }, side),
    backoff: Backoff.connection,
    maxConnections,
  })
