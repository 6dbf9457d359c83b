/**
 * What comes in on a call, requests at a server and answers at a client: the bytes of a body become messages, and wait
 * until they are taken.
 */
import type { DescMessage } from "@bufbuild/protobuf"
import { Cause, Effect, type Pull, Stream } from "effect"
import type { Encoding } from "../../core/rpc/compression.ts"
import { RpcError } from "../../core/rpc/error.ts"
import { mapReady } from "../../core/rpc/ready.ts"
import { longestTurn, othersTurn } from "../othersTurn.ts"
import { Backlog } from "./backlog.ts"
import type { Codec } from "./codec.ts"
import { EnvelopeReader, envelopeLength, type MessageSink, readLength } from "./envelope.ts"

export interface IncomingOptions {
  readonly desc: DescMessage
  readonly codec: Codec
  /** What messages may be compressed with; `undefined` for not at all. */
  readonly encoding: Encoding | undefined
  /** How long a message may be, before and after it is decompressed. */
  readonly maxBytes: number
  /** True where a stream may come, false for one message. */
  readonly streaming: boolean
  readonly what: "request" | "answer"
}

/** Where the body comes from. */
export interface Source {
  /**
   * So many bytes have been taken in: the window may open again. And so many are no longer held, be it since then or from
   * before: a part of a message is taken in and held until the message is taken. Fewer than none where more are held now,
   * since a message was decompressed.
   */
  readonly taken: (length: number, released: number) => void
}

/** The error of a call whose messages, or parts of them, a budget of memory has no room for. */
export const noMemory = (budget: string, limit: number): RpcError =>
  new RpcError({
    code: "resource_exhausted",
    message: `the memory of the ${budget} is used up, ${limit} bytes: take what was sent, or try again later`,
  })

type Messages = readonly [unknown, ...Array<unknown>]
type Next = Pull.Pull<Messages, RpcError>

const isFilled = (messages: ReadonlyArray<unknown>): messages is Messages => messages.length > 0

// So many messages are decoded at once at most, and of so many bytes together, if it is more than one.
const mostAtOnce = 256
const largestBatch = 64 * 1024

/** Where those messages of bytes[start, end) end that are decoded at once. */
const batchEnd = (bytes: Uint8Array, start: number, end: number): number => {
  let at = start
  for (let count = 0; count < mostAtOnce && at < end; count++) {
    const next = at + envelopeLength + readLength(bytes, at)
    if (next - start > largestBatch && at > start) break
    at = next
  }
  return at
}

/**
 * A queue without a bound of its own: the flow-control windows bound it, since bytes count as taken only when what came of them
 * was pulled. Messages of a stream wait as bytes, for they take many times as much room once they are decoded, and are decoded
 * some at a time as they are pulled, so that others have their turn.
 */
export class Incoming implements MessageSink {
  private readonly options: IncomingOptions
  private readonly source: Source
  private readonly reader: EnvelopeReader
  private untaken = 0
  // Bytes that were taken in and are held.
  private held = 0
  // What has been decoded already: a message that comes alone, or those that somebody waited for, and their bytes.
  private arrived: Array<unknown> = []
  private arrivedBytes = 0
  private readonly backlog = new Backlog()
  private ended: Next | undefined
  private resume: ((next: Next) => void) | undefined
  // Since when messages have been pulled without a wait for one.
  private turn = 0

  constructor(options: IncomingOptions, source: Source) {
    this.options = options
    this.source = source
    this.reader = new EnvelopeReader(options.maxBytes, this)
  }

  // ---- The body

  /** Reads a piece of the body. Throws an `RpcError` for what is no message of the method. */
  read(bytes: Uint8Array, start: number, end: number): void {
    this.untaken += end - start
    if (this.ended !== undefined) return this.take(this.untaken)
    this.reader.read(bytes, start, end)
    if (this.options.streaming) this.flush()
    // A message that isn't whole yet must not wait for a window that only its rest would open.
    if (!this.options.streaming || !this.waiting) this.take(this.untaken)
  }

