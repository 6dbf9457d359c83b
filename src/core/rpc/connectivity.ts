/**
 * Connectivity: where a channel stands between its calls and a server.
 *
 * Source: grpc/doc/connectivity-semantics-and-api.md.
 */
import { Effect, Stream } from "effect"

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
  /** Where it stands now, and then each state that it gets into. */
  readonly changes: Stream.Stream<State>
}

/** For a channel that stays where it is. */
export const always = (state: State): Connectivity => ({
  state: Effect.succeed(state),
  changes: Stream.concat(Stream.succeed(state), Stream.never),
})
