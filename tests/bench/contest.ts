/**
 * Contests: several servers or clients do the same in turn, and are compared round by round.
 */
import { Missing } from "./programs.ts"
import type { Bound, Figure, Gap, Note, Row } from "./row.ts"
import { ratio, spread } from "./spread.ts"

/** The figures of each round; or why there are none. */
export type Outcome<A> = ReadonlyArray<A> | Error

/** What is done with each that takes part, a server or a client. */
export interface Rounds<K extends string, P, A> {
  readonly names: ReadonlyArray<K>
  readonly rounds: number
  readonly warmUp: (participant: P) => Promise<unknown>
  readonly take: (participant: P) => Promise<A>
}

export interface Contest<K extends string, P extends AsyncDisposable, A> extends Rounds<K, P, A> {
  readonly start: (name: K) => Promise<P>
  /**
   * How often all start anew and go through the rounds: two processes of one program differ by a tenth for as long as they
   * run, which is much where a tenth is what is asked for. Default: 1.
   */
  readonly lives?: number
}

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))

/**
 * Takes a figure of each in turn: A B A B, not A A B B, for the machine is never the same for long. Who fails is out,
 * and the others go on.
 */
export const contest = async <K extends string, P extends AsyncDisposable, A>(
  { lives = 1, ...what }: Contest<K, P, A>,
  note: Note,
): Promise<ReadonlyMap<K, Outcome<A>>> => {
  const figures = new Map(what.names.map((name) => [name, [] as Array<A>]))
  const failures = new Map<K, Error>()
  for (let life = 1; life <= lives; life++) {
    if (lives > 1) note(`life ${life} of ${lives}`)
    await live(what, figures, failures, note)
  }
  return new Map(what.names.map((name) => [name, failures.get(name) ?? figures.get(name) ?? []]))
}

const live = async <K extends string, P extends AsyncDisposable, A>(
  { start, names, rounds, warmUp, take }: Contest<K, P, A>,
  figures: ReadonlyMap<K, Array<A>>,
  failures: Map<K, Error>,
  note: Note,
): Promise<void> => {
  await using stack = new AsyncDisposableStack()
  const participants = new Map<K, P>()
  const attempt = async (name: K, what: () => Promise<void>): Promise<void> => {
    if (failures.has(name)) return
    try {
      await what()
    } catch (error) {
      failures.set(name, asError(error))
      note(`${name}: ${asError(error).message}`)
    }
  }
  for (const name of names) {
    await attempt(name, async () => {
      const participant = stack.use(await start(name))
      note(`${name} warms up`)
      await warmUp(participant)
      participants.set(name, participant)
    })
  }
  for (let round = 1; round <= rounds; round++) {
    note(`round ${round} of ${rounds}`)
    for (const [name, participant] of participants) {
      await attempt(name, async () => {
        figures.get(name)?.push(await take(participant))
      })
    }
  }
}

/** The row of what couldn't be measured. */
export const gap = (measure: string, error: Error): Gap => ({
  measure,
  problem: error.message,
  kind: error instanceof Missing ? "missing" : "failed",
})

export interface Comparison<A> {
  readonly measure: string
  readonly figure: (taken: A) => number
  /** How one side's figures are shown. */
  readonly show: (taken: ReadonlyArray<A>) => string
  readonly bound?: Bound
}

/** Ours over the peer's. */
export const compare = <A>(
  ours: Outcome<A> | undefined,
  peer: Outcome<A> | undefined,
  { measure, figure, show, bound }: Comparison<A>,
): Row | Gap => {
  if (ours === undefined || peer === undefined) return gap(measure, new Error("it took no part"))
  if (ours instanceof Error) return gap(measure, ours)
  if (peer instanceof Error) return gap(measure, peer)
  const samples = { ours: ours.map(figure), peer: peer.map(figure) }
  const judged: Figure = { spread: ratio(samples.ours, samples.peer), unit: "", digits: 2 }
  return { measure, ours: show(ours), peer: show(peer), judged, samples, ...(bound && { bound }) }
}

/** A figure of ours that nothing is compared with. */
export const alone = <A>(
  outcome: Outcome<A> | undefined,
  { measure, figure, show, bound, unit, digits }: Comparison<A> & { readonly unit: string; readonly digits: number },
): Row | Gap => {
  if (outcome === undefined) return gap(measure, new Error("it took no part"))
  if (outcome instanceof Error) return gap(measure, outcome)
  const samples = { ours: outcome.map(figure) }
  const judged: Figure = { spread: spread(samples.ours), unit, digits }
  return { measure, ours: show(outcome), judged, samples, ...(bound && { bound }) }
}

/** The median of a figure, to be shown. */
export const median = <A>(taken: ReadonlyArray<A>, figure: (taken: A) => number, digits: number): string =>
  spread(taken.map(figure)).median.toLocaleString("en", {
    maximumFractionDigits: digits,
    minimumFractionDigits: digits,
  })
