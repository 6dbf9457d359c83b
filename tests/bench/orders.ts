/**
 * Orders: what a client under measure is told to do, a line each, and how it says that it has done it.
 */
import process from "node:process"
import { createInterface } from "node:readline"

/** Calls of `Calc`, so many of them under way at once, until there were enough or the time is over. */
export interface Order {
  readonly n: number
  /** What each answer must be. */
  readonly pi: number
  readonly inFlight: number
  readonly calls?: number
  readonly seconds?: number
}

/** What came of an order. */
export interface Done {
  /** How many calls there were, all of them answered right. */
  readonly calls: number
  readonly seconds: number
}

/** The calls of an order, which its workers share. */
export class Calls {
  readonly n: number
  answered = 0
  private readonly pi: number
  private readonly end: number
  private left: number

  constructor({ n, pi, calls = Number.POSITIVE_INFINITY, seconds = Number.POSITIVE_INFINITY }: Order) {
    this.n = n
    this.pi = pi
    this.left = calls
    this.end = performance.now() + seconds * 1000
  }

  /** Whether there are more to make. */
  get more(): boolean {
    return this.left > 0 && performance.now() < this.end
  }

  /** Takes one more to make, if there is one. */
  next(): boolean {
    if (!this.more) return false
    this.left--
    return true
  }

  /** Takes the answer of one. */
  answer(value: number): void {
    if (value !== this.pi) throw new Error(`pi(${this.n}) is ${this.pi} and not ${value}`)
    this.answered++
  }
}

/** Carries out orders from standard input, with as many workers as calls are to be under way, until there are no more. */
export const obey = async (worker: (calls: Calls) => Promise<void>): Promise<void> => {
  for await (const line of createInterface({ input: process.stdin })) {
    const order: Order = JSON.parse(line)
    const began = performance.now()
    const calls = new Calls(order)
    await Promise.all(Array.from({ length: order.inFlight }, () => worker(calls)))
    const done: Done = { calls: calls.answered, seconds: (performance.now() - began) / 1000 }
    process.stdout.write(`${JSON.stringify(done)}\n`)
  }
}
