/**
 * A connection: HTTP/2 as bytes in, events and bytes out, in either role. It does no I/O and knows no runtime.
 *
 * Whoever has the socket gives it what arrives (`receive`) and sends what it has to say (`take`). Its user gets events,
 * and answers through the methods below, during an event or at any time later. What a peer does wrong to a stream
 * resets that stream; what it does wrong to the connection ends it with a GOAWAY that says why.
 *
 * Source: RFC 9113.
 */
import {
  ConnectionError,
  type ErrorCode,
  errorCode,
  flag,
  frameType,
  maxInt31,
  preface,
  readUint31,
  readUint32,
} from "./frames.ts"
import {
  Malformed,
  parseRequestHead,
  parseResponseHead,
  parseTrailers,
  type RequestHead,
  type ResponseHead,
} from "./head.ts"
import { type Field, HpackError } from "./hpack.ts"
import { Decoder } from "./hpackDecoder.ts"
import { Budget, defaultLimits, type Limits } from "./limits.ts"
import { FrameReader } from "./reader.ts"
import { Sender } from "./sender.ts"
import {
  defaultSettings,
  isSettingsLength,
  readSettings,
  type Settings,
  settingsAck,
  settingsFrame,
  smallestHeaderTableSize,
} from "./settings.ts"
import { type Event, event, illegal, next, state } from "./states.ts"
import { Stream } from "./stream.ts"
import { ReceiveWindow } from "./windows.ts"

export type Head = RequestHead | ResponseHead

/** What happens on a connection. Bytes are valid during the call only. `T` is what the user keeps with a stream. */
export interface Events<T> {
  /** A request has begun (at a server), or a response (at a client, where 1xx ones may come before it). */
  readonly head: (stream: Stream<T>, head: Head) => void
  /** The head was longer than we take, and has been dropped; at a server a 431 is due. */
  readonly headTooLong: (stream: Stream<T>) => void
  /** A piece of the body. Whoever has taken it in says so with `taken`; until then it counts against the windows. */
  readonly data: (stream: Stream<T>, bytes: Uint8Array, start: number, end: number) => void
  /** The peer has said all on this stream; the trailers are empty if it sent none. */
  readonly end: (stream: Stream<T>, trailers: ReadonlyArray<Field>) => void
  /** The stream was cut short: by the peer, for its fault, or with the connection. */
  readonly reset: (stream: Stream<T>, code: number) => void
  /** All that was written to the stream has gone to the output. */
  readonly drained: (stream: Stream<T>) => void
  /** The peer takes no stream above `lastStreamId` any more. */
  readonly goaway: (lastStreamId: number, code: number) => void
  /** A PING of ours was answered. */
  readonly pong: () => void
  /** The peer's settings have come, the first ones or new ones. */
  readonly settings: (settings: Settings) => void
  /** Bytes wait in the output, and nobody is about to take them. Called once until they are taken. */
  readonly output: () => void
  /** The connection is over for the peer's fault: send the output, then close. */
  readonly failed: (error: ConnectionError) => void
}

export interface ConnectionOptions {
  readonly role: "server" | "client"
  readonly limits?: Partial<Limits>
  /** A clock in milliseconds for the limits that are per second. Default: `performance.now`. */
  readonly now?: () => number
}

const noTrailers: ReadonlyArray<Field> = Object.freeze([])
// What a stream expects whose body has gone on behind its content-length.
const tooLong = -2
const pingLength = 8
// What our PINGs carry, so that the answer to the one of `drain` is told from those to others.
const drainPayload = new Uint8Array(pingLength)
const pingPayload = new Uint8Array(pingLength).fill(1)
// Streams that one end cuts short before the other can have heard of the first of them.
const maxRemembered = 4096
const priorityLength = 5

// What a client may presume of a server that hasn't said yet how many streams it takes: more might be refused. It is the
// least that RFC 9113, section 6.5.2, recommends to servers.
const presumed = { maxConcurrentStreams: 100 }

interface HeaderBlock {
  readonly streamId: number
  readonly endStream: boolean
  bytes: Uint8Array
  length: number
  frames: number
}

