/**
 * `connect`: a channel to a server.
 */

import type { CommonTransportOptions } from "@connectrpc/connect/protocol"
import { createTransport as createConnectTransport } from "@connectrpc/connect/protocol-connect"
import { createTransport as createGrpcTransport } from "@connectrpc/connect/protocol-grpc"
import { createTransport as createGrpcWebTransport } from "@connectrpc/connect/protocol-grpc-web"
import { Data, Effect, type Scope } from "effect"
import { type Channel, fromConnector } from "../core/rpc/channel.ts"
import type { Compression } from "../core/rpc/compression.ts"
import { always } from "../core/rpc/connectivity.ts"
import { toConnectCompression } from "./connect/compression.ts"
import { connector } from "./connect/connector.ts"
import { universalClient } from "./connect/universalClient.ts"
import { type MessageLimits, toConnectLimits } from "./limits.ts"
import { dial } from "./net/dial.ts"

export { type Channel, type ChannelLayer, inMemory } from "../core/rpc/channel.ts"

/** The protocols that a channel can speak; a server of this package answers to all three. */
export type Protocol = "grpc" | "grpc-web" | "connect"

export const protocols: ReadonlyArray<Protocol> = ["grpc", "grpc-web", "connect"]

const createTransport = {
  grpc: createGrpcTransport,
  "grpc-web": createGrpcWebTransport,
  connect: createConnectTransport,
}

/** An address that can't be connected to, since it isn't one. The message says what is wrong with it. */
export class AddressError extends Data.TaggedError("AddressError")<{
  readonly address: string
  readonly message: string
}> {}

export interface ConnectOptions extends MessageLimits {
  /** Default: `grpc`. */
  readonly protocol?: Protocol
}

const parse = (address: string): Effect.Effect<URL, AddressError> => {
  const fail = (what: string) =>
    Effect.fail(
      new AddressError({ address, message: `${JSON.stringify(address)} ${what}, such as http://127.0.0.1:8080` }),
    )
  if (!URL.canParse(address)) return fail("is not an address: give a URL")
  const url = new URL(address)
  return url.protocol === "http:"
    ? Effect.succeed(url)
    : fail(`begins with "${url.protocol}" and not "http:": give a URL`)
}

/**
 * Opens a channel to a server's address, over HTTP/2 without TLS. It connects when first used, shares one connection
 * among all calls, connects again when that one is lost, and closes with its scope.
 *
 * @example
 * const channel = (yield* connect("http://127.0.0.1:8080")).pipe(deadline("5 seconds"))
 * const { value } = yield* Client.make(PiCalculator, channel).calc({ n: 999 })
 */
export const connect = Effect.fnUntraced(function* (
  address: string,
  { protocol = "grpc", ...limits }: ConnectOptions = {},
): Effect.fn.Return<Channel, AddressError, Scope.Scope> {
  const { origin, hostname, port } = yield* parse(address)
  // A URL has brackets around an IPv6 address, a socket hasn't.
  const host = hostname.replace(/^\[|\]$/g, "")
  const line = yield* Effect.acquireRelease(
    Effect.sync(() => dial(host, port === "" ? 80 : Number(port))),
    (dialed) => Effect.sync(dialed.close),
  )
  const common: CommonTransportOptions = {
    httpClient: universalClient(line),
    baseUrl: origin,
    useBinaryFormat: true,
    interceptors: [],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: 0,
    writeMaxBytes: 0xffffffff,
    ...toConnectLimits(limits),
  }
  // A channel's layers are put on once, so there are as many transports as compressions in use: one or two.
  const transports = new Map<Compression | undefined, ReturnType<typeof createGrpcTransport>>()
  return fromConnector(
    connector((compression) => {
      let transport = transports.get(compression)
      if (transport === undefined) {
        const accepted = toConnectCompression(compression)
        transport = createTransport[protocol]({
          ...common,
          ...accepted,
          sendCompression: accepted.acceptCompression[0] ?? null,
        })
        transports.set(compression, transport)
      }
      return transport
    }, always("ready")),
  )
})
