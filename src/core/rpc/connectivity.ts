/**
 * Connectivity: where a channel stands between its calls and a server.
 *
 * Source: grpc/doc/connectivity-semantics-and-api.md.
 */
import { type Cause, Effect, Queue, Stream } from "effect"

/**
 * - `idle`: there is no connection, and none is being tried; the next call tries one.
 * - `connecting`: one is being tried; calls wait for it.
 * - `ready`: there is one.
 * - `transient_failure`: none could be had, and the next try has to wait; calls fail, or wait if they were told to.
 * - `shutdown`: the channel was closed.
 */
export type State = "idle" | "connecting" | "ready" | "transient_failure" | "shutdown"

export interface Connectivity {
  /** Where the channel stands now. */
  readonly state: Effect.Effect<State>
  /** Where it stands now, and then each state that it gets into; it ends with `shutdown`. */
  readonly changes: Stream.Stream<State>
  /** Why it couldn't connect the last time, for messages; `undefined` once it could. */
  readonly trouble?: string | undefined
  /** Connects if the channel is idle, as a call would; it doesn't wait for what comes of that. */
  readonly connect: Effect.Effect<void>
}

/** For a channel that stays where it is. */
export const always = (state: State): Connectivity => ({
  state: Effect.succeed(state),
  changes: Stream.concat(Stream.succeed(state), Stream.never),
  connect: Effect.void,
})

// States that somebody who watches them may be behind before the oldest are dropped.
const mostStates = 16

/** For a channel that moves: who carries its calls says so with `set`, and knows how to connect. */
export class Moving implements Connectivity {
  readonly connect: Effect.Effect<void>
  trouble: string | undefined
  private now: State = "idle"
  private readonly watchers = new Set<Queue.Queue<State, Cause.Done>>()

  constructor(connect: () => void) {
    this.connect = Effect.sync(connect)
  }

  set(state: State): void {
    if (state === this.now || this.now === "shutdown") return
    this.now = state
    for (const watcher of this.watchers) this.tell(watcher)
  }

  get current(): State {
    return this.now
  }

  get state(): Effect.Effect<State> {
    return Effect.sync(() => this.now)
  }

  get changes(): Stream.Stream<State> {
    return Stream.callback<State>(
      (queue) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            this.watchers.add(queue)
            this.tell(queue)
          }),
          () => Effect.sync(() => this.watchers.delete(queue)),
        ),
      { bufferSize: mostStates, strategy: "sliding" },
    )
  }

  private tell(watcher: Queue.Queue<State, Cause.Done>): void {
    Queue.offerUnsafe(watcher, this.now)
    if (this.now === "shutdown") Queue.endUnsafe(watcher)
  }
}
