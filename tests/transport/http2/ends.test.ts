/**
 * Two ends of ours, each of which does anything it may at any time, joined by nothing but bytes that come in pieces of any
 * size. Between them somebody watches who knows what either may send, and sometimes changes the settings of one.
 * `FUZZ_RUNS` multiplies the number of cases.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import fc from "fast-check"
import { Connection } from "../../../src/transport/http2/connection.ts"
import { errorCode, flag, frameType, maxInt31 } from "../../../src/transport/http2/frames.ts"
import type { Field } from "../../../src/transport/http2/hpack.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import type { Stream } from "../../../src/transport/http2/stream.ts"
import { eventsOf, type Frame, fields, frames, requestFields, settings } from "./support.ts"

type Role = "server" | "client"

const window = 65_535
const maxStreams = 4
const maxFrameSize = 16_384

const limits = limitsOf({
  streamWindow: window,
  connectionWindow: window,
  maxConcurrentStreams: maxStreams,
  maxHeaderListSize: 40_000,
  maxOutput: 3000,
  // How often a peer may do what is of no use has tests of its own.
  maxIdleFrames: 1_000_000,
  maxResets: 1_000_000,
})

// What bodies are made of: each begins at its seed, and goes on from where it was.
const period = 251
const longest = 100_000
const pattern = Uint8Array.from({ length: period + longest }, (_, i) => i % period)
const partOf = (seed: number, from: number, length: number): Uint8Array => {
  const start = (seed + from) % period
  return pattern.subarray(start, start + length)
}

/** What an end does about a request or response as soon as it begins, in the event itself. */
type Reaction = "nothing" | "head" | "answer" | "reset" | "take"

/** One call, as one end of it sees it. */
class Half {
  readonly call: number
  readonly seed: number
  readonly reaction: Reaction
  sent = 0
  received = 0
  untaken = 0
  headSent = false
  done = false
  headed = false
  waits = false
  trailers: ReadonlyArray<Field> = []
  ended: ReadonlyArray<Field> | undefined
  /** Who has cut it short: this end, or what the other has said. */
  cut: "here" | number | undefined
  constructor(call: number, seed: number, reaction: Reaction) {
    this.call = call
    this.seed = seed
    this.reaction = reaction
  }
}

/** What somebody who watches one end knows of a stream: what was sent, and what has arrived. */
interface Watched {
  credit: number
  sentEnd: boolean
  gotEnd: boolean
  sentReset: boolean
  gotReset: boolean
}

/** Sees each frame that an end sends, and each that has arrived there whole, and knows what it may send. */
class Watch {
  private readonly role: Role
  private readonly streams = new Map<number, Watched>()
  private readonly unacknowledged: Array<Frame> = []
  private initialWindow = window
  private lastOpened = 0
  private lastStreamId = maxInt31
  private inBlock = 0
  private readonly pings: Array<string> = []
  // What has arrived while there may still be something to send from before.
  private readonly news: Array<() => void> = []
  credit = window

  constructor(role: Role) {
    this.role = role
  }

  /** Everything that asked for an answer has one. */
  get answered(): boolean {
    return this.pings.length === 0 && this.unacknowledged.length === 0
  }

  arrived(frame: Frame): void {
    const { type, flags, streamId, payload } = frame
    const stream = this.streams.get(streamId)
    if (type === frameType.settings && (flags & flag.ack) === 0) this.unacknowledged.push(frame)
    else if (type === frameType.ping && (flags & flag.ack) === 0) this.pings.push(payload.toString("hex"))
    else if (type === frameType.windowUpdate) {
      const increment = payload.readUInt32BE(0)
      assert.ok(increment > 0)
      if (streamId === 0) this.credit += increment
      else if (stream !== undefined) stream.credit += increment
      assert.ok(this.credit <= maxInt31 && (stream?.credit ?? 0) <= maxInt31)
    } else if (type === frameType.rstStream || type === frameType.headers || type === frameType.data) {
      const known = stream ?? this.begin(streamId)
      this.news.push(() => {
        if (type === frameType.rstStream) known.gotReset = true
        else known.gotEnd ||= (flags & flag.endStream) !== 0
      })
    }
  }

