/**
 * What expires, by when it does, in steps of time: whatever is due can be found without looking at the rest.
 */
export class Expiring<A> {
  private readonly stepMillis: number
  private readonly steps = new Map<number, Set<A>>()
  /** Up to this step all has been taken. */
  private taken = 0

  constructor(stepMillis: number) {
    this.stepMillis = stepMillis
  }

  add(one: A, at: number): void {
    if (at === Number.POSITIVE_INFINITY) return
    const step = this.stepOf(at)
    const others = this.steps.get(step)
    if (others === undefined) this.steps.set(step, new Set([one]))
    else others.add(one)
    // A clock may be set back.
    this.taken = Math.min(this.taken, step - 1)
  }

  remove(one: A, at: number): void {
    const step = this.stepOf(at)
    const others = this.steps.get(step)
    if (others?.delete(one) && others.size === 0) this.steps.delete(step)
  }

  /** Takes out what is due, so many of it at most. */
  take(now: number, most: number): ReadonlyArray<A> {
    const due: Array<A> = []
    const last = Math.floor(now / this.stepMillis)
    for (const step of this.stepsUntil(last)) {
      const ones = this.steps.get(step)
      if (ones === undefined) continue
      for (const one of ones) {
        if (due.length === most) return due
        due.push(one)
        ones.delete(one)
      }
      this.steps.delete(step)
    }
    this.taken = last
    return due
  }

  private stepOf(at: number): number {
    return Math.ceil(at / this.stepMillis)
  }

  private stepsUntil(last: number): Iterable<number> {
    const passed = last - this.taken
    // A clock may jump far ahead, too.
    return passed > this.steps.size
      ? Array.from(this.steps.keys()).filter((step) => step <= last)
      : Array.from({ length: Math.max(0, passed) }, (_, index) => this.taken + 1 + index)
  }
}
