/**
 * Policies: who gets an answer. The tutorial's streaming server answers about half of the requests, which shows that a
 * stream's answers are not one to one with its requests.
 */
import { Effect, Random } from "effect"

/** Decides for one request: true if it is answered. It draws from Effect's `Random`, so a seed makes it repeatable. */
export type Policy = Effect.Effect<boolean>

/** Answers each request with the chance of a fair coin. */
export const skipHalf: Policy = Random.nextBoolean

/**
 * Skips each request with probability `p`, from 0 (answer all) to 1 (answer none).
 *
 * @example
 * const rarely = skipWith(0.9)
 */
export const skipWith = (p: number): Policy => Effect.map(Random.next, (drawn) => drawn >= p)
