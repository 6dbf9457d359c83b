/**
 * The journal: keeps the log entries that clients report, behind their backs. A report is answered before its entry is
 * kept, and one that finds the journal full is lost: that is what one-way means. In a Worker each is kept by the call that
 * reported it.
 */
import { type Cause, Effect, Fiber, Queue, type Scope } from "effect"
import { Background } from "../rpc/background.ts"
import { printableCause } from "../rpc/printable.ts"

export const levels = ["debug", "info", "warning", "error"] as const

export type Level = (typeof levels)[number]

export interface Entry {
  /** When the client says it happened, in milliseconds since the epoch; `undefined` if it doesn't. */
  readonly time: number | undefined
  readonly level: Level
  readonly text: string
}

export interface Journal {
  /** Takes an entry without waiting; false if it is lost because the journal is full. */
  readonly report: (entry: Entry) => Effect.Effect<boolean>
}

export interface JournalOptions {
  /** How many entries may wait to be kept. Default: 1024. */
  readonly capacity?: number
}

/**
 * Opens a journal that keeps entries one after another with `keep`, in the background. When its scope closes it takes
 * no more, keeps those that wait, and ends.
 *
 * @example
 * const journal = yield* open((entry) => Effect.logInfo(entry.text))
 */
export const open = Effect.fnUntraced(function* (
  keep: (entry: Entry) => Effect.Effect<void>,
  { capacity = 1024 }: JournalOptions = {},
): Effect.fn.Return<Journal, never, Scope.Scope> {
  const waiting = yield* Queue.dropping<Entry, Cause.Done>(capacity)
  const keepOne = (entry: Entry) =>
    Effect.catchCause(
      Effect.suspend(() => keep(entry)),
      (cause) => Effect.logError("a journal entry was not kept", printableCause(cause)),
    )
  // Taken one by one: a stream of the queue would take all that wait, and make room for as many again. Detached, so that
  // it outlives the scope's body until the finalizer has seen the last entry kept.
  const keeping = yield* Effect.flatMap(Queue.take(waiting), keepOne).pipe(
    Effect.forever,
    Effect.ignore,
    Effect.forkDetach,
  )
  // Those that are kept by the calls that reported them.
  const apart = new Set<Fiber.Fiber<void>>()
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      Queue.end(waiting),
      Effect.andThen(
        Fiber.await(keeping),
        Effect.suspend(() => Fiber.awaitAll(apart)),
      ),
    ),
  )
  return {
    report: (entry) =>
      Effect.flatMap(Background, (behind) => {
        if (behind === undefined) return Queue.offer(waiting, entry)
        if (apart.size >= capacity) return Effect.succeed(false)
        // On a fiber of the call's own: in a Worker no request may wait for what another one has begun.
        return Effect.map(Effect.forkDetach(keepOne(entry)), (fiber) => {
          apart.add(fiber)
          const { promise, resolve } = Promise.withResolvers<void>()
          fiber.addObserver(() => {
            apart.delete(fiber)
            resolve()
          })
          behind(promise)
          return true
        })
      }),
  }
})
