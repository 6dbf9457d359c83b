/**
 * `intercept`: makes a layer of any function around a call.
 */
import { type Interceptor, isPrompt, type Layered, none, promptly } from "../rpc/interceptor.ts"

/** A layer that goes around a service and around a channel alike. */
export type CallLayer = <T extends Layered>(target: T) => T

/**
 * A layer of a function around the whole call: unary or streamed, on a server or on a client, from before the request
 * until the last message was taken.
 *
 * It may end the call (`Effect.fail` in place of `next`), wait, measure, catch what failed, or hand `next` a changed
 * call. Messages pass it unseen: `interceptMessages` sees them. Interceptors run in the order of the pipe, the last one
 * outermost.
 *
 * @example
 * const logged = intercept((call, next) =>
 *   Effect.tapError(next(call), (error) => Effect.log(call.method.name, error.code)))
 * const service = Service.make(PiCalculator, calculator).pipe(logged)
 */
export const intercept =
  (outer: Interceptor): CallLayer =>
  (target) => {
    const inside = target.around
    if (inside === none) return { ...target, around: outer }
    const around: Interceptor = (call, next) => outer(call, (changed) => inside(changed, next))
    return { ...target, around: isPrompt(outer) && isPrompt(inside) ? promptly(around) : around }
  }
