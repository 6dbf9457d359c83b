/**
 * `connect`: a channel to a server.
 */

import type { Registry } from "@bufbuild/protobuf"
import type { Transport } from "@connectrpc/connect"
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
import { http1Client } from "./connect/http1Client.ts"
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
  /** How messages are written; protobuf's own form is the shorter one. Default: `proto`. */
  readonly codec?: "proto" | "json"
  /** Whether Connect sends unary calls of methods without side effects as GET, which caches answer. Default: false. */
  readonly httpGet?: boolean
  /** `1.1` for Connect and gRPC-Web through what knows no other; gRPC is HTTP/2 always. Default: `2`. */
  readonly httpVersion?: "1.1" | "2"
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
 * Opens a channel to a server's address, without TLS. It connects when first used, shares one connection of HTTP/2 among
 * all calls, connects again when that one is lost, and closes with its scope.
 *
 * @example
 * const channel = (yield* connect("http://127.0.0.1:8080")).pipe(deadline("5 seconds"))
 * const { value } = yield* Client.make(PiCalculator, channel).calc({ n: 999 })
 */
export const connect = Effect.fnUntraced(function* (
  address: string,
  { protocol = "grpc", codec = "proto", httpGet = false, httpVersion = "2", ...limits }: ConnectOptions = {},
): Effect.fn.Return<Channel, AddressError, Scope.Scope> {
  const { origin, hostname, port } = yield* parse(address)
  // A URL has brackets around an IPv6 address, a socket hasn't.
  const host = hostname.replace(/^\[|\]$/g, "")
  const http2Client = Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => dial(host, port === "" ? 80 : Number(port))),
      (dialed) => Effect.sync(dialed.close),
    ),
    universalClient,
  )
  const common: CommonTransportOptions & { readonly useHttpGet: boolean } = {
    httpClient: yield* httpVersion === "1.1" && protocol !== "grpc" ? http1Client() : http2Client,
    baseUrl: origin,
    useBinaryFormat: codec === "proto",
    useHttpGet: httpGet,
    interceptors: [],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: 0,
    writeMaxBytes: 0xffffffff,
    ...toConnectLimits(limits),
  }
  // A channel's layers are put on once, so a service has as many transports as compressions in use: one or two.
  const transports = new WeakMap<Registry, Map<Compression | undefined, Transport>>()
  return fromConnector(
    connector((compression, types) => {
      const ofService = transports.get(types) ?? new Map<Compression | undefined, Transport>()
      transports.set(types, ofService)
      let transport = ofService.get(compression)
      if (transport === undefined) {
        const accepted = toConnectCompression(compression)
        transport = createTransport[protocol]({
          ...common,
          ...accepted,
          sendCompression: accepted.acceptCompression[0] ?? null,
          // At 0 Connect-ES leaves the empty request of a unary call as it is.
          compressMinBytes: accepted.compressMinBytes === 0 ? -1 : accepted.compressMinBytes,
          jsonOptions: { registry: types },
        })
        ofService.set(compression, transport)
      }
      return transport
    }, always("ready")),
  )
})
