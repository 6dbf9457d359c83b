import { Effect } from "effect"

/**
 * π from the first `n` terms of the odd half of the Basel problem:
 *
 * pi(n) = √(8·S(n)), S(n) = Σ_{i=0}^{n-1} 1/(2i+1)², with S(∞) = π²/8.
 *
 * `n` is a count of terms, an integer from 1 to 2147483647 (int32); the caller checks it, and no series fails.
 * The answer is a plain number: it grows with `n` from √8 towards π, about 1/(πn) below it.
 *
 * @example
 * ```ts
 * const program = (series: Series) => Effect.map(series(999), (pi) => `pi(999) = ${pi}`)
 * ```
 */
export type Series = (n: number) => Effect.Effect<number>

// Some 30 µs of divisions: long beside a turn of the event loop, short beside any deadline.
const SLICE = 8192

/**
 * The tutorial's loop, bit for bit the doubles of Python's `s += 1.0/(2*i+1)/(2*i+1)` and `math.sqrt(8*s)`.
 *
 * Takes O(n) time, of the order of 10 s for the largest int32. Up to 8192 terms it ends in the turn it began in; a
 * longer sum lets the event loop turn every 8192 terms, so that timers fire, other calls are served, and a deadline or
 * an interrupt ends it at the next turn. It adds large to small, so that its last digits drift from the true value, and
 * beyond n = 47453133 the terms are too small to change the sum at all: {@link closedForm} has neither fault.
 *
 * @example
 * ```ts
 * Effect.runSync(summation(999)) // 3.14127400894…
 * ```
 */
export const summation: Series = (n) =>
  n <= SLICE ? Effect.sync(() => Math.sqrt(8 * addTerms(0, 0, n))) : summationInSlices(n)

const summationInSlices = Effect.fnUntraced(function* (n: number) {
  let sum = addTerms(0, 0, SLICE)
  for (let i = SLICE; i < n; i += SLICE) {
    // Effect resumes a yielded fiber by setImmediate, not by a microtask: timers and sockets get their turn.
    yield* Effect.yieldNow
    sum = addTerms(sum, i, Math.min(i + SLICE, n))
  }
  return Math.sqrt(8 * sum)
})

const addTerms = (sum: number, from: number, to: number): number => {
  for (let i = from; i < to; i++) {
    const odd = 2 * i + 1
    // Divided twice, as in the tutorial: 1/odd² is another double for one term in four.
    sum += 1 / odd / odd
  }
  return sum
}

/**
 * The same series in constant time, within 1 ulp of the true pi(n) for every n. The default.
 *
 * @example
 * ```ts
 * Effect.runSync(closedForm(2147483647)) // 3.14159265344156…, at once
 * ```
 */
export const closedForm: Series = (n) => Effect.succeed(piClosedForm(n))

/**
 * {@link closedForm} without the Effect around it, for code that has no other effects.
 *
 * @example
 * ```ts
 * piClosedForm(1) // √8 = 2.82842712474619…
 * ```
 */
export const piClosedForm = (n: number): number => {
  // √(π² − t) would round π² and the difference, each at the size of the answer. π − t/(π + √(π² − t)) is equal, and
  // all that rounds before its last subtraction is small: an error in the fraction weighs at most a tenth of itself.
  // Only that subtraction's own half an ulp is left, once Math.PI's error is taken out of the fraction.
  const t = eightTails(n)
  return Math.PI - (t / (Math.PI + Math.sqrt(Math.PI * Math.PI - t)) - PI_LOW)
}

/** π − Math.PI */
const PI_LOW = 1.2246467991473532e-16

// From here on the first term left out, 2555/(16896·n¹¹), moves the answer by less than 0.002 ulp.
const ASYMPTOTIC_FROM = 32

/**
 * 8·(S(∞) − S(n)) = 2·ψ₁(n + ½), by its asymptotic series at ½, which has odd powers only
 * (DLMF 5.11.8 with h = ½, differentiated twice). Where n is too small for it, the terms up to where it holds are added.
 */
const eightTails = (n: number): number => {
  const from = Math.max(n, ASYMPTOTIC_FROM)
  const y = 1 / (from * from)
  let tails = (2 - y * (1 / 6 - y * (7 / 120 - y * (31 / 672 - y * (127 / 1920))))) / from
  // Small to large, so that little is lost.
  for (let i = from - 1; i >= n; i--) {
    const odd = 2 * i + 1
    tails += 8 / (odd * odd)
  }
  return tails
}
