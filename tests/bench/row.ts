/**
 * Rows of the table: one comparison each.
 */
import type { Spread } from "./spread.ts"

/** What is judged must be at most, or at least, so much; and is to be so much. */
export interface Bound {
  readonly better: "lower" | "higher"
  readonly must?: number
  readonly aim?: number
}

/** A figure and what it counts. */
export interface Figure {
  readonly spread: Spread
  readonly unit: string
  readonly digits?: number
}

export interface Row {
  readonly measure: string
  readonly ours: string
  readonly peer?: string
  /** What is judged: ours over the peer's, or a figure of ours alone with its unit. */
  readonly judged: Figure
  /** What the rounds gave, one by one. */
  readonly samples: { readonly ours: ReadonlyArray<number>; readonly peer?: ReadonlyArray<number> }
  /** Without one, the row is for information. */
  readonly bound?: Bound
}

/** A row that there is no figure for. */
export interface Gap {
  readonly measure: string
  readonly problem: string
  /** Something is missing on this machine, or it went wrong. */
  readonly kind: "missing" | "failed"
}

/** Tells whoever waits what is going on. */
export type Note = (text: string) => void

/** One or several rows. */
export type Measure = (note: Note) => Promise<ReadonlyArray<Row | Gap>>

export const isMet = ({ judged: { spread }, bound }: Row): boolean | undefined => {
  if (bound?.must === undefined) return undefined
  return bound.better === "lower" ? spread.median <= bound.must : spread.median >= bound.must
}