export class Connection<T> {
  private readonly server: boolean
  private readonly events: Events<T>
  private readonly limits: Limits
  private readonly now: () => number
  private readonly reader: FrameReader
  private readonly decoder: Decoder
  private readonly sender: Sender<T>
  private readonly streams = new Map<number, Stream<T>>()
  private readonly resets: Budget
  private readonly receiveWindow: ReceiveWindow
  private remote: Settings = defaultSettings
  private prefaceLeft: number
  private settingsReceived = false
  private readonly idle: Budget
  // Streams that were reset lately, by us: what the peer had under way on them is no fault. Insertion order is age.
  private readonly lately = new Set<number>()
  private lastPeerStream = 0
  private nextStream: number
  // The header block that CONTINUATION frames go on with.
  private block: HeaderBlock | undefined
  // The stream of the DATA frame that is being read; undefined if nobody wants it.
  private dataStream: Stream<T> | undefined
  // A stream whose HEADERS say that it depends on itself; its block is decoded all the same.
  private selfDependent = 0
  private receiving = false
  private outputAnnounced = false
  private draining = false
  // The peer has been told, or has told us, which stream is the last.
  private parted = false
  private ended = false

  constructor(events: Events<T>, { role, limits, now = () => performance.now() }: ConnectionOptions) {
    this.server = role === "server"
    this.events = events
    const given = { ...defaultLimits, ...limits }
    this.limits = {
      ...given,
      // A peer may count on these before it has heard of ours.
      streamWindow: Math.max(given.streamWindow, defaultSettings.initialWindowSize),
      connectionWindow: Math.max(given.connectionWindow, defaultSettings.initialWindowSize),
    }
    this.now = now
    // A server that refuses or cancels its client's calls only does its own work.
    const maxResets = this.server ? this.limits.maxResets : Number.POSITIVE_INFINITY
    this.resets = new Budget(maxResets, this.limits.maxResetsPerSecond, now())
    this.idle = new Budget(this.limits.maxIdleFrames, this.limits.maxIdleFramesPerSecond, now())
    this.sender = new Sender(this.limits.maxOutput, (stream) => this.events.drained(stream))
    this.receiveWindow = new ReceiveWindow(this.limits.connectionWindow)
    const local: Settings = {
      ...defaultSettings,
      enablePush: this.server,
      maxConcurrentStreams: this.server ? this.limits.maxConcurrentStreams : defaultSettings.maxConcurrentStreams,
      initialWindowSize: this.limits.streamWindow,
      maxHeaderListSize: this.limits.maxHeaderListSize,
    }
    this.decoder = new Decoder({ maxTableSize: local.headerTableSize, maxListSize: local.maxHeaderListSize })
    this.reader = new FrameReader(
      {
        frame: (type, flags, streamId, bytes, start, end) => this.frame(type, flags, streamId, bytes, start, end),
        dataBegin: (streamId, length, padding) => this.dataBegin(streamId, length, padding),
        dataPiece: (bytes, start, end) => this.dataPiece(bytes, start, end),
        dataEnd: (endStream) => this.dataEnd(endStream),
      },
      local.maxFrameSize,
    )
    this.prefaceLeft = this.server ? preface.length : 0
    this.nextStream = this.server ? 2 : 1
    if (!this.server) this.sender.out.append(preface)
    this.sender.out.append(settingsFrame(local))
    const opened = this.limits.connectionWindow - defaultSettings.initialWindowSize
    if (opened > 0) this.sender.windowUpdate(0, opened)
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

  /** The streams that are open now. */
  all(): ReadonlyArray<Stream<T>> {
    return [...this.streams.values()]
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
    try {
      // Never a `Buffer`: where a copy is meant, its `slice` gives a view, and keeps all of the socket's chunk.
      const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length)
      const from = this.readPreface(bytes)
      if (from < bytes.length) this.reader.read(from === 0 ? bytes : bytes.subarray(from))
    } catch (error) {
      if (error instanceof ConnectionError) this.fail(error)
      else throw error
    } finally {
      this.receiving = false
    }
  }

  /** Checks what of the preface is in a chunk, and gives where the frames begin. */
  private readPreface(chunk: Uint8Array): number {
    const from = preface.length - this.prefaceLeft
    const length = Math.min(chunk.length, this.prefaceLeft)
    for (let i = 0; i < length; i++) {
      if (chunk[i] !== preface[from + i]) {
        throw new ConnectionError(errorCode.protocolError, "the connection doesn't begin with HTTP/2's preface")
      }
    }
    this.prefaceLeft -= length
    return length
  }

