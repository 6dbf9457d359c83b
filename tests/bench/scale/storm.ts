/**
 * Retry storms: a service loses half of its servers for a while, and its clients try again.
 *
 * - Calls come as one Poisson process, each from a client drawn at random: the same as a process for each client.
 * - The servers are one pool behind an ideal balancer. What runs shares them evenly, as fibers share a process, but no call
 *   has more than a server. Each call is the same work, and an attempt that its deadline ends has cost what it got.
 * - When servers are lost, so is what ran there, with `unavailable`; who calls later gets one that is left.
 *
 * All calls are the same work and wait as long, so the oldest attempt is the next to finish and the next to time out, and the
 * running ones are a ring with no need of a heap: that makes a million clients possible.
 */
import { Duration, Effect, Random } from "effect"
import * as Backoff from "../../../src/core/rpc/backoff.ts"
import { type Throttle, type ThrottleOptions, throttle } from "../../../src/core/rpc/throttle.ts"
import { EventQueue } from "./queue.ts"

export interface Clients {
  readonly maxAttempts: number
  /** Default: none, the next attempt comes a round trip later. */
  readonly backoff?: Backoff.Backoff
  /** Each client has a bucket of its own. */
  readonly throttle?: ThrottleOptions
}

export interface Storm {
  readonly clients: number
  /** How many calls a client makes in a second. */
  readonly rate: number
  readonly servers: number
  /** How long a call takes that has a server for itself, in seconds. */
  readonly work: number
  /** How long an attempt may take, in seconds. */
  readonly deadline: number
  /** How many calls a server runs at most; each further one is refused at once. */
  readonly limit?: number
  /** What a refusal costs, as a part of a call's work. */
  readonly refusal: number
  readonly roundTrip: number
  /** When so many of the servers are lost, and when they are back, in seconds. */
  readonly outage: { readonly from: number; readonly to: number; readonly lost: number }
  /** No new calls come after so many seconds. Those that are under way go on to their ends. */
  readonly seconds: number
  readonly seed: string
}

/** What happened in a second. */
export interface Second {
  calls: number
  attempts: number
  refused: number
  succeeded: number
  failed: number
}

export interface Course {
  readonly seconds: ReadonlyArray<Second>
  /** Events of the simulation: attempts' beginnings and ends. */
  readonly events: number
}

// So many draws of a delay are as good as one for each retry, and cost no fiber each.
const draws = 4096

/** The delays before each attempt that a call may have, in seconds, as `retry` would draw them. */
const delays = ({ maxAttempts, backoff }: Clients, roundTrip: number, random: Random.Random) =>
  Array.from({ length: maxAttempts - 1 }, (_, earlier) =>
    Float64Array.from({ length: draws }, () =>
      backoff === undefined
        ? roundTrip
        : roundTrip +
          Duration.toSeconds(
            Effect.runSync(Effect.provideService(Backoff.delay(backoff, earlier), Random.Random, random)),
          ),
    ),
  )

/** Attempts that run, the oldest first. */
class Running {
  #mask = 1023
  #began = new Float64Array(1024)
  #due = new Float64Array(1024)
  #call = new Float64Array(1024)
  #first = 0
  size = 0

  /** The oldest one's. */
  get began(): number {
    return this.#began[this.#first] ?? 0
  }
  get due(): number {
    return this.#due[this.#first] ?? 0
  }

