/**
 * A line in memory: its connections are real, but for their sockets; the test decides what becomes of each try to connect,
 * and speaks for the servers.
 */
import { Clock, Effect, Random, Stream } from "effect"
import * as Backoff from "../../../src/core/rpc/backoff.ts"
import type { State } from "../../../src/core/rpc/connectivity.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import {
  type Caller,
  type Carrier,
  type ClientConnection,
  type ClientStream,
  clientConnection,
  type Origin,
} from "../../../src/transport/http2/client.ts"
import { errorCode, frameType } from "../../../src/transport/http2/frames.ts"
import * as Line from "../../../src/transport/net/line.ts"
import { settle } from "../../core/support.ts"
import { block, fields, headers, requestFields, settings, uint32 } from "../http2/support.ts"
import { frame } from "../support.ts"

const answerHead = block(fields({ ":status": "200" }))

export const unavailable = (message: string): RpcError => new RpcError({ code: "unavailable", message })

/** The server takes so many streams at once. */
export const takes = (streams: number): Uint8Array => settings([3, streams])

export class MemorySession implements Line.LineSession {
  readonly target: string
  readonly origin: Origin = { scheme: "http", authority: "localhost" }
  readonly connection: ClientConnection
  leaving = false
  lost: RpcError | undefined
  uses = 0
  private readonly side: Line.LineSide<MemorySession>

  constructor(target: string, side: Line.LineSide<MemorySession>) {
    this.target = target
    this.side = side
    this.connection = clientConnection({
      output: () => {},
      goaway: () => this.leave(),
      room: side.room,
      failed: ({ message }) => {
        this.lost = unavailable(message)
        this.leave()
      },
    })
  }

  use(): void {
    this.uses += 1
  }

  doubt(): void {}

  end(reason: RpcError): void {
    this.lost = reason
    this.leave()
    this.connection.abandon()
    this.side.closed(this)
  }

  /** What the server says. */
  says(...parts: ReadonlyArray<Uint8Array>): void {
    for (const part of parts) this.connection.receive(part)
  }

  /** The server answers a stream, the oldest one if none is given, and ends it. */
  answer(stream = this.connection.all()[0]): void {
    if (stream !== undefined) this.says(headers(stream.id, true, answerHead))
  }

  /** The server says that it takes no further streams, and refuses those after `last`. */
  goaway(last = 0x7fff_ffff): void {
    this.says(frame(frameType.goaway, 0, 0, uint32(last, errorCode.noError)))
  }

  /** The connection breaks. */
  break(): void {
    this.end(unavailable("the connection was lost"))
  }

  private leave(): void {
    if (this.leaving) return
    this.leaving = true
    this.side.left(this)
  }
}

/** What becomes of a caller; it keeps all. */
export class Asking implements Caller {
  readonly waitForReady: boolean
  readonly opens: Array<readonly [Carrier, ClientStream]> = []
  readonly errors: Array<RpcError> = []
  readonly resets: Array<number> = []
  ended = 0
  onOpened: ((carrier: Carrier) => void) | undefined

  constructor(waitForReady = false) {
    this.waitForReady = waitForReady
  }

  /** True if it has been told neither. */
  get waits(): boolean {
    return this.opens.length + this.errors.length === 0
  }

  fields() {
    return requestFields
  }
  opened(carrier: Carrier, stream: ClientStream): void {
    this.opens.push([carrier, stream])
    carrier.connection.sendEnd(stream)
    this.onOpened?.(carrier)
  }
  unopened(error: RpcError): void {
    this.errors.push(error)
  }
  head(): void {}
  data(): void {}
  end(): void {
    this.ended += 1
  }
  reset(code: number): void {
    this.resets.push(code)
  }
  drained(): void {}
}

/** A try to connect that is under way. */
export interface Try {
  readonly target: string
  /** When it began, in milliseconds. */
  readonly at: number
  /** It succeeds, with a server that takes so many streams at once, and may be about to go away. */
  readonly succeed: (streams?: number, leaves?: boolean) => MemorySession
  readonly fail: (message?: string) => void
  interrupted: boolean
  over: boolean
}

export interface MemoryLineOptions {
  readonly targets?: ReadonlyArray<string>
  readonly maxConnections?: number
  /** What is drawn for the jitter, from 0 to 1. Default: 0.5, which is none. */
  readonly draw?: () => number
  /** Called when a try begins, with how many there were before it. */
  readonly onTry?: (one: Try, before: number) => void
}

export const memoryLine = Effect.fnUntraced(function* ({
  targets = ["a"],
  maxConnections = 16,
  draw = () => 0.5,
  onTry = () => {},
}: MemoryLineOptions = {}) {
  const tries: Array<Try> = []
  const sessions: Array<MemorySession> = []
  const clock = yield* Clock.Clock
  const dial = (target: string, side: Line.LineSide<MemorySession>) =>
    Effect.callback<MemorySession, RpcError>((resume) => {
      const one: Try = {
        target,
        at: clock.currentTimeMillisUnsafe(),
        interrupted: false,
        over: false,
        succeed: (streams = 100, leaves = false) => {
          one.over = true
          const session = new MemorySession(target, side)
          sessions.push(session)
          session.says(takes(streams))
          if (leaves) session.goaway()
          resume(Effect.succeed(session))
          return session
        },
        fail: (message = `no ${target}`) => {
          one.over = true
          resume(Effect.fail(unavailable(message)))
        },
      }
      onTry(one, tries.push(one) - 1)
      return Effect.sync(() => {
        one.interrupted = true
        one.over = true
      })
    })
  const line = yield* Effect.provideService(
    Line.make<string, MemorySession>({ targets, dial, backoff: Backoff.connection, maxConnections }),
    Random.Random,
    { nextDoubleUnsafe: draw, nextIntUnsafe: () => 0 },
  )
  const states: Array<State> = []
  yield* Effect.forkScoped(
    Stream.runForEach(line.connectivity.changes, (state) => Effect.sync(() => void states.push(state))),
  )
  yield* settle
  const ask = (waitForReady?: boolean): Asking => {
    const caller = new Asking(waitForReady)
    line.open(caller)
    return caller
  }
  /** Lets the try that is under way come to its end, and what follows from it happen. */
  const during = <A>(act: (last: Try) => A): Effect.Effect<A> =>
    Effect.gen(function* () {
      yield* settle
      const last = tries.at(-1)
      if (last === undefined || last.over) return yield* Effect.die(new Error("nothing connects"))
      const made = act(last)
      yield* settle
      return made
    })
  return {
    line,
    tries,
    sessions,
    states,
    ask,
    /** The try under way succeeds, with a server that takes so many streams at once. */
    succeed: (streams?: number) => during((last) => last.succeed(streams)),
    fail: (message?: string) => during((last) => last.fail(message)),
  }
})
