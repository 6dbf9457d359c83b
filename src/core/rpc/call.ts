/**
 * A call as the programs and layers on either side see it.
 */
import { Context, Effect } from "effect"
import type { RpcError } from "./error.ts"
import * as Metadata from "./metadata.ts"
import { networkOf } from "./network.ts"

export type Kind = "unary" | "server_streaming" | "client_streaming" | "bidi_streaming"

/** What a method promises about being run again; it decides what may be repeated, cached or sent as a GET. */
export type Idempotency = "unknown" | "idempotent" | "no_side_effects"

export interface Method {
  /** The full name of the service, such as `pi.PiCalculator`. */
  readonly service: string
  /** The name of the method, such as `Calc`. */
  readonly name: string
  readonly kind: Kind
  readonly idempotency: Idempotency
  readonly messages: MessageCodec
}

/** How the messages of a method become bytes and back: what they have on the wire, before it is compressed. */
export interface MessageCodec {
  readonly encodeRequest: (request: unknown) => Uint8Array
  readonly encodeAnswer: (answer: unknown) => Uint8Array
  /** Throws where the bytes are none of an answer. */
  readonly decodeAnswer: (bytes: Uint8Array) => unknown
}

export interface Peer {
  /** Host and port of the other side; `undefined` where there is none, as in memory or at the edge. */
  readonly address: string | undefined
  /** What its certificate says of it; only where there is one, and it has been checked. */
  readonly identity?: Identity
}

// A connection has one peer for all of its calls.
const hosts = new WeakMap<Peer, string>()

/** What a peer's shares are counted for: its address without the port, and of IPv6 its network. */
export const hostOf = (peer: Peer): string | undefined => {
  if (peer.address === undefined) return undefined
  const known = hosts.get(peer)
  if (known !== undefined) return known
  const host = networkOf(peer.address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1"))
  hosts.set(peer, host)
  return host
}

export interface Identity {
  /** The subject's common name; `undefined` where it has none, as in SPIFFE's certificates, or several. */
  readonly subject: string | undefined
  /**
   * Its alternative names as OpenSSL writes them, such as `DNS:a.example, URI:spiffe://b`. A name with a comma stands in
   * quotes, but on Deno 2.9: trust no authority there that signs such names.
   */
  readonly names: string | undefined
}

/** What the server sends beside the messages. On a client it fills as it arrives, anew for each attempt. */
export interface ResponseMetadata {
  header: Metadata.Metadata
  trailer: Metadata.Metadata
  /**
   * On a client, true once no other attempt may follow this one: the server has begun to answer with more than an error,
   * or more was sent than is kept to be sent again.
   *
   * Source: gRPC's proposal A6, "When Retries are Valid".
   */
  committed: boolean
  /** On a client, how many attempts have failed so far, and what the last of them met. */
  met?: { readonly attempts: number; readonly last: RpcError }
  /** On a server, sends the header before there is a message. Not there where the transport can't do that. */
  flush?: () => void
}

/** A response of which nothing has come yet. */
export const noResponse = (): ResponseMetadata => ({
  header: Metadata.empty,
  trailer: Metadata.empty,
  committed: false,
})

export interface CallInfo {
  readonly method: Method
  /** What the client sent. */
  readonly metadata: Metadata.Metadata
  /**
   * When the call must have ended, in milliseconds of monotonic time; `undefined` for no limit. `Deadline.remaining` says
   * how long that is from now. It is no time of day, and means nothing in another process.
   */
  readonly deadline: number | undefined
  readonly peer: Peer
  readonly response: ResponseMetadata
  /**
   * On a client, whether the call waits for a server that can't be reached now, or fails with `unavailable`. Default: what
   * the channel was told.
   */
  readonly waitForReady?: boolean
}

/**
 * The call that a program serves. A transport provides it; a program that asks for it stays free of any transport.
 *
 * @example
 * const whoami = Effect.map(Call, (call) => ({ name: Metadata.getText(call.metadata, "x-user") ?? "nobody" }))
 */
export class Call extends Context.Service<Call, CallInfo>()("basel/rpc/Call") {}

/** The path of a method: `/pi.PiCalculator/Calc`. */
export const path = (method: Method): string => `/${method.service}/${method.name}`

/**
 * Sends metadata before the first message. It must run before the program's first message, or before it ends.
 *
 * @example yield* sendHeader({ "x-served-by": "basel" })
 */
export const sendHeader = (input: Metadata.Input): Effect.Effect<void, never, Call> =>
  Effect.map(Call, ({ response }) => {
    response.header = Metadata.concat(response.header, Metadata.of(input))
  })

/** Sends metadata after the last message. */
export const sendTrailer = (input: Metadata.Input): Effect.Effect<void, never, Call> =>
  Effect.map(Call, ({ response }) => {
    response.trailer = Metadata.concat(response.trailer, Metadata.of(input))
  })

/**
 * Sends the header at once, where it would wait for the first message: the client then knows that the program has come this
 * far. Nothing can be added to the header after that. Only gRPC over HTTP/2 can do it for streams of answers; elsewhere this
 * does nothing.
 *
 * @example yield* Effect.andThen(subscribed, flushHeader)
 */
export const flushHeader: Effect.Effect<void, never, Call> = Effect.map(Call, ({ response }) => response.flush?.())
