/**
 * What goes out on a call, answers at a server and requests at a client: messages become envelopes, compressed where that
 * is agreed and worth it, and go out no faster than the peer takes them.
 */
import type { DescMessage } from "@bufbuild/protobuf"
import { Effect, Exit } from "effect"
import type { Encoding } from "../../core/rpc/compression.ts"
import { RpcError } from "../../core/rpc/error.ts"
import { exitOf } from "../../core/rpc/ready.ts"
import { longestTurn, othersTurn } from "../othersTurn.ts"
import { unsendable } from "../protobuf/unsendable.ts"
import type { Codec } from "./codec.ts"
import { envelopeLength, writeEnvelope } from "./envelope.ts"

export interface OutgoingOptions {
  readonly desc: DescMessage
  readonly codec: Codec
  /** What messages may be compressed with; `undefined` for not at all. */
  readonly encoding: Encoding | undefined
  /** Messages below this many bytes are sent as they are. */
  readonly minBytes: number
  /** How long a message may be before it is compressed. */
  readonly maxBytes: number
  readonly what: "request" | "answer"
}

/** Where the body goes to. */
export interface Sink {
  /** Sends bytes. False if some of them wait: then `drained` has to be called when more is welcome. */
  readonly send: (bytes: Uint8Array) => boolean
  /** How many bytes could be sent now. Default: any number. */
  readonly room?: number
}

// Bytes that messages encoded at once should have, and how many there may be.
const largestBatch = 32_768
const mostAtOnce = 128
// So many of them that make a batch are long.
const longFrom = 8

export class Outgoing {
  private readonly options: OutgoingOptions
  private readonly sink: Sink
  private resume: (() => void) | undefined
  // How many are encoded at once, and since when the program has had its turn.
  private atOnce = 1
  // How long those of the last batch were.
  private length = 1
  private turn = 0
  // Long ones are better off as a batch even alone: that has room for their envelope, where they would be copied.
  private long = false

  constructor(options: OutgoingOptions, sink: Sink) {
    this.options = options
    this.sink = sink
  }

  /** A message in its envelope. A response that can't be encoded throws: a defect of the program. */
  encode(message: unknown): Effect.Effect<Uint8Array, RpcError> {
    const { desc, codec, encoding, minBytes, maxBytes, what } = this.options
    let plain: Uint8Array
    try {
      plain = codec.encode(desc, message)
    } catch (cause) {
      if (what === "answer") throw cause
      return Effect.fail(unsendable(desc, cause))
    }
    const { length } = plain
    if (length > maxBytes) {
      const text = `${what === "answer" ? "an answer" : "a request"} of ${length} bytes is over the limit of ${maxBytes}`
      return Effect.fail(new RpcError({ code: "resource_exhausted", message: text }))
    }
    return encoding === undefined || length < minBytes
      ? Effect.succeed(envelop(plain, false))
      : Effect.map(encoding.compress(plain), (bytes) => envelop(bytes, true))
  }

  /** Sends messages, and waits where the peer is slow to take them, or others have waited long enough for their turn. */
  emit(messages: ReadonlyArray<unknown>, from = 0): Effect.Effect<void, RpcError> {
    for (let at = from; at < messages.length; ) {
      const to = Math.min(at + this.fitting, messages.length)
      const batch = to - at > 1 || this.long ? this.encodeBatch(messages.slice(at, to)) : undefined
      const behind = batch === undefined ? at + 1 : to
      const bytes = batch ?? encodedOf(this.encode(messages[at]))
      if (!(bytes instanceof Uint8Array)) {
        return Effect.flatMap(bytes, (encoded) =>
          this.sink.send(encoded) ? this.emit(messages, behind) : this.wait(messages, behind),
        )
      }
      this.adapt(behind - at, bytes.length)
      if (!this.sink.send(bytes)) return this.wait(messages, behind)
      at = behind
    }
    return this.rest
  }

  /** What waited is on its way. */
  drained(): void {
    const { resume } = this
    this.resume = undefined
    resume?.()
  }

  /** Goes on with the messages from `from` on when what was sent before is on its way. */
  private wait(messages: ReadonlyArray<unknown>, from: number): Effect.Effect<void, RpcError> {
    const drained = Effect.callback<void>((resume) => {
      this.resume = () => resume(Effect.void)
    })
    // Not a turn of others by itself: Deno says that a socket is writable again before it looks after any other.
    return Effect.flatMap(drained, () => Effect.flatMapEager(this.rest, () => this.emit(messages, from)))
  }

  /** The turn of others, where they have waited long enough for it. */
  private get rest(): Effect.Effect<void> {
    const now = performance.now()
    if (now - this.turn < longestTurn) return Effect.void
    this.turn = now
    return othersTurn
  }

  /** How many are encoded now: what can't be sent is held for as long as the peer likes. */
  private get fitting(): number {
    const { room = largestBatch } = this.sink
    if (room >= largestBatch) return this.atOnce
    return Math.max(1, Math.min(this.atOnce, Math.floor(room / this.length)))
  }

  /** Takes as many at once as make a few frames, by those before them: what is encoded and can't be sent yet is held. */
  private adapt(count: number, bytes: number): void {
    this.length = bytes / count
    const fitting = Math.floor((largestBatch * count) / bytes)
    this.long = fitting < longFrom
    this.atOnce = Math.max(1, Math.min(fitting, 2 * this.atOnce, mostAtOnce))
  }

  /** Messages in their envelopes; `undefined` where they have to be encoded one by one, to be compressed or refused. */
  private encodeBatch(messages: ReadonlyArray<unknown>): Uint8Array | undefined {
    const { desc, codec, encoding, minBytes, maxBytes } = this.options
    try {
      return codec.batch?.encode(desc, messages, encoding === undefined ? maxBytes : Math.min(maxBytes, minBytes - 1))
    } catch {
      this.atOnce = 1
      return undefined
    }
  }
}

/** The bytes that are ready already, or the effect that gives them. */
const encodedOf = (one: Effect.Effect<Uint8Array, RpcError>): Uint8Array | Effect.Effect<Uint8Array, RpcError> => {
  const exit = exitOf(one)
  return exit !== undefined && Exit.isSuccess(exit) ? exit.value : one
}

const envelop = (message: Uint8Array, compressed: boolean): Uint8Array => {
  const bytes = new Uint8Array(envelopeLength + message.length)
  bytes.set(message, writeEnvelope(bytes, 0, message.length, compressed))
  return bytes
}
