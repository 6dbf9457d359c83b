/**
 * A connection: HTTP/2 as bytes in, events and bytes out, in either role. It does no I/O and knows no runtime.
 *
 * Whoever has the socket gives it what arrives (`receive`) and sends what it has to say (`take`). Its user gets events,
 * and answers through the methods below, during an event or at any time later. What a peer does wrong to a stream
 * resets that stream; what it does wrong to the connection ends it with a GOAWAY that says why.
 *
 * Source: RFC 9113.
 */
import { Budgets } from "./budgets.ts"
import type { Events } from "./events.ts"
import {
  ConnectionError,
  type ErrorCode,
  errorCode,
  flag,
  frameType,
  maxInt31,
  readUint31,
  readUint32,
} from "./frames.ts"
import { greeting } from "./greeting.ts"
import { essentialFields, isMeasured, Malformed, parseRequestHead, parseResponseHead, parseTrailers } from "./head.ts"
import { HeaderBlock, priorityLength } from "./headerBlock.ts"
import type { Field } from "./hpack.ts"
import { Decoder } from "./hpackDecoder.ts"
import { defaultLimits, firstStreamWindow, type Limits } from "./limits.ts"
import { MemoryBudget } from "./memory.ts"
import { FrameReader, type FrameSink } from "./reader.ts"
import { Sender } from "./sender.ts"
import {
  defaultSettings,
  isSettingsLength,
  readSettings,
  type Settings,
  settingsAck,
  smallestHeaderTableSize,
} from "./settings.ts"
import { type Event, event, illegal, next, state } from "./states.ts"
import { Stream } from "./stream.ts"
import { StreamIds } from "./streamIds.ts"
import { ReceiveWindow } from "./windows.ts"

export interface ConnectionOptions {
  readonly role: "server" | "client"
  /** Default: `defaultLimits`. */
  readonly limits?: Limits
  /** What bytes are taken from that are held for the peer. Default: a budget of 64 MiB of its own. */
  readonly memory?: MemoryBudget
  /** A clock in milliseconds for the limits that are per second. Default: `performance.now`. */
  readonly now?: () => number
}

const noTrailers: ReadonlyArray<Field> = Object.freeze([])
const pingLength = 8
// What our PINGs carry, so that the answer to the one of `drain` is told from those to others.
const drainPayload = new Uint8Array(pingLength)
const pingPayload = new Uint8Array(pingLength).fill(1)

// What a client may presume of a server that hasn't said yet how many streams it takes: more might be refused. It is the
// least that RFC 9113, section 6.5.2, recommends to servers.
const presumed = { maxConcurrentStreams: 100 }

// What nghttp2 takes, and so Node's clients and curl: they don't say so.
const largestHeaderList = 65_536

// A stream that has had a place among `maxConcurrentStreams` for so many milliseconds is bounded by that limit, whatever
// comes of it: at most so many can be reset in any time.
const briefMillis = 50

const isInformational = (fields: ReadonlyArray<Field>): boolean => fields[0]?.value.charCodeAt(0) === 0x31
const defaultMemory = 64 * 1024 * 1024

// What a stream costs that holds little or nothing: ours, its program's fiber, the call's objects.
const streamMemory = 8192
// A header list of this size is a part of that.
const shortHead = 2048

// Half a window in this time is a stream that more bytes are on the way for than the window lets through.
const longRoundTrip = 250

const monotonic = () => performance.now()

