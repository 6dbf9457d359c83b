/**
 * What comes in on a call, requests at a server and answers at a client: the bytes of a body become messages, and wait
 * until they are taken.
 */
import type { DescMessage } from "@bufbuild/protobuf"
import { Cause, Effect, type Pull, Stream } from "effect"
import type { Encoding } from "../../core/rpc/compression.ts"
import { RpcError } from "../../core/rpc/error.ts"
import { mapReady } from "../../core/rpc/ready.ts"
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
  /** So many bytes have been taken in: the window may open again. */
  readonly taken: (length: number) => void
}

type Messages = readonly [unknown, ...Array<unknown>]
type Next = Pull.Pull<Messages, RpcError>

const isFilled = (messages: ReadonlyArray<unknown>): messages is Messages => messages.length > 0

/**
 * A queue without a bound of its own: the flow-control windows bound it, since bytes count as taken only when what came of them
 * was pulled. All that arrived since the last pull is one array.
 */
export class Incoming implements MessageSink {
  private readonly options: IncomingOptions
  private readonly source: Source
  private readonly reader: EnvelopeReader
  private untaken = 0
  private arrived: Array<unknown> = []
  private ended: Next | undefined
  private resume: ((next: Next) => void) | undefined

  constructor(options: IncomingOptions, source: Source) {
    this.options = options
    this.source = source
    this.reader = new EnvelopeReader(options.maxBytes, this)
  }

  // ---- The body

  /** Reads a piece of the body. Throws an `RpcError` for what is no message of the method. */
  read(bytes: Uint8Array, start: number, end: number): void {
    this.untaken += end - start
    this.reader.read(bytes, start, end)
    if (this.options.streaming) this.flush()
    // A message that isn't whole yet must not wait for a window that only its rest would open.
    if (!this.options.streaming || this.arrived.length === 0) this.take()
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

  messages(bytes: Uint8Array, start: number, end: number, count: number): void {
    const { encoding, streaming } = this.options
    if (streaming && encoding === undefined && count > 1) {
      const all = this.decodeBatch(bytes.subarray(start, end))
      if (all !== undefined) {
        for (const message of all) this.arrived.push(message)
        return
      }
    }
    for (let at = start; at < end; ) {
      const from = at
      at += envelopeLength + readLength(bytes, at)
      // The bytes are the socket's: what isn't decoded now is copied.
      this.push(encoding === undefined ? this.decode(bytes.subarray(from + envelopeLength, at)) : bytes.slice(from, at))
    }
  }

  compressed(bytes: Uint8Array, start: number, end: number): void {
    if (this.options.encoding === undefined) {
      throw new RpcError({ code: "internal", message: "protocol error: a message is compressed, with nothing named" })
    }
    this.push(bytes.slice(start - envelopeLength, end))
  }

  private push(message: unknown): void {
    if (!this.options.streaming && this.arrived.length > 0) {
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
    return Effect.flatMap(envelope[0] === 0 ? Effect.succeed(bytes) : encoding.decompress(bytes, maxBytes), (plain) =>
      Effect.try({ try: () => this.decode(plain), catch: (error) => error as RpcError }),
    )
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
    const arrived = Stream.fromPull(
      Effect.succeed(
        Effect.suspend(
          () =>
            this.next() ??
            Effect.callback<Messages, RpcError | Cause.Done>((resume) => {
              this.resume = resume
              return Effect.sync(() => {
                this.resume = undefined
              })
            }),
        ),
      ),
    )
    return this.options.encoding === undefined ? arrived : mapReady(this.open)(arrived)
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
    const { arrived } = this
    if (!isFilled(arrived)) return this.ended
    this.arrived = []
    this.take()
    return Effect.succeed(arrived)
  }

  private take(): void {
    const { untaken } = this
    this.untaken = 0
    if (untaken > 0) this.source.taken(untaken)
  }
}