  /** True while there are whole messages that nobody has pulled. */
  private get waiting(): boolean {
    return this.arrived.length > 0 || this.backlog.length > 0
  }

  /** Says that the body has ended. Throws an `RpcError` if it may not end here. */
  end(): void {
    const { what } = this.options
    if (!this.reader.complete) {
      // Whose fault it is: a server tells its client, a client finds it out of its server.
      const code = what === "request" ? "invalid_argument" : "internal"
      throw new RpcError({ code, message: `the ${what} ends within a message` })
    }
    if (this.options.streaming) {
      this.ended ??= Cause.done()
      this.flush()
    } else if (this.arrived.length === 0) {
      throw new RpcError({ code: "unimplemented", message: `missing message: the ${what} has none` })
    }
  }

  /** Says that no more will come, and why. What has arrived is taken before that. */
  fail(error: RpcError): void {
    this.ended ??= Effect.fail(error)
    this.flush()
  }

  messages(bytes: Uint8Array, start: number, end: number): void {
    const { encoding, streaming } = this.options
    // By what is wrong with a message before them.
    if (this.ended !== undefined) return
    if (streaming) {
      let at = start
      if (encoding === undefined && this.resume !== undefined && !this.waiting) {
        at = batchEnd(bytes, start, end)
        this.arrived = this.decodeAll(bytes.subarray(start, at))
        this.arrivedBytes = at - start
      }
      if (at < end && this.ended === undefined) this.backlog.add(bytes, at, end)
      return
    }
    for (let at = start; at < end; ) {
      const from = at
      at += envelopeLength + readLength(bytes, at)
      // The bytes are the socket's: what isn't decoded now is copied.
      this.push(encoding === undefined ? this.decode(bytes.subarray(from + envelopeLength, at)) : bytes.slice(from, at))
    }
  }

  compressed(bytes: Uint8Array, start: number, end: number): void {
    if (this.ended !== undefined) return
    if (this.options.encoding === undefined) {
      throw new RpcError({ code: "internal", message: "protocol error: a message is compressed, with nothing named" })
    }
    if (this.options.streaming) this.backlog.add(bytes, start - envelopeLength, end)
    else this.push(bytes.slice(start - envelopeLength, end))
  }

  private push(message: unknown): void {
    if (this.arrived.length > 0) {
      throw new RpcError({
        code: "unimplemented",
        message: `received extra message: the method has one ${this.options.what}`,
      })
    }
    this.arrived.push(message)
  }

  private decode(bytes: Uint8Array): unknown {
    const { codec, desc, what } = this.options
    try {
      return codec.decode(desc, bytes)
    } catch (cause) {
      // What is over a limit says so itself.
      if (cause instanceof RpcError) throw cause
      throw new RpcError({ code: "internal", message: `the ${what} is no ${desc.typeName}`, cause })
    }
  }

  /**
   * The message that waits. Where it may be compressed it does so in its envelope, as it came, and is decompressed when it
   * is pulled: there may be as many as the window has room for, each of a byte or two.
   */
  private readonly open = (waiting: unknown): Effect.Effect<unknown, RpcError> => {
    const { encoding, maxBytes } = this.options
    if (encoding === undefined) return Effect.succeed(waiting)
    // What `messages` and `compressed` have put there.
    const envelope = waiting as Uint8Array
    const bytes = envelope.subarray(envelopeLength)
    return Effect.flatMap(envelope[0] === 0 ? Effect.succeed(bytes) : encoding.decompress(bytes, maxBytes), (plain) => {
      this.hold(plain.length - bytes.length)
      return Effect.try({ try: () => this.decode(plain), catch: (error) => error as RpcError })
    })
  }

  /** Has the one message of a method counted as what it is once it is decompressed, which is there until its call ends. */
  private hold(more: number): void {
    if (this.options.streaming || more <= 0) return
    this.held += more
    this.source.taken(0, -more)
  }

