/**
 * The tutorial's experiment: how long so many calls take, one after another or several at a time.
 */
import { Data, type Duration, Effect } from "effect"
import type { PiRequest, PiResponse } from "./calculator.ts"
import { piClosedForm } from "./series.ts"

/** The most calls that an answer can be checked for: see `tolerance`. */
export const maxCalls = 10_000

// Far above what the tutorial's loop loses up to maxCalls, and far below the 3·10⁻⁹ between neighbours there: an answer
// to another number's request is found out.
const tolerance = 1e-11

/** A call was answered, and with something else than pi(n). */
export class WrongAnswer extends Data.TaggedError("WrongAnswer")<{ readonly n: number; readonly value: number }> {
  override get message(): string {
    return `pi(${this.n}) was answered with ${this.value}, and is ${piClosedForm(this.n)}: what answers is no pi calculator, or mixes up its answers`
  }
}

export interface Experiment {
  /** How many calls are made, for n = 1 and up: from 1 to `maxCalls`. The tutorial makes 999. */
  readonly calls: number
  /** How many of them may run at a time, from 1 on. The tutorial's clients have 1 and 4. */
  readonly atATime: number
}

/**
 * Makes the calls in the order of n, and gives the time from before the first to the last answer, by the `Clock`. Each
 * answer is checked. The first that fails or is wrong ends it, and the calls that run are interrupted.
 *
 * @example
 * const program = measure(client.calc, { calls: 999, atATime: 4 }) // Effect<Duration, RpcError | WrongAnswer>
 */
export const measure = <E, R>(
  calc: (request: PiRequest) => Effect.Effect<PiResponse, E, R>,
  { calls, atATime }: Experiment,
): Effect.Effect<Duration.Duration, E | WrongAnswer, R> => {
  const numbers = Array.from({ length: calls }, (_, i) => i + 1)
  const check = (n: number) =>
    Effect.flatMap(calc({ n }), ({ value }) =>
      // Not the other way round, which would let NaN pass.
      Math.abs(value - piClosedForm(n)) < tolerance ? Effect.void : Effect.fail(new WrongAnswer({ n, value })),
    )
  return Effect.map(
    Effect.timed(Effect.forEach(numbers, check, { concurrency: atATime, discard: true })),
    ([duration]) => duration,
  )
}