  add(began: number, due: number, call: number): void {
    if (this.size > this.#mask) this.#grow()
    const at = (this.#first + this.size) & this.#mask
    this.#began[at] = began
    this.#due[at] = due
    this.#call[at] = call
    this.size += 1
  }

  take(): number {
    const call = this.#call[this.#first] ?? 0
    this.#first = (this.#first + 1) & this.#mask
    this.size -= 1
    return call
  }

  #grow(): void {
    const unrolled = (old: Float64Array<ArrayBuffer>) => {
      const grown = new Float64Array(old.length * 2)
      grown.set(old.subarray(this.#first))
      grown.set(old.subarray(0, this.#first), old.length - this.#first)
      return grown
    }
    this.#began = unrolled(this.#began)
    this.#due = unrolled(this.#due)
    this.#call = unrolled(this.#call)
    this.#first = 0
    this.#mask = 2 * this.#mask + 1
  }
}

// A call is its client and how many attempts it has had, in one number.
const attemptsAtMost = 16

export const storm = (options: Storm, clients: Clients): Course => {
  const { work, deadline, outage, roundTrip } = options
  if (clients.maxAttempts >= attemptsAtMost) throw new Error(`a call has at most ${attemptsAtMost - 1} attempts`)
  const random = Effect.runSync(Random.withSeed(Effect.service(Random.Random), options.seed))
  const waits = delays(clients, roundTrip, random)
  const callsPerSecond = options.clients * options.rate
  // A bucket that nothing has failed for is full, and is made when something does.
  const buckets = Array.from<Throttle | undefined>({ length: clients.throttle === undefined ? 0 : options.clients })

  const running = new Running()
  const retries = new EventQueue()
  const seconds: Array<Second> = []
  let events = 0
  let now = 0
  /** How much work each running attempt has had since the beginning of time; it is done when that is what it is `due`. */
  let done = 0
  let servers = options.servers
  /** How much work is done for each running attempt in a second. */
  const share = (): number => (running.size <= servers ? 1 : servers / running.size)

  let counts: Second = { calls: 0, attempts: 0, refused: 0, succeeded: 0, failed: 0 }
  seconds.push(counts)
  const move = (time: number): void => {
    if (time <= now) return // What is left of rounding.
    done += (time - now) * share()
    now = time
    while (seconds.length <= now) {
      counts = { calls: 0, attempts: 0, refused: 0, succeeded: 0, failed: 0 }
      seconds.push(counts)
    }
  }

  const begin = (call: number): void => {
    events += 1
    counts.attempts += 1
    if (options.limit !== undefined && running.size >= options.limit * servers) {
      counts.refused += 1
      done -= (options.refusal * work) / running.size
      fail(call)
    } else running.add(now, done + work, call)
  }

  const fail = (call: number): void => {
    events += 1
    const attempts = (call % attemptsAtMost) + 1
    const client = Math.floor(call / attemptsAtMost)
    let bucket = buckets[client]
    if (clients.throttle !== undefined && bucket === undefined) {
      bucket = throttle(clients.throttle)
      buckets[client] = bucket
    }
    bucket?.failed()
    const wait = waits[attempts - 1]
    if (wait === undefined || bucket?.allows() === false) counts.failed += 1
    else retries.add(now + (wait[Math.floor(random.nextDoubleUnsafe() * draws)] ?? 0), call + 1)
  }

  const succeed = (call: number): void => {
    events += 1
    counts.succeeded += 1
    buckets[Math.floor(call / attemptsAtMost)]?.succeeded()
  }

  const lose = (): void => {
    const before = servers
    servers -= outage.lost
    for (let left = running.size; left > 0; left--) {
      const { began, due } = running
      const call = running.take()
      if (random.nextDoubleUnsafe() < outage.lost / before) fail(call)
      else running.add(began, due, call)
    }
  }

  const wait = () => -Math.log(1 - random.nextDoubleUnsafe()) / callsPerSecond
  let arrival = wait()
  const changes: Array<readonly [time: number, change: () => void]> = [
    [outage.from, lose],
    [
      outage.to,
      () => {
        servers += outage.lost
      },
    ],
  ]

  for (;;) {
    const finish = running.size === 0 ? Number.POSITIVE_INFINITY : now + (running.due - done) / share()
    const expire = running.size === 0 ? Number.POSITIVE_INFINITY : running.began + deadline
    const change = changes[0]?.[0] ?? Number.POSITIVE_INFINITY
    const at = Math.min(arrival, finish, expire, change, retries.next)
    if (at === Number.POSITIVE_INFINITY) break
    move(at)
    if (at === change) changes.shift()?.[1]()
    else if (at === finish) succeed(running.take())
    else if (at === expire) fail(running.take())
    else if (at === arrival) {
      counts.calls += 1
      begin(Math.floor(random.nextDoubleUnsafe() * options.clients) * attemptsAtMost)
      arrival = now + wait()
      if (arrival >= options.seconds) arrival = Number.POSITIVE_INFINITY
    } else begin(retries.take())
  }
  return { seconds, events }
}
