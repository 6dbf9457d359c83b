/**
 * Expiry: tells many waiting calls when their deadlines pass, with one sleep for all of them. A sleep for each would cost
 * more than the call.
 */
import { type Clock, Duration, Effect, type Fiber } from "effect"
import type { Deadline } from "./deadline.ts"
import * as Monotonic from "./monotonic.ts"

/** Who waits until a deadline at most. */
export interface Expiring {
  readonly deadline: Deadline
  readonly expire: () => void
}

type Run = (effect: Effect.Effect<void>) => Fiber.Fiber<void>

export class Expiry {
  private readonly clock: Clock.Clock
  private readonly run: Run
  // Each is a call that runs, so those who call bound them.
  private readonly waiting = new Set<Expiring>()
  private sleeping: Fiber.Fiber<void> | undefined
  private wakesAt = Number.POSITIVE_INFINITY

  constructor(clock: Clock.Clock, run: Run) {
    this.clock = clock
    this.run = run
  }

  /** Tells it at its deadline, unless it is forgotten before. */
  add(one: Expiring): void {
    this.waiting.add(one)
    // Later deadlines than the next one show when that has passed.
    if (one.deadline < this.wakesAt) this.sleepUntil(one.deadline)
  }

  forget(one: Expiring): void {
    this.waiting.delete(one)
  }

  /** Tells nobody any more. */
  close(): void {
    this.waiting.clear()
    this.sleeping?.interruptUnsafe()
  }

  private sleepUntil(deadline: Deadline): void {
    this.sleeping?.interruptUnsafe()
    this.wakesAt = deadline
    const millis = Math.max(0, deadline - Monotonic.nowUnsafe(this.clock))
    this.sleeping = this.run(
      Effect.map(this.clock.sleep(Duration.millis(millis)), () => {
        this.sleeping = undefined
        this.wakeUp()
      }),
    )
  }

  private wakeUp(): void {
    this.wakesAt = Number.POSITIVE_INFINITY
    const now = Monotonic.nowUnsafe(this.clock)
    let next = Number.POSITIVE_INFINITY
    for (const one of this.waiting) {
      if (one.deadline > now) {
        next = Math.min(next, one.deadline)
        continue
      }
      this.waiting.delete(one)
      one.expire()
    }
    if (next < this.wakesAt) this.sleepUntil(next)
  }
}