export class Connection<T> implements FrameSink {
  private readonly server: boolean
  private readonly events: Events<T>
  private readonly now: () => number
  private readonly limits: Limits
  private readonly memory: MemoryBudget
  private readonly budgets: Budgets
  private readonly reader: FrameReader
  private readonly block: HeaderBlock
  private readonly decoder: Decoder
  private readonly sender: Sender<T>
  private readonly whenEnded = (stream: Stream<T>): void => this.localEnded(stream)
  private readonly ids: StreamIds
  private readonly streams = new Map<number, Stream<T>>()
  private readonly receiveWindow: ReceiveWindow
  private remote: Settings
  private settingsReceived = false
  // The stream of the DATA frame that is being read; undefined if nobody wants it.
  private dataStream: Stream<T> | undefined
  private receiving = false
  // When the chunk came that is being read; undefined until somebody asks.
  private receivedAt: number | undefined
  // How often output was taken.
  private outputs = 0
  private outputAnnounced = false
  private firstSendBy = Number.POSITIVE_INFINITY
  private draining = false
  // The peer has been told, or has told us, which stream is the last.
  private parted = false
  private ended = false

  constructor(events: Events<T>, { role, limits = defaultLimits, memory, now = monotonic }: ConnectionOptions) {
    this.server = role === "server"
    this.events = events
    this.now = now
    // To a server the peer may push nothing whatever it says, so it is no news that it may not (section 6.5.2).
    this.remote = this.server ? defaultSettings : { ...defaultSettings, enablePush: false }
    this.limits = limits
    this.memory = memory ?? new MemoryBudget("connection", defaultMemory)
    this.budgets = new Budgets(role, limits, now)
    this.ids = new StreamIds(role)
    this.sender = new Sender(limits.maxOutput, (stream) => {
      this.charge(stream)
      this.events.drained(stream)
    })
    this.receiveWindow = new ReceiveWindow(limits.connectionWindow)
    this.decoder = new Decoder({ maxListSize: limits.maxHeaderListSize, essential: essentialFields })
    this.block = new HeaderBlock(limits, this.decoder)
    this.reader = new FrameReader(this, defaultSettings.maxFrameSize, this.server ? "client" : "server")
    this.sender.out.append(greeting(role, limits))
  }

  /** True once the connection is over: nothing more is read, and what output there is is the last. */
  get over(): boolean {
    return this.ended
  }

  /** True once nothing more will happen: it is over, or both ends know which stream was the last, and none is open. */
  get done(): boolean {
    return this.ended || (this.parted && this.streams.size === 0)
  }

  /** True once the peer's preface has come, its first settings included. */
  get begun(): boolean {
    return this.settingsReceived
  }

  /** How many streams are open. */
  get openStreams(): number {
    return this.streams.size
  }

  /** At a client: true if the peer takes no further stream before one of those that are open has ended. */
  get full(): boolean {
    return this.streams.size >= (this.settingsReceived ? this.remote : presumed).maxConcurrentStreams
  }

  /** True once this end can open no stream any more, since there is no identifier left for one. */
  get exhausted(): boolean {
    return this.ids.exhausted
  }

  /**
   * How large a header list the peer takes, as `sizeOfAll` counts (section 6.5.2). One that gets more may well end the
   * connection, and with it all other streams: who makes up lists of any size has to look.
   */
  get maxHeaderListSize(): number {
    return Math.min(this.remote.maxHeaderListSize, largestHeaderList)
  }

  /** What has begun to arrive and isn't whole: another number for each frame and header block; 0 for nothing. */
  get half(): number {
    return this.block.open ? -this.block.count : this.reader.half
  }

  /** The streams that are open now. */
  all(): ReadonlyArray<Stream<T>> {
    return [...this.streams.values()]
  }

  /** True while something waits to be sent on any stream. */
  get sending(): boolean {
    return !this.sender.idle
  }

  /** When something that waits has to be gone, at the earliest, by the connection's clock. */
  get sendsBy(): number {
    return this.firstSendBy
  }

  /** True while the peer leaves more of our output lying than we want to hold: read no more from it. */
  get congested(): boolean {
    return this.sender.out.length > this.limits.maxOutput * 2
  }

  // ---- What the socket does

