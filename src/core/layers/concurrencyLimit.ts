/**
 * `concurrencyLimit`: bounds how many calls run at once.
 */
import { Effect } from "effect"
import { RpcError } from "../rpc/error.ts"
import { type CallLayer, intercept } from "./intercept.ts"

/**
 * A layer that lets at most `limit` calls run at the same time and fails each further one at once with
 * `resource_exhausted`: a queue would only move the overload into memory. A stream counts until its last message was
 * taken. Metadata is left alone. Each target that the layer is put on counts for itself.
 *
 * It commutes with all other layers, but what stands behind it in the pipe runs for refused calls too.
 *
 * @example
 * const pi = Service.make(PiCalculator, calculator).pipe(concurrencyLimit(1000))
 */
export const concurrencyLimit =
  (limit: number): CallLayer =>
  (target) => {
    let running = 0
    return intercept((call, next) =>
      Effect.suspend(() => {
        let counted = false
        return Effect.onExitPrimitive(
          // Counted in here, so that no interrupt and no throw comes between that and the promise to count it out.
          Effect.suspend(() => {
            if (running >= limit) {
              return Effect.fail(
                new RpcError({ code: "resource_exhausted", message: `${limit} calls run already, no more are taken` }),
              )
            }
            running += 1
            counted = true
            return next(call)
          }),
          () => {
            if (counted) running -= 1
            return undefined
          },
        )
      }),
    )(target)
  }