  /** All that there was to say before what has arrived was sent. */
  flushed(): void {
    for (const tell of this.news.splice(0)) tell()
  }

  sent({ type, flags, streamId, payload }: Frame): void {
    assert.ok(payload.length <= maxFrameSize)
    assert.equal(type === frameType.continuation ? streamId : 0, this.inBlock, "a block is interrupted")
    if (type === frameType.headers || type === frameType.continuation) {
      this.inBlock = (flags & flag.endHeaders) === 0 ? streamId : 0
    }
    if (type === frameType.settings && (flags & flag.ack) !== 0) this.obey(this.unacknowledged.shift())
    else if (type === frameType.ping && (flags & flag.ack) !== 0) {
      assert.equal(payload.toString("hex"), this.pings.shift(), "a PING is answered with what it asked")
    } else if (type === frameType.goaway) {
      const last = payload.readUInt32BE(0)
      assert.ok(last <= this.lastStreamId, "the last stream is a later one than before")
      this.lastStreamId = last
    }
    if (streamId !== 0 && type !== frameType.continuation) this.sentOnStream(type, flags, streamId, payload.length)
  }

  private sentOnStream(type: number, flags: number, streamId: number, length: number): void {
    let stream = this.streams.get(streamId)
    if (stream === undefined) {
      assert.equal(type, frameType.headers, "a stream begins with its head")
      assert.ok(this.role === "client" && streamId % 2 === 1 && streamId > this.lastOpened)
      this.lastOpened = streamId
      stream = this.begin(streamId)
    }
    assert.ok(!stream.sentReset && !stream.gotReset, "a stream that was reset is still spoken on")
    assert.ok(!(stream.sentEnd && stream.gotEnd), "a stream that has ended is still spoken on")
    if (type === frameType.rstStream) stream.sentReset = true
    if (type !== frameType.data && type !== frameType.headers) return
    assert.ok(!stream.sentEnd, "something comes behind the end")
    stream.sentEnd = (flags & flag.endStream) !== 0
    if (type !== frameType.data || length === 0) return
    this.credit -= length
    stream.credit -= length
    assert.ok(this.credit >= 0, "more than the connection's window")
    assert.ok(stream.credit >= 0, "more than the stream's window")
  }

  private begin(streamId: number): Watched {
    const begun = { credit: this.initialWindow, sentEnd: false, gotEnd: false, sentReset: false, gotReset: false }
    this.streams.set(streamId, begun)
    return begun
  }

  // Settings hold for what is sent behind their acknowledgement.
  private obey(frame: Frame | undefined): void {
    assert.ok(frame !== undefined, "no settings were to be acknowledged")
    for (let at = 0; at < frame.payload.length; at += 6) {
      if (frame.payload.readUInt16BE(at) !== 4) continue
      const to = frame.payload.readUInt32BE(at + 2)
      for (const stream of this.streams.values()) stream.credit += to - this.initialWindow
      this.initialWindow = to
    }
  }
}

/** What goes from one end to the other and hasn't arrived. */
class Wire {
  private rest = Buffer.alloc(0)
  private readonly under: Array<{ readonly frame: Frame; readonly end: number }> = []
  private put = 0
  private got = 0

  get empty(): boolean {
    return this.rest.length === 0
  }

  add(bytes: Uint8Array, all: ReadonlyArray<Frame>): void {
    this.rest = Buffer.concat([this.rest, bytes])
    let at = this.put + bytes.length - all.reduce((sum, { payload }) => sum + 9 + payload.length, 0)
    for (const frame of all) {
      at += 9 + frame.payload.length
      this.under.push({ frame, end: at })
    }
    this.put += bytes.length
  }

