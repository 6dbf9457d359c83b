/**
 * The turn of others: who has worked for a while leaves the event loop to all else that waits for it.
 */
import { Effect } from "effect"

/** Milliseconds that a stream may go on before it is the others' turn. */
export const longestTurn = 4

// Between two immediates Deno looks after a socket or two, where the others look after all: another call beside a stream at
// full speed took 900 ms there with one of them, and takes 30 with so many, at 5 µs each.
const immediates = "Deno" in globalThis ? 32 : 1

export const othersTurn: Effect.Effect<void> = Effect.callback<void>((resume) => {
  // Some runtimes of the edge have none.
  if (!("setImmediate" in globalThis)) {
    const timer = setTimeout(() => resume(Effect.void))
    return Effect.sync(() => clearTimeout(timer))
  }
  let left = immediates
  let immediate: NodeJS.Immediate
  const wait = () => {
    immediate = setImmediate(() => {
      left -= 1
      if (left === 0) resume(Effect.void)
      else wait()
    })
  }
  wait()
  return Effect.sync(() => clearImmediate(immediate))
})
