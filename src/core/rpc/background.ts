/**
 * Work in the background: what a call has begun and doesn't wait for, such as a report that is kept behind its back.
 */
import { Context } from "effect"

/**
 * Tells who runs a call of work that goes on behind it; `undefined` where nobody asks, since the process lives on by
 * itself. Workers end what a request began with its response, unless they are told.
 *
 * @example
 * const behind = yield* Background
 * behind?.(written)
 */
export const Background = Context.Reference<((work: Promise<unknown>) => void) | undefined>("basel/rpc/Background", {
  defaultValue: () => undefined,
})