  /** The next bytes to arrive, and the frames that are whole with them. */
  take(length: number): { readonly bytes: Uint8Array; readonly whole: ReadonlyArray<Frame> } {
    const bytes = this.rest.subarray(0, length)
    this.rest = this.rest.subarray(length)
    this.got += bytes.length
    const rest = this.under.findIndex(({ end }) => end > this.got)
    const whole = this.under.splice(0, rest < 0 ? this.under.length : rest)
    return { bytes, whole: whole.map(({ frame }) => frame) }
  }
}

// Why streams are cut short where nobody breaks a rule.
const innocent: ReadonlySet<number> = new Set([errorCode.cancel, errorCode.noError, errorCode.refusedStream])

const prefaceLength = 24
const answerHead = fields({ ":status": "200", "x-answer": "yes" })
const hints = fields({ ":status": "103", link: "</style.css>" })

/** One end: a connection, and what it has heard and done. */
class End {
  readonly role: Role
  readonly connection: Connection<Half>
  readonly watch: Watch
  readonly out = new Wire()
  readonly halves: Array<{ readonly half: Half; readonly stream: Stream<Half> }> = []
  pingsSent = 0
  pongs = 0
  private reactions: () => Reaction
  private greeted = false
  // Something has happened that the user of a connection flushes after by itself.
  private touched = true

  constructor(role: Role, reactions: () => Reaction) {
    this.role = role
    this.reactions = reactions
    this.watch = new Watch(role)
    this.connection = new Connection<Half>(
      eventsOf<Half>({
        head: (stream, head) => {
          if ("status" in head && head.status < 200) return
          const half = stream.context ?? this.accept(stream, head.fields)
          assert.ok(!half.headed, "there is one head")
          half.headed = true
          if (this.role === "client") assert.deepEqual(head.fields[0], answerHead[1])
          this.react(stream, half)
        },
        headTooLong: () => assert.fail("no head is too long"),
        data: (stream, bytes, start, end) => {
          const half = heard(stream)
          assert.ok(half.headed)
          const expected = partOf(half.seed ^ 1, half.received, end - start)
          assert.equal(Buffer.compare(bytes.subarray(start, end), expected), 0, "bytes are others")
          half.received += end - start
          half.untaken += end - start
          if (half.reaction === "take") this.take(stream, half, end - start)
          if (half.reaction === "reset" && half.received % 3 === 0) this.reset(stream, half)
        },
        end: (stream, trailers) => {
          const half = heard(stream)
          assert.ok(half.headed)
          half.ended = trailers
          if (half.reaction === "answer") this.finish(stream, half, true)
        },
        reset: (stream, code) => {
          // A malformed request has no call, and there is none here.
          const half = stream.context as Half
          assert.equal(half.cut, undefined, "a stream is cut short once")
          assert.ok(innocent.has(code), `a stream is cut short with code ${code}`)
          half.cut = code
          assert.ok(stream.closed)
        },
        drained: (stream) => {
          const half = stream.context as Half
          assert.ok(half.cut === undefined && !half.done)
          half.waits = false
          if (half.reaction === "take" && half.sent < 3 * window) this.send(stream, half, window / 5, false)
        },
        pong: () => {
          this.pongs++
        },
        output: () => {
          this.touched = true
        },
        failed: ({ message }) => assert.fail(message),
      }),
      { role, limits, now: () => 0 },
    )
  }

  private accept(stream: Stream<Half>, all: ReadonlyArray<Field>): Half {
    const call = Number(all.find(({ name }) => name === "x-call")?.value)
    // One more than what the client sends: each direction has bytes of its own.
    const half = new Half(call, call * 2 + 1, this.reactions())
    stream.context = half
    this.halves.push({ half, stream })
    return half
  }