  /** The bytes to send now; empty if there are none. Whoever takes them asks again until it is. */
  take(): Uint8Array {
    this.outputAnnounced = false
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
    const { maxConcurrentStreams } = this.settingsReceived ? this.remote : presumed
    if (this.ended || this.draining || this.streams.size >= maxConcurrentStreams) return undefined
    if (this.nextStream > maxInt31 || this.congested) return undefined
    const stream = this.createStream(this.nextStream)
    this.nextStream += 2
    stream.context = context
    this.sendHeaders(stream, fields, false)
    return stream
  }

  /** Sends a head. Nothing happens on a stream that is closed, here and below: who writes may not know yet. */
  sendHeaders(stream: Stream<T>, fields: ReadonlyArray<Field>, endStream: boolean): void {
    if (!this.step(stream, event.sendHeaders)) return
    this.sender.headers(stream.id, fields, endStream)
    if (endStream) this.localEnded(stream)
    this.wrote()
  }

  /**
   * Sends a part of the body; the bytes are the connection's from now on. False if some of it waits: then `drained`
   * comes when more is welcome.
   */
  sendData(stream: Stream<T>, bytes: Uint8Array): boolean {
    if (stream.closed) return true
    // Whoever is sent data may well have windows to open for it.
    this.idle.fill()
    this.sender.data(stream, bytes)
    this.wrote()
    return stream.pending.length === 0
  }

  /** Ends our side of a stream, after all that waits, with trailers or without. */
  sendEnd(stream: Stream<T>, trailers?: ReadonlyArray<Field>): void {
    if (stream.closed) return
    this.sender.end(stream, trailers, () => this.localEnded(stream))
    this.wrote()
  }

  /** Cuts a stream short. */
  reset(stream: Stream<T>, code: ErrorCode): void {
    if (stream.closed) return
    this.sender.rstStream(stream.id, code)
    this.remember(stream.id)
    this.close(stream)
    this.wrote()
  }

  /** Says that bytes of a stream's body were taken in, so that the peer may send as many more. */
  taken(stream: Stream<T>, length: number): void {
    // When it closed, the connection's window got back all that wasn't taken in.
    if (stream.closed) return
    stream.untaken -= length
    this.takenPadding(stream, length)
  }

  /** Asks the peer to answer; `pong` says that it did. */
  ping(): void {
    this.sender.ping(pingPayload, false)
    this.wrote()
  }

  /**
   * Takes no more streams, and tells the peer so: first that it shall open none, then, when it must have heard that, which
   * was the last one taken (section 6.8). One that was under way is refused, which says that it may be tried elsewhere.
   */
  drain(): void {
    if (this.draining) return
    this.draining = true
    this.sender.goaway(maxInt31, errorCode.noError)
    this.sender.ping(drainPayload, false)
    this.wrote()
  }

  /** Ends the wait of `drain` for a peer that doesn't answer, and tells it which stream was the last. */
  part(): void {
    if (this.parted || this.ended) return
    this.parted = true
    this.sender.goaway(this.lastPeerStream, errorCode.noError)
    this.wrote()
  }

  // ---- Frames in

  private frame(type: number, flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (!this.settingsReceived && (type !== frameType.settings || (flags & flag.ack) !== 0)) {
      throw new ConnectionError(errorCode.protocolError, "the first frame is not SETTINGS")
    }
    if (this.block !== undefined && (type !== frameType.continuation || streamId !== this.block.streamId)) {
      throw new ConnectionError(errorCode.protocolError, "a header block is interrupted")
    }
    switch (type) {
      case frameType.headers:
        return this.onHeaders(flags, streamId, bytes, start, end)
      case frameType.continuation:
        return this.onContinuation(flags, bytes, start, end)
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
        return this.idleFrame()
    }
  }

  private dataBegin(streamId: number, length: number, padding: number): void {
    if (!this.settingsReceived) throw new ConnectionError(errorCode.protocolError, "the first frame is not SETTINGS")
    if (this.block !== undefined) throw new ConnectionError(errorCode.protocolError, "a header block is interrupted")
    if (!this.receiveWindow.receive(length)) {
      throw new ConnectionError(errorCode.flowControlError, "the peer sends more than the connection's window")
    }
    if (length === padding) this.idleFrame()
    else this.idle.fill()
    const stream = this.known(streamId, "DATA")
    this.dataStream = stream
    if (stream === undefined) this.takenByConnection(length)
    else if (next(stream.state, event.receiveEnd) === illegal) this.refuse(stream, errorCode.streamClosed, length)
    else if (!stream.headed) this.refuse(stream, errorCode.protocolError, length)
    else if (!stream.receive.receive(length)) this.refuse(stream, errorCode.flowControlError, length)
    else {
      stream.untaken += length - padding
      if (stream.expected >= 0) {
        stream.expected -= length - padding
        if (stream.expected < 0) stream.expected = tooLong
      }
      if (padding > 0) this.takenPadding(stream, padding)
    }
  }

