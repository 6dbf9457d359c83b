/**
 * An alarm: the one timer of a connection, for all that falls due on it.
 *
 * Whoever owns it is asked what is due when it rings, and says when to be asked again. Nothing is armed anew when
 * something puts off what is due, as each byte from a peer does: that shows when the alarm rings.
 */

// What setTimeout can wait; a longer one would fire at once.
const maxTimerMillis = 2 ** 31 - 1

export class Alarm {
  // Does what is due, and gives the time of the next thing that may be; Infinity if there is none.
  private readonly ring: (now: number) => number
  private timer: ReturnType<typeof setTimeout> | undefined
  private at = Number.POSITIVE_INFINITY
  private cleared = false

  constructor(ring: (now: number) => number) {
    this.ring = ring
  }

  /** Lets it ring at a time by `performance.now`, or earlier if it was going to. */
  set(at: number): void {
    if (this.cleared || at >= this.at) return
    this.at = at
    clearTimeout(this.timer)
    this.timer = setTimeout(() => this.rings(), Math.min(Math.ceil(at - performance.now()), maxTimerMillis))
    // It is the socket that keeps a process running.
    this.timer.unref()
  }

  /** Lets it never ring again: its owner is gone. */
  clear(): void {
    this.cleared = true
    clearTimeout(this.timer)
  }

  private rings(): void {
    this.at = Number.POSITIVE_INFINITY
    this.set(this.ring(performance.now()))
  }
}
