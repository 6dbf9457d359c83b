/**
 * `connect`: a channel to a server.
 */

import type { Transport } from "@connectrpc/connect"
import type { UniversalClientFn } from "@connectrpc/connect/protocol"
import { createTransport as createConnectTransport } from "@connectrpc/connect/protocol-connect"
import { createTransport as createGrpcWebTransport } from "@connectrpc/connect/protocol-grpc-web"
import { Array as Arr, type Duration, Effect, type Scope } from "effect"
import * as Backoff from "../core/rpc/backoff.ts"
import { type Channel, type Connector, fromConnector } from "../core/rpc/channel.ts"
import { always, type Connectivity } from "../core/rpc/connectivity.ts"
import { toConnectCompression } from "./connect/compression.ts"
import { connector, type TransportOf, type Transports } from "./connect/connector.ts"
import { http1Client } from "./connect/http1Client.ts"
import { universalClient } from "./connect/universalClient.ts"
import * as GrpcClient from "./grpc/client.ts"
import type { Origin } from "./http2/client.ts"
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
  /** How messages are written; protobuf's own form is the shorter one. Default: `proto`. */
  readonly codec?: "proto" | "json"
  /** Whether Connect sends unary calls of methods without side effects as GET, which caches answer. Default: false. */
  readonly httpGet?: boolean
  /**
   * `1.1` for Connect and gRPC-Web through what knows no other, to the first address and by the runtime's own client; gRPC
   * is HTTP/2 always. Default: `2`.
   *
   * @example connect("https://pi.example.workers.dev", { protocol: "connect", httpVersion: "1.1" })
   */
  readonly httpVersion?: "1.1" | "2"
  /** How to speak TLS to `https:` addresses. Default: with the runtime's own certificate authorities. */
  readonly tls?: ClientTlsOptions
  /** Whether calls wait for a server that can't be reached, or fail with `unavailable`. Default: they fail. */
  readonly waitForReady?: boolean
  /** How long a server may take from the first packet to its HTTP/2 preface. Default: 20 seconds, as gRPC's. */
  readonly connectTimeout?: Duration.Input
  /**
   * How long a server may take for a frame of HTTP/2, or for a header block of several, from its first bytes to its last.
   * After that the connection is closed, and its calls are `unavailable`. Default: 30 seconds.
   *
   * Source: RFC 9113, sections 4.3 and 10.5.
   *
   * @example
   * connect("http://127.0.0.1:8080", { frameTimeout: "5 seconds" })
   */
  readonly frameTimeout?: Duration.Input
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
): Effect.Effect<Arr.NonEmptyReadonlyArray<Target>, AddressError> => {
  const fail = (address: string, message: string) => Effect.fail(new AddressError({ address, message }))
  if (!Arr.isReadonlyArrayNonEmpty(addresses)) return fail("", "there is no address: give at least one")
  const fault = tls === undefined ? undefined : clientTlsFault(tls)
  if (fault !== undefined) {
    const [address] = addresses
    return fail(address, `cannot connect to ${address}: tls.${fault.option} ${fault.message}`)
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
  const { codec = "proto", httpVersion = "2" } = options
  const { connectTimeout = "20 seconds", backoff = Backoff.connection, maxConnections = 16, limits } = options
  const targets = yield* parse(typeof address === "string" ? [address] : address, tls)
  const dialling = {
    times: clientTimes(keepalive, maxIdle, options.frameTimeout),
    limits: limitsOf(limits),
    timeout: connectTimeout,
  }
  const [first] = targets
  if (httpVersion === "1.1" && protocol !== "grpc") {
    const overHttp1 = yield* http1Client(first)
    return fromConnector(overConnect(() => overHttp1, always("ready"), options, first.origin))
  }
  const line = yield* Line.make<Target, ClientSession>({
    targets,
    dial: (target, side) => dial(target, dialling, side),
    backoff,
    maxConnections,
  })
  if (protocol === "grpc") {
    const { connectivity } = line
    return fromConnector(yield* GrpcClient.make(line, { ...options, codec, waitForReady, connectivity }))
  }
  const overHttp2 = (waits: boolean) => universalClient(line, waits)
  return fromConnector(overConnect(overHttp2, line.connectivity, options, first.origin))
})

/** The other protocols, which Connect-ES speaks. */
const overConnect = (
  httpClient: (waitForReady: boolean) => UniversalClientFn,
  connectivity: Connectivity,
  { protocol, codec = "proto", httpGet = false, waitForReady = false, ...limits }: ConnectOptions,
  { scheme, authority }: Origin,
): Connector => {
  const make = protocol === "connect" ? createConnectTransport : createGrpcWebTransport
  const common = {
    baseUrl: `${scheme}://${authority}`,
    useBinaryFormat: codec === "proto",
    useHttpGet: httpGet,
    interceptors: [],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: 0,
    writeMaxBytes: 0xffffffff,
    ...toConnectLimits(limits),
  }
  // A channel's layers are put on once, so a service has as many transports as compressions in use, one or two, for calls
  // that wait and for those that don't.
  const made: Array<{ readonly of: TransportOf; readonly transport: Transport }> = []
  const transports: Transports = (of) => {
    const { compression, types, waitForReady: waits = waitForReady } = of
    const known = made.find(
      (one) => one.of.compression === compression && one.of.types === types && one.of.waitForReady === of.waitForReady,
    )
    if (known !== undefined) return known.transport
    const accepted = toConnectCompression(compression)
    const transport = make({
      ...common,
      ...accepted,
      httpClient: httpClient(waits),
      sendCompression: accepted.acceptCompression[0] ?? null,
      // At 0 Connect-ES leaves the empty request of a unary call as it is.
      compressMinBytes: accepted.compressMinBytes === 0 ? -1 : accepted.compressMinBytes,
      jsonOptions: { registry: types },
      binaryOptions: { readUnknownFields: limits.keepUnknownFields === true },
    })
    made.push({ of, transport })
    return transport
  }
  return connector(transports, connectivity, limits.types)
}