  // Data that nobody will take in: its stream is reset, and the connection's window gets it back at once.
  private refuse(stream: Stream<T>, code: ErrorCode, length: number): void {
    this.dataStream = undefined
    this.fault(stream, code)
    this.takenByConnection(length)
  }

  private dataPiece(bytes: Uint8Array, start: number, end: number): void {
    const stream = this.dataStream
    if (stream !== undefined && !stream.closed) this.events.data(stream, bytes, start, end)
  }

  private dataEnd(endStream: boolean): void {
    const stream = this.dataStream
    this.dataStream = undefined
    if (stream === undefined || stream.closed) return
    if (endStream || stream.expected === tooLong) this.remoteEnded(stream, noTrailers)
  }

  private onHeaders(flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(errorCode.protocolError, "HEADERS is not on a stream")
    const padded = (flags & flag.padded) !== 0
    const prioritized = (flags & flag.priority) !== 0
    let from = start + (padded ? 1 : 0)
    // Priorities are ignored, but a stream that depends on itself was never allowed (RFC 7540, section 5.3.1).
    const dependsOnItself = prioritized && from + priorityLength <= end && readUint31(bytes, from) === streamId
    from += prioritized ? priorityLength : 0
    if (from > end) throw new ConnectionError(errorCode.frameSizeError, "HEADERS is too short for its flags")
    const to = end - (padded ? (bytes[start] ?? 0) : 0)
    if (from > to) throw new ConnectionError(errorCode.protocolError, "a frame's padding is longer than the frame")
    const endStream = (flags & flag.endStream) !== 0
    if (dependsOnItself) this.selfDependent = streamId
    if ((flags & flag.endHeaders) !== 0) return this.headerBlock(streamId, endStream, bytes, from, to)
    const copy = new Uint8Array(this.limits.maxHeaderBlockSize)
    if (to - from > copy.length) throw new ConnectionError(errorCode.enhanceYourCalm, "a header block is too large")
    copy.set(bytes.subarray(from, to))
    this.block = { streamId, endStream, bytes: copy, length: to - from, frames: 0 }
  }

  private onContinuation(flags: number, bytes: Uint8Array, start: number, end: number): void {
    const { block } = this
    if (block === undefined) throw new ConnectionError(errorCode.protocolError, "CONTINUATION continues nothing")
    block.frames += 1
    if (block.frames > this.limits.maxContinuations || block.length + end - start > block.bytes.length) {
      throw new ConnectionError(errorCode.enhanceYourCalm, "a header block is too large")
    }
    block.bytes.set(bytes.subarray(start, end), block.length)
    block.length += end - start
    if ((flags & flag.endHeaders) === 0) return
    this.block = undefined
    this.headerBlock(block.streamId, block.endStream, block.bytes, 0, block.length)
  }

  private headerBlock(streamId: number, endStream: boolean, bytes: Uint8Array, start: number, end: number): void {
    // Every block is decoded, also those that nobody wants: the tables of both ends must stay in step (section 4.3).
    const fields = this.decode(bytes, start, end)
    this.idle.fill()
    const stream = this.streamOfHeaders(streamId)
    if (stream === undefined) return
    if (this.selfDependent === streamId) {
      this.selfDependent = 0
      return this.fault(stream, errorCode.protocolError)
    }
    if (next(stream.state, event.receiveHeaders) === illegal) return this.fault(stream, errorCode.streamClosed)
    this.step(stream, event.receiveHeaders)
    if (stream.headed) return this.trailers(stream, fields, endStream)
    if (fields === undefined) {
      stream.headed = true
      if (endStream) this.step(stream, event.receiveEnd)
      this.events.headTooLong(stream)
    } else {
      const head = this.server ? parseRequestHead(fields) : parseResponseHead(fields)
      if (head instanceof Malformed) return this.fault(stream, errorCode.protocolError)
      const informational = "status" in head && head.status < 200
      if (informational && endStream) return this.fault(stream, errorCode.protocolError)
      stream.headed = !informational
      // A response may have a length and no body: to a HEAD request, or with status 304. Only requests are held to it.
      if (this.server) stream.expected = head.contentLength
      if (endStream && stream.expected > 0) return this.fault(stream, errorCode.protocolError)
      // Before the event, so that who answers at once finds the peer's side ended, and the stream closes in order.
      if (endStream) this.step(stream, event.receiveEnd)
      this.events.head(stream, head)
    }
    // Not to who has cut it short meanwhile; but to a client whose stream this end has closed.
    if (endStream && (!this.server || !stream.closed)) this.events.end(stream, noTrailers)
  }

