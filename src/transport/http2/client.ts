/**
 * A client's connection whose streams have handlers, and how a call gets a stream.
 */
import type { RpcError } from "../../core/rpc/error.ts"
import { Connection } from "./connection.ts"
import { type ConnectionError, errorCode } from "./frames.ts"
import type { ResponseHead } from "./head.ts"
import type { Field } from "./hpack.ts"
import { defaultLimits, type Limits } from "./limits.ts"
import type { MemoryBudget } from "./memory.ts"
import type { Stream } from "./stream.ts"

/** What happens on one stream that a client has opened. */
export interface ResponseHandler {
  /** The response has begun. */
  readonly head: (head: ResponseHead) => void
  /** A piece of its body, valid during the call only. Whoever has taken it in tells the connection. */
  readonly data: (bytes: Uint8Array, start: number, end: number) => void
  /** It has ended. */
  readonly end: (trailers: ReadonlyArray<Field>) => void
  /** The stream was cut short; `tooLong` says why if the response went beyond our own limit. */
  readonly reset: (code: number, tooLong?: string) => void
  /** What waited to be sent is on its way. */
  readonly drained: () => void
  /** There is no memory for what the stream holds. Without this, or if it doesn't end the stream, that is reset. */
  readonly exhausted?: (budget: MemoryBudget) => void
}

export type ClientConnection = Connection<ResponseHandler>
export type ClientStream = Stream<ResponseHandler>

/** The server as requests name it. */
export interface Origin {
  readonly scheme: "http" | "https"
  readonly authority: string
}

/** A connection that is in use. */
export interface Carrier {
  readonly connection: ClientConnection
  readonly origin: Origin
  /** True once the server takes no more streams on it. */
  readonly leaving: boolean
  /** Why it ended; `undefined` until it does. */
  readonly lost: RpcError | undefined
  /**
   * A call that began at this time, by `performance.now`, has reached its deadline: if nothing was heard since, the server is
   * asked whether it is there.
   */
  readonly doubt: (since: number) => void
}

/** Who wants a stream. */
export interface Caller extends ResponseHandler {
  /** Whether to wait for a server that can't be reached. */
  readonly waitForReady: boolean
  /** What the request begins with. */
  readonly fields: (origin: Origin) => ReadonlyArray<Field>
  /** The stream is there, and its head is on its way. */
  readonly opened: (carrier: Carrier, stream: ClientStream) => void
  /** There will be no stream. */
  readonly unopened: (error: RpcError) => void
}

/** Gets streams for callers. */
export interface Opener {
  /** Opens a stream, at once if it can. */
  readonly open: (caller: Caller) => void
  /** Why who waits for a stream has none yet. */
  readonly trouble: string
  /** Forgets a caller who waits for a stream and wants none any more. */
  readonly forget: (caller: Caller) => void
}

export interface ClientSide {
  /** Bytes wait to be sent. */
  readonly output: () => void
  /** The server takes no more streams on this connection. */
  readonly goaway: (code: number) => void
  /** A stream has ended, or the server has new settings: one that had to wait may be opened now. */
  readonly room: () => void
  /** The server has broken the rules: send what is there to send, then close. */
  readonly failed: (error: ConnectionError) => void
}

const printable = /^[\x20-\x7e]*$/

/** What to say of a response whose head or trailers are too large. */
const tooLong = (what: string, { maxHeaderListSize }: Limits, essentials: ReadonlyArray<Field>): string => {
  const said = essentials.filter(({ value }) => printable.test(value)).map(({ name, value }) => `${name}: ${value}`)
  const limit = `the response has ${what} of more than the ${maxHeaderListSize} bytes that limits.maxHeaderListSize allows`
  return said.length === 0 ? limit : `${limit}; it says ${said.join(", ")}`
}

export const clientConnection = (
  side: ClientSide,
  limits: Limits = defaultLimits,
  memory?: MemoryBudget,
): ClientConnection => {
  const connection: ClientConnection = new Connection<ResponseHandler>(
    {
      head: (stream, head) => {
        // A client's connection parses responses only, and informational ones say nothing that matters here.
        if ("status" in head && head.status >= 200) stream.context?.head(head)
      },
      headTooLong: (stream, essentials) => {
        connection.reset(stream, errorCode.cancel)
        stream.context?.reset(errorCode.cancel, tooLong("a head", limits, essentials))
        side.room()
      },
      trailersTooLong: (stream, essentials) => {
        stream.context?.reset(errorCode.cancel, tooLong("trailers", limits, essentials))
        side.room()
      },
      data: (stream, bytes, start, end) => stream.context?.data(bytes, start, end),
      end: (stream, trailers) => {
        stream.context?.end(trailers)
        side.room()
      },
      reset: (stream, code) => {
        stream.context?.reset(code)
        side.room()
      },
      drained: (stream) => stream.context?.drained(),
      exhausted: (stream, budget) => stream.context?.exhausted?.(budget),
      goaway: (_, code) => side.goaway(code),
      pong: () => {},
      settings: side.room,
      output: side.output,
      failed: side.failed,
    },
    { role: "client", limits, ...(memory && { memory }) },
  )
  return connection
}
