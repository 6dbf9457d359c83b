/**
 * Turns: what begins in one, and may end in it too.
 */

/** Something that has to be seen to only if it outlives the turn that it began in. */
export interface Begun {
  readonly outlived: () => void
}

/** What has begun in this turn. One microtask for all of it, where a timer for each would cost as much as a short call. */
export class Turn {
  private begun: Array<Begun> = []

  add(one: Begun): void {
    if (this.begun.push(one) === 1) queueMicrotask(() => this.over())
  }

  private over(): void {
    const { begun } = this
    this.begun = []
    for (const one of begun) one.outlived()
  }
}