  private decode(bytes: Uint8Array, start: number, end: number): ReadonlyArray<Field> | undefined {
    try {
      return this.decoder.decode(bytes, start, end)
    } catch (error) {
      if (error instanceof HpackError) throw new ConnectionError(errorCode.compressionError, error.message)
      throw error
    }
  }

  private trailers(stream: Stream<T>, fields: ReadonlyArray<Field> | undefined, endStream: boolean): void {
    const trailers = fields === undefined ? undefined : parseTrailers(fields)
    if (!endStream || trailers === undefined || trailers instanceof Malformed) {
      return this.fault(stream, errorCode.protocolError)
    }
    this.remoteEnded(stream, trailers)
  }

  /** The stream that a header block is for, a new one if it begins one; `undefined` if nobody wants it. */
  private streamOfHeaders(streamId: number): Stream<T> | undefined {
    if (!this.isPeers(streamId) || streamId <= this.lastPeerStream) return this.known(streamId, "HEADERS")
    if (!this.server) throw new ConnectionError(errorCode.protocolError, "a server opens no streams")
    this.lastPeerStream = streamId
    if (this.draining || this.streams.size >= this.limits.maxConcurrentStreams) {
      this.spendReset()
      this.sender.rstStream(streamId, errorCode.refusedStream)
      this.remember(streamId)
      return undefined
    }
    return this.createStream(streamId)
  }

  /** An open stream; `undefined` for one that is closed and may still be spoken to. All others are errors. */
  private known(streamId: number, what: string): Stream<T> | undefined {
    const stream = this.streams.get(streamId)
    if (stream !== undefined) return stream
    if (this.isIdle(streamId)) throw new ConnectionError(errorCode.protocolError, `${what} is on an idle stream`)
    if (!this.lately.has(streamId)) {
      throw new ConnectionError(errorCode.streamClosed, `${what} is on a closed stream`)
    }
    return undefined
  }

  private isPeers(streamId: number): boolean {
    return (streamId & 1) === (this.server ? 1 : 0)
  }

  private isIdle(streamId: number): boolean {
    return this.isPeers(streamId) ? streamId > this.lastPeerStream : streamId >= this.nextStream
  }

