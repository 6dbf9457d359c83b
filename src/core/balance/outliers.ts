/**
 * Outliers: endpoints whose calls fail while those of the others don't. They are ejected for a while.
 *
 * Sources: gRPC's proposal A50; Envoy, "Outlier detection".
 */
import { type Clock, Duration, Effect } from "effect"
import * as Monotonic from "../rpc/monotonic.ts"
import type { Status } from "../rpc/status.ts"
import type { Subchannel } from "./subchannel.ts"

/** How outliers are found, durations in milliseconds. */
export interface OutlierConfig {
  readonly consecutiveFailures: number
  readonly failureRatio: number
  readonly minimumCalls: number
  readonly interval: number
  readonly baseEjection: number
  readonly maxEjection: number
  readonly maxEjectedPercent: number
  readonly codes: ReadonlySet<Status>
}

/** What is known of an endpoint. */
interface Record {
  /** Failures since its last success. */
  consecutive: number
  /** In this interval. */
  calls: number
  failures: number
  /** How many times in a row it has been ejected; intervals without an ejection count back. */
  times: number
  /** When it may come back. */
  until: number
  ejected: boolean
}

export class Outliers {
  private readonly config: OutlierConfig
  private readonly clock: Clock.Clock
  private readonly fork: (effect: Effect.Effect<void>) => void
  private readonly changed: () => void
  private readonly records = new Map<Subchannel, Record>()
  private ejected = 0
  private intervalEnds = Number.NEGATIVE_INFINITY

  constructor(
    config: OutlierConfig,
    clock: Clock.Clock,
    fork: (effect: Effect.Effect<void>) => void,
    changed: () => void,
  ) {
    this.config = config
    this.clock = clock
    this.fork = fork
    this.changed = changed
  }

  /** Forgets those that are no longer listed, and begins to watch the others. */
  listed(all: ReadonlyArray<Subchannel>): void {
    const listed = new Set(all)
    for (const [one, record] of this.records) {
      if (listed.has(one)) continue
      this.records.delete(one)
      this.release(record)
    }
    for (const one of all) {
      if (this.records.has(one)) continue
      this.records.set(one, { consecutive: 0, calls: 0, failures: 0, times: 0, until: 0, ejected: false })
    }
  }

  isEjected(one: Subchannel): boolean {
    return this.ejected > 0 && this.records.get(one)?.ejected === true
  }

  /** A call has ended. */
  ended(one: Subchannel, status: Status): void {
    const record = this.records.get(one)
    if (record === undefined || status === "cancelled") return
    const now = Monotonic.nowUnsafe(this.clock)
    if (now >= this.intervalEnds) this.review(now)
    // What began before it was ejected says nothing new.
    if (record.ejected) return
    record.calls += 1
    if (!this.config.codes.has(status)) {
      record.consecutive = 0
      return
    }
    record.failures += 1
    record.consecutive += 1
    if (record.consecutive >= this.config.consecutiveFailures) this.eject(record, now)
  }

  /** Ejects those of which too many calls failed in the interval that is over. */
  private review(now: number): void {
    const { failureRatio, minimumCalls, interval } = this.config
    this.intervalEnds = now + interval
    for (const record of this.records.values()) {
      const { calls, failures } = record
      record.calls = 0
      record.failures = 0
      if (!record.ejected && calls >= minimumCalls && failures >= calls * failureRatio) this.eject(record, now)
    }
  }

  private eject(record: Record, now: number): void {
    const { maxEjectedPercent, baseEjection, maxEjection, interval } = this.config
    if (this.ejected * 100 >= this.records.size * maxEjectedPercent) return
    const quiet = record.times === 0 ? 0 : Math.floor((now - record.until) / interval)
    record.times = Math.max(0, record.times - quiet) + 1
    const millis = Math.min(baseEjection * record.times, Math.max(baseEjection, maxEjection))
    record.until = now + millis
    record.ejected = true
    this.ejected += 1
    this.fork(Effect.map(Effect.sleep(Duration.millis(millis)), () => this.back(record)))
    this.changed()
  }

  private back(record: Record): void {
    if (this.release(record)) this.changed()
  }

  private release(record: Record): boolean {
    if (!record.ejected) return false
    record.ejected = false
    record.consecutive = 0
    record.calls = 0
    record.failures = 0
    this.ejected -= 1
    return true
  }
}
