/**
 * Recency: who was used last, and who wasn't for longest. Using one costs a few assignments, and moves nothing in the map
 * that it is found by: whoever walks through that isn't led astray.
 */
export class Used {
  older: Used = this
  newer: Used = this
}

export class Recency<A extends Used> {
  // The two ends meet in it: the newest is older than it, the oldest newer.
  private readonly ends = new Used()

  /** Makes it the newest, whether it is here already or not. */
  use(one: A): void {
    this.remove(one)
    const { ends } = this
    one.older = ends.older
    one.newer = ends
    ends.older.newer = one
    ends.older = one
  }

  remove(one: A): void {
    one.older.newer = one.newer
    one.newer.older = one.older
    one.older = one
    one.newer = one
  }

  get oldest(): A | undefined {
    // Whoever isn't the end came in by `use`.
    return this.ends.newer === this.ends ? undefined : (this.ends.newer as A)
  }
}