  private onPriority(streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId === 0) throw new ConnectionError(errorCode.protocolError, "PRIORITY is not on a stream")
    this.idleFrame()
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
    if (this.isIdle(streamId)) throw new ConnectionError(errorCode.protocolError, "RST_STREAM is on an idle stream")
    const stream = this.streams.get(streamId)
    if (stream === undefined) return this.idleFrame()
    this.spendReset()
    this.close(stream)
    this.events.reset(stream, readUint32(bytes, start))
  }

  private onSettings(flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(errorCode.protocolError, "SETTINGS is on a stream")
    if ((flags & flag.ack) !== 0) {
      if (end !== start) throw new ConnectionError(errorCode.frameSizeError, "an acknowledgement has settings")
      return this.idleFrame()
    }
    if (!isSettingsLength(end - start)) throw new ConnectionError(errorCode.frameSizeError, "SETTINGS is cut off")
    if (this.settingsReceived) this.idleFrame()
    this.settingsReceived = true
    const before = this.remote
    this.remote = readSettings(bytes, start, end, before)
    if (!this.server && this.remote.enablePush && !before.enablePush) {
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
    this.wrote()
  }

  private onPing(flags: number, streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(errorCode.protocolError, "PING is on a stream")
    if (end - start !== pingLength) throw new ConnectionError(errorCode.frameSizeError, "PING is not eight bytes long")
    this.idleFrame()
    if ((flags & flag.ack) !== 0) {
      if (this.draining && this.server && bytes[start] === drainPayload[0]) this.part()
      return this.events.pong()
    }
    this.sender.ping(bytes.subarray(start, end), true)
    this.wrote()
  }

  private onGoaway(streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(errorCode.protocolError, "GOAWAY is on a stream")
    if (end - start < 8) throw new ConnectionError(errorCode.frameSizeError, "GOAWAY is too short")
    this.idleFrame()
    const last = readUint31(bytes, start)
    this.events.goaway(last, readUint32(bytes, start + 4))
    if (this.server) return
    // What the server hasn't taken it never will: that is as good as refused (section 6.8).
    this.draining = true
    this.parted = true
    for (const stream of this.all()) {
      if (stream.id <= last) continue
      this.close(stream)
      this.events.reset(stream, errorCode.refusedStream)
    }
  }

  private onWindowUpdate(streamId: number, bytes: Uint8Array, start: number, end: number): void {
    if (end - start !== 4) throw new ConnectionError(errorCode.frameSizeError, "WINDOW_UPDATE is not four bytes long")
    const increment = readUint31(bytes, start)
    if (streamId === 0) {
      if (increment === 0) throw new ConnectionError(errorCode.protocolError, "WINDOW_UPDATE opens nothing")
      if (!this.sender.window.open(increment)) {
        throw new ConnectionError(errorCode.flowControlError, "WINDOW_UPDATE opens a window too far")
      }
    } else {
      if (this.isIdle(streamId)) {
        throw new ConnectionError(errorCode.protocolError, "WINDOW_UPDATE is on an idle stream")
      }
      const stream = this.streams.get(streamId)
      if (stream === undefined) {
        // A window may well be opened for what has just been answered, but never by nothing.
        if (increment === 0) throw new ConnectionError(errorCode.protocolError, "WINDOW_UPDATE opens nothing")
        return this.idleFrame()
      }
      if (increment === 0) return this.fault(stream, errorCode.protocolError)
      if (!stream.send.open(increment)) return this.fault(stream, errorCode.flowControlError)
    }
    // Of use only where something waits for it.
    if (this.sender.idle) this.idleFrame()
    else {
      this.sender.pump()
      this.wrote()
    }
  }

  // ---- What holds all that together

  private createStream(id: number): Stream<T> {
    const stream = new Stream<T>(id, this.remote.initialWindowSize, this.limits.streamWindow)
    this.streams.set(id, stream)
    return stream
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
    // What the user didn't take in will never be: the connection's window gets it back.
    if (stream.untaken > 0) this.takenByConnection(stream.untaken)
    stream.untaken = 0
  }

  private remoteEnded(stream: Stream<T>, trailers: ReadonlyArray<Field>): void {
    if (stream.expected > 0 || stream.expected === tooLong) return this.fault(stream, errorCode.protocolError)
    this.step(stream, event.receiveEnd)
    this.events.end(stream, trailers)
  }

  private localEnded(stream: Stream<T>): void {
    this.step(stream, event.sendEnd)
    // An answer that doesn't need the rest of its request asks for no more of it (section 8.1).
    if (this.server && !stream.closed) this.reset(stream, errorCode.noError)
  }

  /** Resets a stream for what the peer did to it. */
  private fault(stream: Stream<T>, code: ErrorCode): void {
    this.spendReset()
    this.reset(stream, code)
    this.events.reset(stream, code)
  }

  // Streams that are opened only to be reset, by the peer (CVE-2023-44487) or by us for its faults (CVE-2025-8671).
  private spendReset(): void {
    if (!this.resets.take(this.now()))
      throw new ConnectionError(errorCode.enhanceYourCalm, "too many streams are reset")
  }

  private remember(streamId: number): void {
    this.lately.add(streamId)
    if (this.lately.size <= maxRemembered) return
    const [oldest] = this.lately
    if (oldest !== undefined) this.lately.delete(oldest)
  }

  // A frame that costs its sender nothing and us a little.
  private idleFrame(): void {
    if (!this.idle.take(this.now())) {
      throw new ConnectionError(errorCode.enhanceYourCalm, "too many frames without use")
    }
  }

  private takenPadding(stream: Stream<T>, length: number): void {
    const increment = stream.receive.take(length)
    if (increment > 0 && !stream.closed && next(stream.state, event.receiveEnd) !== illegal) {
      this.sender.windowUpdate(stream.id, increment)
    }
    this.takenByConnection(length)
  }

  private takenByConnection(length: number): void {
    const increment = this.receiveWindow.take(length)
    if (increment > 0) this.sender.windowUpdate(0, increment)
    this.wrote()
  }

  private wrote(): void {
    if (this.receiving || this.outputAnnounced || this.sender.out.length === 0) return
    this.outputAnnounced = true
    this.events.output()
  }

  private fail(error: ConnectionError): void {
    this.sender.goaway(this.lastPeerStream, error.code)
    this.abandon(error.code)
    this.events.failed(error)
  }
}
