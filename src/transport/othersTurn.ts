/**
 * The turn of others: streams that have worked for a while wait in one row, and some of them go on at a time, for no longer
 * than a turn together. In between the event loop looks after all else, so that a call which comes anew waits for one turn,
 * however many streams there are.
 */
import { Effect } from "effect"

/** Milliseconds that a stream may go on before it is the others' turn, and that those in the row have together. */
export const longestTurn = 4

// Between two immediates Deno looks after a socket or two, where the others look after all: another call beside a stream at
// full speed took 900 ms there with one of them, and takes 30 with so many, at 5 µs each.
const immediates = "Deno" in globalThis ? 32 : 1

interface Waiting {
  /** Goes on; `undefined` for one that was interrupted. */
  resume: (() => void) | undefined
}

// As many as there are calls at most, and those before `next`, which have gone on already.
let row: Array<Waiting> = []
let next = 0
let due = false

const later = (run: () => void, times: number): void => {
  // Some runtimes of the edge have no immediates.
  if (!("setImmediate" in globalThis)) return void setTimeout(run)
  setImmediate(() => (times <= 1 ? run() : later(run, times - 1)))
}

const goOn = (): void => {
  const until = performance.now() + longestTurn
  do {
    const { resume } = row[next++] ?? {}
    resume?.()
  } while (next < row.length && performance.now() < until)
  row = row.slice(next)
  next = 0
  due = row.length > 0
  if (due) later(goOn, immediates)
}

/** Ends when it is the turn of who waits here again. */
export const othersTurn: Effect.Effect<void> = Effect.callback<void>((resume) => {
  const waiting: Waiting = { resume: () => resume(Effect.void) }
  row.push(waiting)
  if (!due) {
    due = true
    later(goOn, immediates)
  }
  return Effect.sync(() => {
    waiting.resume = undefined
  })
})
