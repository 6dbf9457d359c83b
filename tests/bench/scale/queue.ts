/**
 * The event queue of a simulation: what happens next, of millions of things that will.
 *
 * A binary heap in typed arrays. What is due at the same time comes in the order in which it was put in, so that a run is the
 * same each time.
 */
export class EventQueue {
  #times = new Float64Array(1024)
  #orders = new Float64Array(1024)
  #events = new Float64Array(1024)
  #size = 0
  #order = 0

  get size(): number {
    return this.#size
  }

  /** When the next event is due; `Infinity` if there is none. */
  get next(): number {
    return this.#size === 0 ? Number.POSITIVE_INFINITY : (this.#times[0] ?? Number.POSITIVE_INFINITY)
  }

  /** Puts in an event, which is a number of the caller's. */
  add(time: number, event: number): void {
    if (this.#size === this.#times.length) this.#grow()
    this.#rise(this.#size, time, this.#order, event)
    this.#size += 1
    this.#order += 1
  }

  /** Takes out the next event. Ask `size` or `next` first whether there is one. */
  take(): number {
    if (this.#size === 0) throw new Error("no event is due: ask the queue's size first")
    const event = this.#events[0] ?? 0
    const last = --this.#size
    this.#sink(this.#times[last] ?? 0, this.#orders[last] ?? 0, this.#events[last] ?? 0)
    return event
  }

  #rise(from: number, time: number, order: number, event: number): void {
    let at = from
    while (at > 0) {
      const above = (at - 1) >> 1
      if ((this.#times[above] ?? 0) <= time) break // Who is above came earlier, so an equal time stays there.
      this.#move(above, at)
      at = above
    }
    this.#put(at, time, order, event)
  }

  #sink(time: number, order: number, event: number): void {
    let at = 0
    for (;;) {
      let below = 2 * at + 1
      if (below >= this.#size) break
      if (below + 1 < this.#size && this.#before(below + 1, below)) below += 1
      const t = this.#times[below] ?? 0
      if (t > time || (t === time && (this.#orders[below] ?? 0) > order)) break
      this.#move(below, at)
      at = below
    }
    this.#put(at, time, order, event)
  }

  #before(one: number, other: number): boolean {
    const [a, b] = [this.#times[one] ?? 0, this.#times[other] ?? 0]
    return a < b || (a === b && (this.#orders[one] ?? 0) < (this.#orders[other] ?? 0))
  }

  #move(from: number, to: number): void {
    this.#put(to, this.#times[from] ?? 0, this.#orders[from] ?? 0, this.#events[from] ?? 0)
  }

  #put(at: number, time: number, order: number, event: number): void {
    this.#times[at] = time
    this.#orders[at] = order
    this.#events[at] = event
  }

  #grow(): void {
    const larger = (old: Float64Array<ArrayBuffer>) => {
      const grown = new Float64Array(old.length * 2)
      grown.set(old)
      return grown
    }
    this.#times = larger(this.#times)
    this.#orders = larger(this.#orders)
    this.#events = larger(this.#events)
  }
}
