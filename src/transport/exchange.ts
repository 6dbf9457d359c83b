/**
 * An exchange: one request and its response, whatever carries them: a stream of HTTP/2, HTTP/1.1, or `fetch`. The
 * protocols that are the same on all three are written against it.
 *
 * Source: RFC 9110, section 3.4, "Messages".
 */
import type { Peer } from "../core/rpc/call.ts"
import type { ErrorCode } from "./http2/frames.ts"
import type { StreamHandler } from "./http2/handler.ts"
import type { RequestHead } from "./http2/head.ts"
import type { Field } from "./http2/hpack.ts"

/** The response of an exchange, and what is said of its request. All of it does nothing once the exchange is closed. */
export interface Exchange {
  /** Where the request came from. */
  readonly peer: Peer
  /** True once nothing can be sent any more. */
  readonly closed: boolean
  /** True if the status of a call can stand behind the body: not over `fetch`, and not over HTTP/1.1. */
  readonly hasTrailers: boolean
  /** How large a header list the peer takes, as `sizeOfAll` counts. */
  readonly maxHeaderListSize: number
  /** Where the runtime ends what a request began with its response: tells it of work that goes on. */
  readonly waitUntil?: ((work: Promise<unknown>) => void) | undefined
  /** Sends the head of the response, `:status` first. */
  readonly sendHeaders: (fields: ReadonlyArray<Field>, endStream: boolean) => void
  /** Sends a piece of the body. False if some of it waits: then `drained` comes when more is welcome. */
  readonly sendData: (bytes: Uint8Array) => boolean
  /** Ends the response, with trailers or without. */
  readonly sendEnd: (trailers?: ReadonlyArray<Field>) => void
  /** Cuts the exchange short. */
  readonly reset: (code: ErrorCode) => void
  /**
   * Says that bytes of the request's body were consumed: the peer may send as many more. `released` are those that are no
   * longer held, where that isn't as many: parts of a message wait for the rest. Default: all of them.
   * Fewer than none are more, since a message was decompressed.
   */
  readonly consumed: (length: number, released?: number) => void
  /** Where it can be: what waits to be sent at a moment, by `performance.now()`, is dropped. */
  readonly sendBy?: (at: number) => void
}

/** The request of an exchange, as it arrives. Its handler says when pieces of the body were `consumed`. */
export type RequestHandler = StreamHandler

/** Takes a request, and gives who handles the rest of it. */
export type Answerer = (exchange: Exchange, head: RequestHead) => RequestHandler
