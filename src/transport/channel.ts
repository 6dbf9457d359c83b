/**
 * `connect`: a channel to a server.
 */

import type { Transport } from "@connectrpc/connect"
import type { CommonTransportOptions } from "@connectrpc/connect/protocol"
import { createTransport as createConnectTransport } from "@connectrpc/connect/protocol-connect"
import { createTransport as createGrpcWebTransport } from "@connectrpc/connect/protocol-grpc-web"
import { Clock, type Duration, Effect, type Scope } from "effect"
import * as Backoff from "../core/rpc/backoff.ts"
import { type Channel, type Connector, fromConnector } from "../core/rpc/channel.ts"
import type { Compression } from "../core/rpc/compression.ts"
import { toConnectCompression } from "./connect/compression.ts"
import { connector, type Transports } from "./connect/connector.ts"
import { universalClient } from "./connect/universalClient.ts"
import { GrpcClient } from "./grpc/client.ts"
import type { Opener } from "./http2/client.ts"
import { type Limits, limitsOf } from "./http2/limits.ts"
import { type MessageLimits, toConnectLimits } from "./limits.ts"
import { AddressError, parseAddress, type Target } from "./net/address.ts"
import { type ClientKeepaliveOptions, type ClientSession, clientTimes } from "./net/clientSession.ts"
import { dial } from "./net/dial.ts"
import * as Line from "./net/line.ts"
import { type ClientTlsOptions, clientTlsFault, toClientOptions } from "./net/tls.ts"

export { type Channel, type ChannelLayer, inMemory } from "../core/rpc/channel.ts"
export { AddressError }

/** The protocols that a channel can speak; a server of this package answers to all three. */
export type Protocol = "grpc" | "grpc-web" | "connect"

export const protocols: ReadonlyArray<Protocol> = ["grpc", "grpc-web", "connect"]

export interface ConnectOptions extends MessageLimits {
  /** Default: `grpc`. */
  readonly protocol?: Protocol
  /** How to speak TLS to `https:` addresses. Default: with the runtime's own certificate authorities. */
  readonly tls?: ClientTlsOptions
  /** Whether calls wait for a server that can't be reached, or fail with `unavailable`. Default: they fail. */
  readonly waitForReady?: boolean
  /** How long a server may take from the first packet to its HTTP/2 preface. Default: 20 seconds, as gRPC's. */
  readonly connectTimeout?: Duration.Input
  /** How long to wait between tries to connect. Default: gRPC's 1 s × 1.6, ±20 %, 120 s at most. */
  readonly backoff?: Backoff.Backoff
  /** When a server that says nothing is asked whether it is there. */
  readonly keepalive?: ClientKeepaliveOptions
  /** How long a connection may be without a call before it is closed. Default: 30 minutes. */
  readonly maxIdle?: Duration.Input
  /** How many connections there may be once a server's limit of streams is reached. Default: 16. */
  readonly maxConnections?: number
  /** What a server may make us hold or do on one connection. */
  readonly limits?: Partial<Limits>
}

const parse = (
  addresses: ReadonlyArray<string>,
  tls: ClientTlsOptions | undefined,
): Effect.Effect<ReadonlyArray<Target>, AddressError> => {
  if (addresses.length === 0)
    return new AddressError({ address: "", message: "there is no address: give at least one" })
  const fault = tls === undefined ? undefined : clientTlsFault(tls)
  if (fault !== undefined) {
    const [address = ""] = addresses
    return new AddressError({
      address,
      message: `cannot connect to ${address}: tls.${fault.option} ${fault.message}`,
    })
  }
  const secure = toClientOptions(tls)
  return Effect.forEach(addresses, (address) => Effect.fromResult(parseAddress(address, secure)))
}

/**
 * Opens a channel to a server's address: `http://host:port`, `https://host:port` or `unix:path`, over HTTP/2; or to
 * several of the same server, of which it takes the first that it can reach. It connects when first used, shares one
 * connection among all calls, and connects again when that one is lost. It closes with its scope.
 *
 * @example
 * const channel = (yield* connect("http://127.0.0.1:8080")).pipe(deadline("5 seconds"))
 * const { value } = yield* Client.make(PiCalculator, channel).calc({ n: 999 })
 */
export const connect = Effect.fnUntraced(function* (
  address: string | ReadonlyArray<string>,
  options: ConnectOptions = {},
): Effect.fn.Return<Channel, AddressError, Scope.Scope> {
  const { protocol = "grpc", waitForReady = false, tls, keepalive = {}, maxIdle = "30 minutes" } = options
  const { connectTimeout = "20 seconds", backoff = Backoff.connection, maxConnections = 16, limits } = options
  const targets = yield* parse(typeof address === "string" ? [address] : address, tls)
  const dialling = { times: clientTimes(keepalive, maxIdle), limits: limitsOf(limits), timeout: connectTimeout }
  const line = yield* Line.make<Target, ClientSession>({
    targets,
    dial: (target, side) => dial(target, dialling, side),
    backoff,
    maxConnections,
  })
  if (protocol !== "grpc") return fromConnector(overConnect(line, protocol, waitForReady, options))
  const clock = yield* Clock.Clock
  return fromConnector(new GrpcClient(line, { ...options, waitForReady, clock, connectivity: line.connectivity }))
})

/** The other protocols, which Connect-ES speaks. */
const overConnect = (
  line: Opener & Pick<Connector, "connectivity">,
  protocol: Exclude<Protocol, "grpc">,
  waitForReady: boolean,
  limits: MessageLimits,
): Connector => {
  const make = protocol === "connect" ? createConnectTransport : createGrpcWebTransport
  const common: Omit<CommonTransportOptions, "httpClient"> = {
    // Where the server is the line knows; only the path of what is asked for counts.
    baseUrl: "http://localhost",
    useBinaryFormat: true,
    interceptors: [],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: 0,
    writeMaxBytes: 0xffffffff,
    ...toConnectLimits(limits),
  }
  // A channel's layers are put on once, so there are as many transports as compressions in use, one or two, for calls that
  // wait and for those that don't.
  const made = new Map<boolean, Map<Compression | undefined, Transport>>([
    [true, new Map()],
    [false, new Map()],
  ])
  const transports: Transports = (compression, waits = waitForReady) => {
    const known = made.get(waits)?.get(compression)
    if (known !== undefined) return known
    const accepted = toConnectCompression(compression)
    const transport = make({
      ...common,
      ...accepted,
      httpClient: universalClient(line, waits),
      sendCompression: accepted.acceptCompression[0] ?? null,
    })
    made.get(waits)?.set(compression, transport)
    return transport
  }
  return connector(transports, line.connectivity)
}