  /** The messages of whole envelopes up to one that is at fault, which ends the stream behind them. */
  private decodeAll(envelopes: Uint8Array): Array<unknown> {
    const first = envelopeLength + readLength(envelopes, 0)
    const all = first < envelopes.length ? this.decodeBatch(envelopes) : undefined
    if (all !== undefined) return [...all]
    const messages: Array<unknown> = []
    for (let at = 0; at < envelopes.length; ) {
      const from = at + envelopeLength
      at = from + readLength(envelopes, at)
      try {
        messages.push(this.decode(envelopes.subarray(from, at)))
      } catch (error) {
        this.broken(error)
        break
      }
    }
    return messages
  }

  /** Ends the stream with what is wrong with it: nothing of it is read any more. */
  private broken(error: unknown): void {
    if (!(error instanceof RpcError)) throw error
    this.ended = Effect.fail(error)
    this.backlog.clear()
    this.take(this.untaken)
  }

  /** The messages of whole envelopes; `undefined` where only one by one can tell those at fault from the others. */
  private decodeBatch(envelopes: Uint8Array): ReadonlyArray<unknown> | undefined {
    const { codec, desc } = this.options
    try {
      return codec.batch?.decode(desc, envelopes)
    } catch {
      return undefined
    }
  }

  // ---- Who takes them

  /** The message of a method that has one here, once the body has ended. */
  get one(): Effect.Effect<unknown, RpcError> {
    return this.open(this.arrived[0])
  }

  /** The messages of a method that has a stream here. */
  get stream(): Stream.Stream<unknown, RpcError> {
    const arrived = Stream.fromPull(Effect.succeed(this.pull))
    return this.options.encoding === undefined ? arrived : mapReady(this.open)(arrived)
  }

  private readonly pull: Next = Effect.suspend(() => this.next() ?? this.wait)

  private get wait(): Next {
    this.turn = 0
    return Effect.callback<Messages, RpcError | Cause.Done>((resume) => {
      this.resume = resume
      return Effect.sync(() => {
        this.resume = undefined
      })
    })
  }

  /** Hands what has arrived to who waits for it. */
  private flush(): void {
    const { resume } = this
    if (resume === undefined) return
    const next = this.next()
    if (next === undefined) return
    this.resume = undefined
    resume(next)
  }

  private next(): Next | undefined {
    if (this.backlog.length > 0 && this.turnIsOver()) return Effect.flatMap(othersTurn, () => this.pull)
    if (this.arrived.length === 0 && this.backlog.length > 0) this.fetch()
    const { arrived } = this
    if (!isFilled(arrived)) return this.ended
    this.arrived = []
    // With the last whole message the beginning of the next is taken, whose rest has to come.
    this.take(this.backlog.length > 0 ? this.arrivedBytes : this.untaken)
    return Effect.succeed(arrived)
  }

  private turnIsOver(): boolean {
    const now = performance.now()
    if (this.turn === 0) this.turn = now
    if (now - this.turn < longestTurn) return false
    this.turn = now
    return true
  }

  /** Takes some messages out of the backlog: decoded, or in their envelopes where they may be compressed. */
  private fetch(): void {
    const { waiting } = this.backlog
    const bytes = this.backlog.take(batchEnd(waiting, 0, waiting.length))
    this.arrivedBytes = bytes.length
    if (this.options.encoding === undefined) {
      this.arrived = this.decodeAll(bytes)
      return
    }
    for (let at = 0; at < bytes.length; ) {
      const from = at
      at += envelopeLength + readLength(bytes, at)
      this.arrived.push(bytes.subarray(from, at))
    }
  }

  private take(length: number): void {
    const { held } = this
    this.untaken -= length
    // The one message of a method is there until its call ends; of a stream, what isn't whole yet.
    const kept = this.options.streaming ? Math.max(0, this.reader.gathered - this.untaken) : held + length
    if (length === 0 && kept === held) return
    this.held = kept
    this.source.taken(length, held + length - kept)
  }
}
