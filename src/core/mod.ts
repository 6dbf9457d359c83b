/**
 * The core: pure programs, and what any RPC program needs. It imports `effect` and nothing else, so it runs wherever
 * JavaScript does: in a test, at the edge, in a browser, behind any transport.
 *
 * @module
 */
export { type BalancedOptions, balanced } from "./balance/balancer.ts"
export * as Cache from "./cache/cache.ts"
export { type MemoryOptions, memory } from "./cache/memory.ts"
export { prefixed } from "./cache/prefixed.ts"
export type { Change, Condition, Entry, IncrementOptions, SetOptions, Store } from "./cache/store.ts"
export { endpoints } from "./discovery/endpoints.ts"
export { type MemoryRegistryOptions, memoryRegistry } from "./discovery/memory.ts"
export { type RegisteredOptions, registered } from "./discovery/registered.ts"
export type { Endpoint, Registration, Registry } from "./discovery/registry.ts"
export { staticRegistry } from "./discovery/static.ts"
export * as Health from "./health/health.ts"
export { type CachedOptions, cached } from "./layers/cached.ts"
export { type CircuitBreakerOptions, circuitBreaker } from "./layers/circuitBreaker.ts"
export { type ConcurrencyLimitOptions, concurrencyLimit } from "./layers/concurrencyLimit.ts"
export { type DeadlineOptions, deadline } from "./layers/deadline.ts"
export { delay } from "./layers/delay.ts"
export { type HedgeOptions, hedge } from "./layers/hedge.ts"
export { type CallLayer, intercept } from "./layers/intercept.ts"
export { interceptMessages, type MessageInterceptor, type MessageInterceptors } from "./layers/interceptMessages.ts"
export { type LeastRequestOptions, leastRequest } from "./layers/leastRequest.ts"
export { metadata } from "./layers/metadata.ts"
export { type OutlierEjectionOptions, outlierEjection } from "./layers/outlierEjection.ts"
export { type PickFirstOptions, pickFirst } from "./layers/pickFirst.ts"
export { type RetryOptions, retry } from "./layers/retry.ts"
export { type RingHashOptions, ringHash } from "./layers/ringHash.ts"
export { roundRobin } from "./layers/roundRobin.ts"
export { serviceConfig } from "./layers/serviceConfig.ts"
export { type SubsetOptions, subset } from "./layers/subset.ts"
export { type TracingOptions, tracing } from "./layers/tracing.ts"
export * as Calculator from "./pi/calculator.ts"
export * as Journal from "./pi/journal.ts"
export { type Policy, skipHalf, skipWith } from "./pi/policy.ts"
export { closedForm, piClosedForm, type Series, summation } from "./pi/series.ts"
export type { Repeatable } from "./rpc/attempt.ts"
export { Background } from "./rpc/background.ts"
export * as Backoff from "./rpc/backoff.ts"
export {
  Call,
  type CallInfo,
  flushHeader,
  type Idempotency,
  type Identity,
  type Kind,
  type Method,
  type Peer,
  type ResponseMetadata,
  sendHeader,
  sendTrailer,
} from "./rpc/call.ts"
export { type Channel, type ChannelLayer, inMemory } from "./rpc/channel.ts"
export type { Compression, Encoding } from "./rpc/compression.ts"
export type { Connectivity, State } from "./rpc/connectivity.ts"
export * as Deadline from "./rpc/deadline.ts"
export {
  badRequest,
  type Detail,
  errorInfo,
  type FieldViolation,
  findDetail,
  type KnownDetails,
  retryInfo,
} from "./rpc/details.ts"
export { RpcError } from "./rpc/error.ts"
export type { Interceptor } from "./rpc/interceptor.ts"
export * as Metadata from "./rpc/metadata.ts"
export { mapReady } from "./rpc/ready.ts"
export type { Handler, ServiceLayer } from "./rpc/service.ts"
export * as ServiceConfig from "./rpc/serviceConfig.ts"
export * as Status from "./rpc/status.ts"
export type { ThrottleOptions } from "./rpc/throttle.ts"
