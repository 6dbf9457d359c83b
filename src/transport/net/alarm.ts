/**
 * An alarm: the one timer of a connection, for all that falls due on it.
 *
 * Whoever owns it is asked what is due when it rings, and says when to be asked again. Nothing is armed anew when
 * something puts off what is due, as each byte from a peer does: that shows when the alarm rings.
 */
import { maxTimerMillis } from "../timer.ts"

/** Who has an alarm. */
export interface Wakeable {
  /** Does what is due, and gives the time of the next thing that may be; Infinity if there is none. */
  ring(now: number): number
}

export class Alarm {
  private readonly owner: Wakeable
  private timer: ReturnType<typeof setTimeout> | undefined
  private at = Number.POSITIVE_INFINITY
  private cleared = false

  constructor(owner: Wakeable) {
    this.owner = owner
  }

  /** Lets it ring at a time by `performance.now`, or earlier if it was going to. */
  set(at: number): void {
    if (this.cleared || at >= this.at) return
    this.at = at
    clearTimeout(this.timer)
    // What is long due is due now: runtimes warn of a time that is negative.
    const millis = Math.max(0, Math.ceil(at - performance.now()))
    this.timer = setTimeout(Alarm.rings, Math.min(millis, maxTimerMillis), this)
    // It is the socket that keeps a process running.
    this.timer.unref()
  }

  /** Lets it never ring again: its owner is gone. */
  clear(): void {
    this.cleared = true
    clearTimeout(this.timer)
  }

  private static rings(alarm: Alarm): void {
    alarm.at = Number.POSITIVE_INFINITY
    alarm.set(alarm.owner.ring(performance.now()))
  }
}