  private react(stream: Stream<Half>, half: Half): void {
    if (half.reaction === "reset" && half.call % 2 === 0) this.reset(stream, half)
    if (half.reaction === "head") this.head(stream, half)
    if (half.reaction === "answer" && half.call % 2 === 0) this.finish(stream, half, false)
  }

  /** Sends the head of the response, where it hasn't been sent; with the length of what follows, where that is known. */
  head(stream: Stream<Half>, half: Half, length?: number): void {
    if (half.headSent) return
    half.headSent = true
    const said = length === undefined ? [] : fields({ "content-length": `${length}` })
    this.connection.sendHeaders(stream, [...answerHead, ...said], false)
  }

  hint(stream: Stream<Half>, half: Half): void {
    if (this.role === "server" && !half.headSent && half.cut === undefined) {
      this.connection.sendHeaders(stream, hints, false)
    }
  }

  open(call: number, large: boolean): void {
    const half = new Half(call, call * 2, this.reactions())
    const own = fields({
      "x-call": `${call}`,
      "x-same": "again and again",
      ...(large && { "x-large": "~".repeat(17_000) }),
    })
    const stream = this.connection.open([...requestFields, ...own], half)
    if (stream === undefined) return
    half.headSent = true
    this.halves.push({ half, stream })
  }

  send(stream: Stream<Half>, half: Half, length: number, last: boolean): void {
    if (half.done || half.cut !== undefined) return
    this.head(stream, half, last ? length : undefined)
    const bytes = partOf(half.seed, half.sent, length)
    half.sent += length
    half.done = last
    if (last) this.connection.sendLast(stream, bytes)
    // `drained` may come before it has said that there is something to wait for.
    else half.waits = !this.connection.sendData(stream, bytes) && stream.pending.length > 0
  }

  finish(stream: Stream<Half>, half: Half, withTrailers: boolean): void {
    if (half.done || half.cut !== undefined) return
    half.done = true
    if (!half.headSent && !withTrailers) {
      half.headSent = true
      return this.connection.sendHeaders(stream, answerHead, true)
    }
    this.head(stream, half)
    if (withTrailers) half.trailers = fields({ checksum: `${half.sent}`, "x-same": "again and again" })
    this.connection.sendEnd(stream, withTrailers ? half.trailers : undefined)
  }

  reset(stream: Stream<Half>, half: Half): void {
    if (!stream.closed && half.cut === undefined) half.cut = "here"
    this.connection.reset(stream, errorCode.cancel)
  }

  take(stream: Stream<Half>, half: Half, length: number): void {
    const taken = Math.min(length, half.untaken)
    half.untaken -= taken
    this.connection.taken(stream, taken)
  }

  ping(): void {
    this.pingsSent++
    this.connection.ping()
  }

  /** Puts on the wire what there is to send. */
  flush(): boolean {
    let some = false
    for (let bytes = this.connection.take(); bytes.length > 0; bytes = this.connection.take()) {
      some = true
      const all = frames(this.greeted || this.role === "server" ? bytes : bytes.subarray(prefaceLength))
      this.greeted = true
      for (const frame of all) this.watch.sent(frame)
      this.out.add(bytes, all)
    }
    this.watch.flushed()
    assert.ok(this.touched || !some, "nobody was told that there is something to send")
    this.touched = false
    return some
  }

  /** Puts other settings on the wire than its own: smaller ones, which it bears. */
  pretend(id: number, value: number): void {
    if (!this.greeted) return
    const bytes = settings([id, value])
    this.out.add(bytes, frames(bytes))
  }

  receive(wire: Wire, length: number): boolean {
    if (wire.empty) return false
    const { bytes, whole } = wire.take(length)
    // Before: the end may answer them at once.
    for (const frame of whole) this.watch.arrived(frame)
    this.touched = true
    this.connection.receive(bytes)
    return true
  }

  setWritable(to: boolean): void {
    if (to) this.touched = true
    this.connection.setWritable(to)
  }
}

