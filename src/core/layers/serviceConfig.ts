/**
 * `serviceConfig`: calls a service as its owner says.
 */

import * as Backoff from "../rpc/backoff.ts"
import type { Method } from "../rpc/call.ts"
import type { ChannelLayer } from "../rpc/channel.ts"
import { type Interceptor, type Layered, unlayered } from "../rpc/interceptor.ts"
import { type MethodConfig, methodConfig, type ServiceConfig } from "../rpc/serviceConfig.ts"
import { type Throttle, throttle, unthrottled } from "../rpc/throttle.ts"
import { deadline } from "./deadline.ts"
import { hedging } from "./hedge.ts"
import { intercept } from "./intercept.ts"
import { counting, defaultBufferBytes, replaying, retrying } from "./retry.ts"

/**
 * A layer that does with each call what a service config says of its method: a timeout, whether to wait for a server that
 * can't be reached, and to retry or to hedge it as the layers `retry` and `hedge` do. Both do so whatever the method's
 * idempotency, since the config's author has chosen the methods; both share the tokens of `retryThrottling`, which are
 * counted for each channel. A caller's own deadline counts if it is nearer, its own `waitForReady` in any case.
 *
 * `maxRequestMessageBytes` and `maxResponseMessageBytes` are read but not enforced: what a message measures on the wire only
 * the transport knows, which has limits of its own. Load balancing is left to it as well.
 *
 * Source: grpc/doc/service_config.md.
 *
 * @example
 * const config = yield* Effect.fromResult(ServiceConfig.parse(text))
 * const channel = (yield* connect("http://127.0.0.1:8080")).pipe(serviceConfig(config))
 */
export const serviceConfig =
  (config: ServiceConfig): ChannelLayer =>
  (channel) => {
    const tokens = config.retryThrottling === undefined ? unthrottled : throttle(config.retryThrottling)
    const known = new WeakMap<Method, Interceptor>()
    const aroundOf = (method: Method): Interceptor => {
      let around = known.get(method)
      if (around === undefined) {
        around = obey(methodConfig(config, method), tokens)
        known.set(method, around)
      }
      return around
    }
    return replaying(intercept((call, next) => aroundOf(call.method)(call, next))(channel), (method) =>
      methodConfig(config, method)?.retryPolicy === undefined ? 0 : defaultBufferBytes,
    )
  }

const obey = (config: MethodConfig | undefined, tokens: Throttle): Interceptor => {
  let target: Layered = intercept(sendAgain(config, tokens))(unlayered)
  if (config?.waitForReady !== undefined) {
    const { waitForReady } = config
    target = intercept((call, next) => next(call.waitForReady === undefined ? { ...call, waitForReady } : call))(target)
  }
  if (config?.timeout !== undefined) target = deadline(config.timeout)(target)
  return target.around
}

const sendAgain = (config: MethodConfig | undefined, tokens: Throttle): Interceptor => {
  if (config?.retryPolicy !== undefined) {
    const { maxAttempts, backoff, codes } = config.retryPolicy
    return retrying({ maxAttempts, codes: new Set(codes), schedule: Backoff.schedule(backoff) }, tokens)
  }
  if (config?.hedgingPolicy !== undefined) {
    const { nonFatal, ...policy } = config.hedgingPolicy
    return hedging({ ...policy, nonFatal: new Set(nonFatal) }, tokens)
  }
  return counting(tokens)
}
