/**
 * `Sink`: lines on their way to a reader who may be slow, may stall or may be gone. None of that holds up or ends who writes:
 * lines wait in a queue with a bound, those that find no room are dropped, and a line says how many they were.
 */

/** Where bytes go: takes some at a time, says when it has taken them or why it has not, and never waits by itself. */
export type Output = (bytes: Uint8Array, done: (error?: Fault) => void) => void

/** Why bytes weren't taken. */
export interface Fault {
  /** How many of them were, before that. */
  readonly taken: number
  /** When to try again, in milliseconds; `undefined` where nothing will be taken any more. */
  readonly retryMillis: number | undefined
}

const mostAtOnce = 64 * 1024

export interface SinkOptions {
  /** How many bytes may wait. Default: 1 MiB. */
  readonly maxBytes?: number
  /** The line that tells of lines that were dropped. */
  readonly told?: (dropped: number) => string
}

const toldByDefault = (dropped: number): string => `${dropped} lines were dropped: nobody took them in time`

export class Sink {
  private readonly output: Output
  private readonly maxBytes: number
  private readonly told: (dropped: number) => string
  private queue: Array<string> = []
  private queued = 0
  private dropped = 0
  private writing = false
  private gone = false
  private readonly idle: Array<() => void> = []

  constructor(output: Output, { maxBytes = 1024 * 1024, told = toldByDefault }: SinkOptions = {}) {
    this.output = output
    this.maxBytes = maxBytes
    this.told = told
  }

  /** Takes a line, or several with ends of lines between them, without waiting. */
  write(line: string): void {
    if (this.gone) return
    const bytes = Buffer.byteLength(line) + 1
    // Once lines are missing, the next to go is the one that says so.
    if (this.dropped > 0 || this.queued + bytes > this.maxBytes) {
      this.dropped += 1
    } else {
      this.queue.push(line)
      this.queued += bytes
    }
    if (this.writing) return
    this.writing = true
    // All lines of a turn leave at once.
    queueMicrotask(() => this.next())
  }

  /** Ends when all lines have left, or can't leave any more, or this time is over. */
  flushed(withinMillis: number): Promise<void> {
    return new Promise((resolve) => {
      if (!this.writing) return resolve()
      const timer = setTimeout(resolve, withinMillis)
      this.idle.push(() => {
        clearTimeout(timer)
        resolve()
      })
    })
  }

  private next(): void {
    if (this.dropped > 0 && this.queued <= this.maxBytes / 2) {
      const line = this.told(this.dropped)
      this.dropped = 0
      this.queue.push(line)
      this.queued += Buffer.byteLength(line) + 1
    }
    let text = ""
    let count = 0
    while (count < this.queue.length && text.length < mostAtOnce) text += `${this.queue[count++]}\n`
    if (count === 0) {
      this.writing = false
      for (const resolve of this.idle.splice(0)) resolve()
      return
    }
    this.queue = this.queue.slice(count)
    this.send(Buffer.from(text))
  }

  private send(bytes: Uint8Array): void {
    this.output(bytes, (fault) => {
      if (fault === undefined) {
        this.queued -= bytes.length
        return this.next()
      }
      if (fault.retryMillis === undefined) return this.end()
      this.queued -= fault.taken
      // Nobody has to stay for it: who ends waits in `flushed`.
      setTimeout(() => this.send(bytes.subarray(fault.taken)), fault.retryMillis).unref()
    })
  }

  private end(): void {
    this.gone = true
    this.queue = []
    this.queued = 0
    for (const resolve of this.idle.splice(0)) resolve()
  }
}