/** The half that hears something, which may be only while it goes on. */
const heard = (stream: Stream<Half>): Half => {
  const half = stream.context as Half
  assert.ok(half.cut === undefined && half.ended === undefined, "a stream goes on behind its end")
  return half
}

type Command =
  | { readonly kind: "open"; readonly large: boolean }
  | { readonly kind: "hint"; readonly which: number }
  | {
      readonly kind: "send"
      readonly role: Role
      readonly which: number
      readonly size: number
      readonly last: boolean
    }
  | { readonly kind: "finish"; readonly role: Role; readonly which: number; readonly trailers: boolean }
  | { readonly kind: "reset"; readonly role: Role; readonly which: number }
  | { readonly kind: "take"; readonly role: Role; readonly which: number; readonly size: number }
  | { readonly kind: "ping"; readonly role: Role }
  | { readonly kind: "writable"; readonly role: Role; readonly to: boolean }
  | { readonly kind: "pretend"; readonly role: Role; readonly id: number; readonly value: number }
  | { readonly kind: "flush"; readonly role: Role }
  | { readonly kind: "receive"; readonly role: Role; readonly size: number }
  | { readonly kind: "drain" }
  | { readonly kind: "part"; readonly role: Role }

const role = fc.constantFrom<Role>("server", "client")
const which = fc.nat(maxStreams)
const size = fc.oneof(fc.nat(100), fc.nat(5000), fc.nat(70_000))
const kind = <K extends string>(name: K) => fc.constant(name)

const command: fc.Arbitrary<Command> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: kind("open"), large: fc.nat(15).map((n) => n === 0) }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("hint"), which }) },
  { weight: 7, arbitrary: fc.record({ kind: kind("send"), role, which, size, last: fc.nat(3).map((n) => n === 0) }) },
  { weight: 3, arbitrary: fc.record({ kind: kind("finish"), role, which, trailers: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("reset"), role, which }) },
  { weight: 4, arbitrary: fc.record({ kind: kind("take"), role, which, size }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("ping"), role }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("writable"), role, to: fc.boolean() }) },
  { weight: 8, arbitrary: fc.record({ kind: kind("flush"), role }) },
  { weight: 12, arbitrary: fc.record({ kind: kind("receive"), role, size }) },
  {
    weight: 3,
    arbitrary: fc
      .record({ role, id: fc.constantFrom(1, 3, 4, 4), part: fc.double({ min: 0, max: 1, noNaN: true }) })
      .map(({ role, id, part }) => {
        const most = id === 1 ? 4096 : id === 3 ? maxStreams : part < 0.8 ? 3000 : window
        return { kind: "pretend" as const, role, id, value: Math.round(part * most) }
      }),
  },
  {
    weight: 1,
    arbitrary: fc.oneof(
      { weight: 9, arbitrary: fc.constant({ kind: "ping" as const, role: "server" as const }) },
      { weight: 1, arbitrary: fc.constant({ kind: "drain" as const }) },
      { weight: 1, arbitrary: fc.record({ kind: kind("part"), role }) },
    ),
  },
)

const reaction = fc.constantFrom<Reaction>("nothing", "nothing", "head", "answer", "reset", "take", "take")

class Pair {
  readonly client: End
  readonly server: End
  private calls = 0
  private parted = false

  constructor(reactions: ReadonlyArray<Reaction>) {
    let at = 0
    const next = () => reactions[at++ % reactions.length] ?? "nothing"
    this.client = new End("client", next)
    this.server = new End("server", next)
  }

  private other({ role }: End): End {
    return role === "client" ? this.server : this.client
  }

