/**
 * The transport: binds services of the core to the world. It runs alike on Bun, Deno and Node.
 *
 * @module
 */
export {
  AddressError,
  type Channel,
  type ChannelLayer,
  type ConnectOptions,
  connect,
  inMemory,
  type Protocol,
  protocols,
} from "./channel.ts"
export * as Client from "./client.ts"
export { createTransport, type OwnTransport, toTransport } from "./connect/transport.ts"
export { type DiscoverOptions, discover } from "./discover.ts"
export { type DnsOptions, dns } from "./dns/registry.ts"
export { type EtcdOptions, etcd } from "./etcd/registry.ts"
export { type ExecutionContext, type FetchHandler, toFetch } from "./fetch.ts"
export { healthService } from "./health.ts"
export type { Http1Options } from "./http1/times.ts"
export type { Limits } from "./http2/limits.ts"
export { brotli, type CompressionOptions, compression, encodings, gzip, zstd } from "./layers/compression.ts"
export type { MessageLimits } from "./limits.ts"
export type { ClientKeepaliveOptions } from "./net/clientSession.ts"
export type { KeepaliveOptions } from "./net/keepalive.ts"
export type { LifetimeOptions } from "./net/lifetime.ts"
export type { ListenOptions } from "./net/listen.ts"
export { ListenError } from "./net/listenError.ts"
export type { MemoryOptions, MemoryUse } from "./net/memory.ts"
export type { ClientTlsOptions, TlsOptions } from "./net/tls.ts"
export { type OpenedRegistry, openRegistry, type RegistryOptions } from "./registry.ts"
export { type Routes, type ServeOptions, type Server, serve } from "./server.ts"
export * as Service from "./service.ts"
