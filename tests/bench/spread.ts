/**
 * Spreads: a figure of several rounds is their median, and how far they lie apart.
 */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

const middle = (sorted: ReadonlyArray<number>): number => {
  const [low = Number.NaN, high = low] = sorted.slice(
    Math.ceil(sorted.length / 2) - 1,
    Math.floor(sorted.length / 2) + 1,
  )
  return (low + high) / 2
}

export const spread = (values: ReadonlyArray<number>): Spread => {
  const sorted = values.toSorted((a, b) => a - b)
  return { median: middle(sorted), min: Math.min(...values), max: Math.max(...values) }
}

/** One over the other, round by round: what disturbs a round disturbs both. */
export const ratio = (ours: ReadonlyArray<number>, peers: ReadonlyArray<number>): Spread =>
  spread(ours.map((value, round) => value / (peers[round] ?? Number.NaN)))