  do(command: Command): void {
    const end = "role" in command && command.role === "client" ? this.client : this.server
    switch (command.kind) {
      case "open":
        return this.client.open(this.calls++, command.large)
      case "ping":
        return end.ping()
      case "writable":
        return end.setWritable(command.to)
      case "pretend":
        return end.pretend(command.id, command.value)
      case "flush":
        return void end.flush()
      case "receive":
        return void end.receive(this.other(end).out, command.size)
      case "drain":
        this.parted = true
        return this.server.connection.drain()
      case "part":
        if (end === this.server) this.parted = true
        return end.connection.part()
    }
    const on = command.kind === "hint" ? this.server : end
    // One of the latest: what was before has mostly ended.
    const chosen = on.halves.at(-1 - command.which)
    if (chosen === undefined) return
    const { half, stream } = chosen
    if (command.kind === "hint") on.hint(stream, half)
    else if (command.kind === "send") on.send(stream, half, command.size, command.last)
    else if (command.kind === "finish") on.finish(stream, half, command.trailers)
    else if (command.kind === "reset") on.reset(stream, half)
    else on.take(stream, half, command.size)
  }

  /** All that was under way arrives, and all that arrives is taken in. */
  private settle(): void {
    for (let moved = true; moved; ) {
      moved = false
      for (const end of [this.client, this.server]) {
        if (end.flush()) moved = true
        if (this.other(end).receive(end.out, Number.POSITIVE_INFINITY)) moved = true
        for (const { half, stream } of end.halves) {
          if (half.untaken === 0) continue
          moved = true
          end.take(stream, half, half.untaken)
        }
      }
    }
  }

  end(): void {
    for (const end of [this.client, this.server]) {
      end.setWritable(true)
      end.flush()
      end.pretend(4, window)
    }
    this.server.pretend(3, maxStreams)
    this.settle()
    for (const end of [this.client, this.server]) {
      for (const { half, stream } of end.halves) {
        assert.ok(!half.waits || half.done || half.cut !== undefined, "a stream drains, or is cut short")
        assert.equal(stream.pending.length, 0, "nothing waits")
        end.finish(stream, half, half.call % 3 === 0)
      }
      this.settle()
    }
    this.check()
  }

  private check(): void {
    for (const end of [this.client, this.server]) {
      assert.equal(end.connection.openStreams, 0)
      assert.equal(end.connection.over, false)
      assert.ok(end.watch.answered)
      assert.equal(end.pongs - (this.parted && end === this.server ? end.pongs - end.pingsSent : 0), end.pingsSent)
      // What was taken in is announced once it is half of the window.
      assert.ok(end.watch.credit > window / 2, `${end.watch.credit} of the connection's window are left`)
    }
    assert.equal(this.server.connection.done, this.parted)
    for (const { half } of this.client.halves) {
      const there = this.server.halves.find((one) => one.half.call === half.call)?.half
      if (there === undefined) {
        // It was cut short before it came there, or refused.
        assert.notEqual(half.cut, undefined)
        continue
      }
      if (half.cut === undefined) {
        assert.equal(half.received, there.sent, "the whole response")
        assert.deepEqual(half.ended, there.trailers)
      }
      if (there.cut === undefined && there.ended !== undefined) {
        assert.equal(there.received, half.sent, "the whole request")
        assert.deepEqual(there.ended, half.trailers)
      }
      // Who didn't cut it short hears of it, unless it had heard all.
      if (half.cut === "here") assert.ok(there.cut !== undefined || there.done)
      if (there.cut === "here") assert.ok(half.cut !== undefined || half.ended !== undefined)
      if (there.cut === undefined && half.cut === undefined) assert.ok(half.ended !== undefined)
    }
  }
}

describe("two ends", () => {
  test("tell each other all, in order and within the rules, whatever they do at any time", () => {
    fc.assert(
      fc.property(
        fc.array(command, { maxLength: 100, size: "max" }),
        fc.array(reaction, { minLength: 1, maxLength: 6 }),
        (commands, reactions) => {
          const pair = new Pair(reactions)
          for (const one of commands) pair.do(one)
          pair.end()
        },
      ),
      { numRuns: Math.ceil(2000 * Number(process.env.FUZZ_RUNS ?? 1)) },
    )
  })
})