  /** Takes in what the socket has read. */
  receive(chunk: Uint8Array): void {
    if (this.ended) return
    this.receiving = true
    this.receivedAt = undefined
    try {
      // Never a `Buffer`: where a copy is meant, its `slice` gives a view, and keeps all of the socket's chunk.
      this.reader.read(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length))
    } catch (error) {
      if (error instanceof ConnectionError) this.fail(error)
      else throw error
    } finally {
      this.receiving = false
    }
  }

  /** The bytes to send now; empty if there are none. Whoever takes them asks again until it is. */
  take(): Uint8Array {
    this.outputAnnounced = false
    this.outputs += 1
    this.sender.pump()
    return this.sender.out.take()
  }

  /** Says whether the socket takes more. While it doesn't, data waits with its stream. */
  setWritable(writable: boolean): void {
    this.sender.writable = writable
  }

  /** Ends all streams: the socket is gone, or is going to be. */
  abandon(code: ErrorCode = errorCode.cancel): void {
    this.ended = true
    for (const stream of this.all()) {
      this.close(stream)
      this.events.reset(stream, code)
    }
  }

  // ---- What the user does

  /** Begins a stream, as a client. `undefined` if the peer takes no more of them now, or reads too little. */
  open(fields: ReadonlyArray<Field>, context: T): Stream<T> | undefined {
    if (this.ended || this.draining || this.full || this.ids.exhausted || this.congested) return undefined
    const stream = this.createStream(this.ids.open())
    stream.context = context
    stream.measured = isMeasured(fields)
    this.sendHeaders(stream, fields, false)
    return stream
  }

  /** Sends a head. Nothing happens on a stream that is closed, here and below: who writes may not know yet. */
  sendHeaders(stream: Stream<T>, fields: ReadonlyArray<Field>, endStream: boolean): void {
    if (!this.step(stream, event.sendHeaders)) return
    if (this.server && stream.respondedAt < 0 && !isInformational(fields)) stream.respondedAt = this.outputs
    this.sender.headers(stream.id, fields, endStream)
    if (endStream) this.localEnded(stream)
    this.wrote()
  }

  /**
   * Sends a part of the body; the bytes are the connection's from now on. False if some of it waits: then `drained`
   * comes when more is welcome.
   */
  sendData(stream: Stream<T>, bytes: Uint8Array): boolean {
    if (!stream.sends) return true
    // Whoever is sent data may well have windows to open for it.
    this.budgets.useful(bytes.length)
    this.sender.data(stream, bytes)
    this.wrote()
    if (stream.pending.length === 0) return true
    this.settle(stream)
    // Nobody waits for what is over.
    return stream.closed
  }

  /** How many bytes of a stream's body could be sent now, where none waits. */
  room(stream: Stream<T>): number {
    return this.sender.room(stream)
  }

  /** Sends the last part of the body, and ends our side of the stream with it. */
  sendLast(stream: Stream<T>, bytes: Uint8Array): void {
    if (!stream.sends) return
    this.budgets.useful(bytes.length)
    this.sender.last(stream, bytes, this.whenEnded)
    this.wrote()
  }

  /** Ends our side of a stream, after all that waits, with trailers or without. */
  sendEnd(stream: Stream<T>, trailers?: ReadonlyArray<Field>): void {
    if (!stream.sends) return
    this.sender.end(stream, trailers, this.whenEnded)
    this.wrote()
  }

  /** Cuts a stream short. */
  reset(stream: Stream<T>, code: ErrorCode): void {
    if (stream.closed) return
    this.sender.rstStream(stream.id, code)
    this.ids.remember(stream.id)
    this.close(stream)
    this.wrote()
  }

  /**
   * Says that bytes of a stream's body were taken in, so that the peer may send as many more; and how many are no longer
   * held, which are others where parts of messages wait for the rest.
   */
  taken(stream: Stream<T>, length: number, released = length): void {
    if (stream.closed) return
    stream.untaken -= length
    stream.held -= released
    this.openStream(stream, length)
    this.settle(stream)
    this.wrote()
  }

  /** Gives what waits to be sent on a stream until then, by the connection's clock: what is left is dropped (`endOverdue`). */
  sendBy(stream: Stream<T>, at: number): void {
    if (stream.closed) return
    stream.sendBy = at
    this.firstSendBy = Math.min(this.firstSendBy, at)
  }

  /** Cuts the streams short whose data should be gone, or waits since so many milliseconds while none of it went. */
  endOverdue(now: number, timeout: number): void {
    this.firstSendBy = Number.POSITIVE_INFINITY
    for (const stream of [...this.sender.stalled]) {
      if (stream.progressed) {
        stream.progressed = false
        stream.stalledAt = now
      }
      if (now < stream.sendBy && now < stream.stalledAt + timeout) {
        this.firstSendBy = Math.min(this.firstSendBy, stream.sendBy)
        continue
      }
      this.reset(stream, errorCode.cancel)
      this.events.reset(stream, errorCode.cancel)
    }
  }

  /** Asks the peer to answer; `pong` says that it did. */
  ping(): void {
    this.sender.ping(pingPayload, false)
    this.wrote()
  }

  /**
   * Lets the peer open no more streams: tells it so first, and then, when it must have heard that, which was the last one
   * taken (section 6.8). Until then one that was under way is taken too.
   */
  drain(): void {
    if (this.draining) return
    this.draining = true
    this.sender.goaway(maxInt31, errorCode.noError)
    this.sender.ping(drainPayload, false)
    this.wrote()
  }

  /** Ends the connection for what the peer does or doesn't. */
  end(error: ConnectionError): void {
    this.fail(error)
    this.wrote()
  }

  /** Takes no more streams, and tells the peer which was the last: where `drain` ends, also for who doesn't answer it. */
  part(): void {
    if (this.parted || this.ended) return
    this.parted = true
    this.sender.goaway(this.ids.lastOfPeer, errorCode.noError)
    this.wrote()
  }

  // ---- Frames in, from the reader and for it alone

  frame(type: number, flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    // By its user, in an event of an earlier frame of the same chunk.
    if (this.ended) return
    if (!this.settingsReceived && (type !== frameType.settings || (flags & flag.ack) !== 0)) {
      throw new ConnectionError(errorCode.protocolError, "the first frame is not SETTINGS")
    }
    if (this.block.open && (type !== frameType.continuation || streamId !== this.block.streamId)) {
      throw new ConnectionError(errorCode.protocolError, "a header block is interrupted")
    }
    switch (type) {
      case frameType.headers:
        return this.onBlock(this.block.begin(flags, streamId, bytes, start, end))
      case frameType.continuation:
        return this.onBlock(this.block.goOn(flags, bytes, start, end))
      case frameType.priority:
        return this.onPriority(streamId, bytes, start, end)
      case frameType.rstStream:
        return this.onRstStream(streamId, bytes, start, end)
      case frameType.settings:
        return this.onSettings(flags, streamId, bytes, start, end)
      case frameType.pushPromise:
        throw new ConnectionError(errorCode.protocolError, "nothing may be pushed here")
      case frameType.ping:
        return this.onPing(flags, streamId, bytes, start, end)
      case frameType.goaway:
        return this.onGoaway(streamId, bytes, start, end)
      case frameType.windowUpdate:
        return this.onWindowUpdate(streamId, bytes, start, end)
      default:
        // Types that we don't know are for those who do (section 4.1).
        return this.budgets.idleFrame()
    }
  }

  dataBegin(streamId: number, length: number, padding: number): void {
    if (this.ended) return
    if (!this.settingsReceived) throw new ConnectionError(errorCode.protocolError, "the first frame is not SETTINGS")
    if (this.block.open) throw new ConnectionError(errorCode.protocolError, "a header block is interrupted")
    this.openConnection(length)
    if (length === padding) this.budgets.idleFrame()
    const stream = this.known(streamId, "DATA")
    this.dataStream = stream
    if (stream === undefined) return
    if (next(stream.state, event.receiveEnd) === illegal) return this.refuse(stream, errorCode.streamClosed)
    if (!stream.headed) return this.refuse(stream, errorCode.protocolError)
    if (!stream.receive.receive(length)) return this.refuse(stream, errorCode.flowControlError)
    if (length > padding) this.budgets.useful(length)
    stream.untaken += length - padding
    stream.held += length - padding
    stream.count(length - padding)
    if (padding > 0) this.openStream(stream, padding)
    // Where there is no memory for it, it is closed now, or is going to be: what came is dropped.
    if (!this.settle(stream)) this.dataStream = undefined
  }

  // Data that nobody will take in.
  private refuse(stream: Stream<T>, code: ErrorCode): void {
    this.dataStream = undefined
    this.fault(stream, code)
  }

  dataPiece(bytes: Uint8Array, start: number, end: number): void {
    const stream = this.dataStream
    if (stream !== undefined && !stream.closed) this.events.data(stream, bytes, start, end)
  }

  dataEnd(endStream: boolean): void {
    const stream = this.dataStream
    this.dataStream = undefined
    if (stream === undefined || stream.closed) return
    if (endStream || stream.tooLong) this.remoteEnded(stream, noTrailers)
  }

  /** Takes the bytes that the header block is in, once it is whole. */
  private onBlock(bytes: Uint8Array | undefined): void {
    if (bytes === undefined) return
    const { streamId, endStream, dependsOnItself, start, end, skimmed, size } = this.block
    // Every block is decoded, also those that nobody wants: the tables of both ends must stay in step (section 4.3).
    const fields = skimmed ? this.decoder.endSkim() : this.decoder.decode(bytes, start, end)
    if (fields === undefined) this.budgets.dropHeaders(size)
    const stream = this.streamOfHeaders(streamId)
    if (stream === undefined) return
    if (dependsOnItself) return this.fault(stream, errorCode.protocolError)
    if (next(stream.state, event.receiveHeaders) === illegal) return this.fault(stream, errorCode.streamClosed)
    this.step(stream, event.receiveHeaders)
    if (fields !== undefined && this.decoder.listSize > shortHead) {
      // A kilobyte of indexes may come to a list of 64 KiB, which is there for as long as its call.
      stream.headSize += this.decoder.listSize
      if (!this.settle(stream)) return this.budgets.reset()
    }
    if (stream.headed) this.trailers(stream, fields, endStream)
    else this.head(stream, fields, endStream)
  }

  private head(stream: Stream<T>, fields: ReadonlyArray<Field> | undefined, endStream: boolean): void {
    const head = fields && (this.server ? parseRequestHead(fields) : parseResponseHead(fields))
    if (head instanceof Malformed) return this.fault(stream, errorCode.protocolError)
    if (head === undefined) stream.headed = true
    else {
      const status = "status" in head ? head.status : undefined
      stream.headed = status === undefined || status >= 200
      // One says that the answer is still to come, and a thousand say no more.
      if (stream.headed) this.budgets.useful()
      else this.budgets.idleFrame()
      // With status 304 it is the length that the body would have had.
      if (stream.measured && status !== 304) stream.expected = head.contentLength
      if (endStream && (!stream.headed || stream.wrongLength)) return this.fault(stream, errorCode.protocolError)
    }
    // Before the event, so that who answers at once finds the request ended, and the stream closes in order.
    if (endStream && this.server) this.step(stream, event.receiveEnd)
    if (head === undefined) this.events.headTooLong(stream, this.decoder.essentials)
    else this.events.head(stream, head)
    // Not to who has answered, or cut it short, meanwhile.
    if (endStream && !stream.closed) this.remoteEnded(stream, noTrailers)
  }

  private trailers(stream: Stream<T>, fields: ReadonlyArray<Field> | undefined, endStream: boolean): void {
    if (!endStream) return this.fault(stream, errorCode.protocolError)
    if (fields === undefined) return this.trailersTooLong(stream)
    const trailers = parseTrailers(fields)
    if (trailers instanceof Malformed) return this.fault(stream, errorCode.protocolError)
    this.budgets.useful()
    this.remoteEnded(stream, trailers)
  }

  private trailersTooLong(stream: Stream<T>): void {
    // No client sends any that matter: who sends so many wants something else.
    if (this.server) return this.fault(stream, errorCode.enhanceYourCalm)
    this.step(stream, event.receiveEnd)
    this.reset(stream, errorCode.cancel)
    this.events.trailersTooLong(stream, this.decoder.essentials)
  }

  /** The stream that a header block is for, a new one if it begins one; `undefined` if nobody wants it. */
  private streamOfHeaders(streamId: number): Stream<T> | undefined {
    if (!this.ids.isNew(streamId)) return this.known(streamId, "HEADERS")
    if (!this.server) throw new ConnectionError(errorCode.protocolError, "a server opens no streams")
    this.ids.lastOfPeer = streamId
    // A peer that waits for no answers could have any number of them made of what the socket has read at once.
    if (this.parted || this.congested || this.streams.size >= this.limits.maxConcurrentStreams) {
      this.budgets.reset()
      this.sender.rstStream(streamId, errorCode.refusedStream)
      this.ids.remember(streamId)
      return undefined
    }
    const stream = this.createStream(streamId)
    if (this.charge(stream) === undefined) return stream
    this.budgets.reset()
    this.reset(stream, errorCode.enhanceYourCalm)
    return undefined
  }

  /** An open stream; `undefined` for one that is closed and may still be spoken to. All others are errors. */
  private known(streamId: number, what: string): Stream<T> | undefined {
    const stream = this.streams.get(streamId)
    if (stream !== undefined) return stream
    if (this.ids.isIdle(streamId)) throw new ConnectionError(errorCode.protocolError, `${what} is on an idle stream`)
    if (this.ids.mayBeReset(streamId)) return undefined
    throw new ConnectionError(errorCode.streamClosed, `${what} is on a closed stream`)
  }

  private onPriority(streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(errorCode.protocolError, "PRIORITY is not on a stream")
    this.budgets.idleFrame()
    const selfDependent = end - start === priorityLength && readUint31(bytes, start) === streamId
    if (end - start === priorityLength && !selfDependent) return
    const code = selfDependent ? errorCode.protocolError : errorCode.frameSizeError
    const stream = this.streams.get(streamId)
    if (stream !== undefined) return this.fault(stream, code)
    // A stream that isn't open can't be reset, and what it did wrong is wrong all the same.
    throw new ConnectionError(code, "PRIORITY is malformed")
  }

  private onRstStream(streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(errorCode.protocolError, "RST_STREAM is not on a stream")
    if (end - start !== 4) throw new ConnectionError(errorCode.frameSizeError, "RST_STREAM is not four bytes long")
    if (this.ids.isIdle(streamId)) throw new ConnectionError(errorCode.protocolError, "RST_STREAM is on an idle stream")
    const stream = this.streams.get(streamId)
    if (stream === undefined) return this.budgets.idleFrame()
    if (this.isWasted(stream)) this.budgets.reset()
    this.close(stream)
    this.events.reset(stream, readUint32(bytes, start))
  }

  /** Whether the peer has opened a stream for nothing but work of ours: it can't have seen a response, nor waited for one. */
  private isWasted({ respondedAt, begunAt }: Stream<T>): boolean {
    const seen = respondedAt >= 0 && respondedAt < this.outputs
    return this.server && !seen && this.time - begunAt < briefMillis
  }

  private get time(): number {
    this.receivedAt ??= this.now()
    return this.receivedAt
  }

  private onSettings(flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(errorCode.protocolError, "SETTINGS is on a stream")
    if ((flags & flag.ack) !== 0) {
      if (end !== start) throw new ConnectionError(errorCode.frameSizeError, "an acknowledgement has settings")
      return this.budgets.idleFrame()
    }
    if (!isSettingsLength(end - start)) throw new ConnectionError(errorCode.frameSizeError, "SETTINGS is cut off")
    if (this.settingsReceived) this.budgets.idleFrame()
    this.settingsReceived = true
    const before = this.remote
    this.remote = readSettings(bytes, start, end, before)
    if (!this.server && this.remote.enablePush) {
      throw new ConnectionError(errorCode.protocolError, "a server can't be pushed to")
    }
    const opened = this.remote.initialWindowSize - before.initialWindowSize
    for (const stream of this.streams.values()) {
      if (!stream.send.open(opened)) {
        throw new ConnectionError(errorCode.flowControlError, "INITIAL_WINDOW_SIZE opens a window too far")
      }
    }
    this.sender.configure(this.remote, smallestHeaderTableSize(bytes, start, end))
    this.sender.out.append(settingsAck)
    this.events.settings(this.remote)
  }

  private onPing(flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(errorCode.protocolError, "PING is on a stream")
    if (end - start !== pingLength) throw new ConnectionError(errorCode.frameSizeError, "PING is not eight bytes long")
    this.budgets.idleFrame()
    if ((flags & flag.ack) !== 0) {
      if (this.draining && this.server && bytes[start] === drainPayload[0]) this.part()
      return this.events.pong()
    }
    this.sender.ping(bytes.subarray(start, end), true)
  }

  private onGoaway(streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(errorCode.protocolError, "GOAWAY is on a stream")
    if (end - start < 8) throw new ConnectionError(errorCode.frameSizeError, "GOAWAY is too short")
    this.budgets.idleFrame()
    const last = readUint31(bytes, start)
    const code = readUint32(bytes, start + 4)
    if (this.server) return this.events.goaway(last, code)
    this.draining = true
    this.parted = true
    this.events.goaway(last, code)
    // What the server hasn't taken it never will: that is as good as refused (section 6.8).
    for (const stream of this.all()) {
      if (stream.id <= last) continue
      this.close(stream)
      this.events.reset(stream, errorCode.refusedStream)
    }
  }

  private onWindowUpdate(streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionError(errorCode.frameSizeError, "WINDOW_UPDATE is not four bytes long")
    const increment = readUint31(bytes, start)
    const stream = this.streams.get(streamId)
    if (stream !== undefined) {
      if (increment === 0) return this.fault(stream, errorCode.protocolError)
      if (!stream.send.open(increment)) return this.fault(stream, errorCode.flowControlError)
    } else {
      if (this.ids.isIdle(streamId)) {
        throw new ConnectionError(errorCode.protocolError, "WINDOW_UPDATE is on an idle stream")
      }
      if (increment === 0) throw new ConnectionError(errorCode.protocolError, "WINDOW_UPDATE opens nothing")
      // A window may well be opened for what has just been answered.
      if (streamId !== 0) return this.budgets.idleFrame()
      if (!this.sender.window.open(increment)) {
        throw new ConnectionError(errorCode.flowControlError, "WINDOW_UPDATE opens a window too far")
      }
    }
    // Of use only where something waits for it.
    if (this.sender.idle) this.budgets.idleFrame()
  }

  // ---- What holds all that together

  private createStream(id: number): Stream<T> {
    const window = Math.min(this.limits.streamWindow, firstStreamWindow)
    const stream = new Stream<T>(id, this.remote.initialWindowSize, window)
    if (this.server) stream.begunAt = this.time
    this.streams.set(id, stream)
    return stream
  }

  /** Takes from the memory what a stream holds now, as far as it hasn't, or gives it back. Gives the budget that hasn't got it. */
  private charge(stream: Stream<T>): MemoryBudget | undefined {
    // What a server's program sends is its client's doing; what a client sends, its own.
    const pending = this.server ? stream.pendingBytes : 0
    const grown = stream.receive.full - Math.min(this.limits.streamWindow, firstStreamWindow)
    const needed = Math.max(streamMemory, stream.held + pending + grown) + stream.headSize
    const more = needed - stream.charged
    if (more < 0) this.memory.give(-more)
    else if (more > 0) {
      const short = this.memory.take(more)
      if (short !== undefined) return short
    }
    stream.charged = needed
    return undefined
  }

  /** The same; ends the stream if there isn't so much. False then. */
  private settle(stream: Stream<T>): boolean {
    const short = this.charge(stream)
    if (short === undefined) return true
    // What its user says now must not wait behind what there is no memory for.
    this.sender.forget(stream)
    this.events.exhausted(stream, short)
    if (stream.closed) return false
    this.reset(stream, errorCode.enhanceYourCalm)
    this.events.reset(stream, errorCode.enhanceYourCalm)
    return false
  }

  /** Moves a stream on in its states; false where the event isn't allowed. */
  private step(stream: Stream<T>, on: Event): boolean {
    const to = next(stream.state, on)
    if (to === illegal) return false
    stream.state = to
    if (to === state.closed) this.close(stream)
    return true
  }

  private close(stream: Stream<T>): void {
    stream.state = state.closed
    this.streams.delete(stream.id)
    this.sender.forget(stream)
    this.memory.give(stream.charged)
    stream.charged = 0
  }

  private remoteEnded(stream: Stream<T>, trailers: ReadonlyArray<Field>): void {
    if (stream.wrongLength) return this.fault(stream, errorCode.protocolError)
    this.step(stream, event.receiveEnd)
    this.events.end(stream, trailers)
  }

  private localEnded(stream: Stream<T>): void {
    this.step(stream, event.sendEnd)
    if (this.server) this.budgets.responded()
    // An answer that doesn't need the rest of its request asks for no more of it (section 8.1).
    if (this.server && !stream.closed) this.reset(stream, errorCode.noError)
  }

  /** Resets a stream for what the peer did to it. */
  private fault(stream: Stream<T>, code: ErrorCode): void {
    this.budgets.reset()
    this.reset(stream, code)
    this.events.reset(stream, code)
  }

  private openStream(stream: Stream<T>, length: number): void {
    const increment = stream.receive.take(length)
    if (increment === 0 || next(stream.state, event.receiveEnd) === illegal) return
    this.sender.windowUpdate(stream.id, increment + this.grow(stream))
  }

  /**
   * Makes a stream's window twice as large where its program takes all that comes, and half a window within a round trip or
   * so: then it is the window that the peer waits for. Gives by how much.
   */
  private grow({ receive, untaken }: Stream<T>): number {
    const more = Math.min(receive.full, this.limits.streamWindow - receive.full)
    if (more <= 0) return 0
    const now = this.now()
    const quick = now - receive.openedAt < longRoundTrip
    receive.openedAt = now
    // Half of the memory stays for what is really held: were it half of what is left, uploads one by one would take all.
    if (!quick || untaken > 0 || more > this.memory.spare) return 0
    receive.grow(more)
    return more
  }

  // It is each stream's window that waits for its program (section 5.2.1): else one that isn't read would stop the others.
  // So nobody can go over that of the connection, which is opened before less than a frame is left of it.
  private openConnection(length: number): void {
    const increment = this.receiveWindow.take(length)
    if (increment > 0) this.sender.windowUpdate(0, increment)
  }

  private wrote(): void {
    if (this.receiving || this.outputAnnounced || this.sender.out.length === 0) return
    this.outputAnnounced = true
    this.events.output()
  }

  private fail(error: ConnectionError): void {
    if (this.ended) return
    this.sender.goaway(this.ids.lastOfPeer, error.code)
    this.ended = true
    // Before its streams end: who has them wants to know why.
    this.events.failed(error)
    this.abandon(error.code)
  }
}
