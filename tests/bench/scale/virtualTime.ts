/**
 * Time that passes as fast as a simulation computes it: Effect's clock, on an event queue. What sleeps is woken in the order
 * of time, so programs of the core run in it as they are.
 */
import { Clock, Duration, Effect, type Fiber, Random, Scheduler } from "effect"
import { EventQueue } from "./queue.ts"

export class VirtualTime {
  /** In milliseconds. */
  now = 0
  private readonly queue = new EventQueue()
  private readonly asleep = new Map<number, () => void>()
  private slept = 0
  private readonly tasks: Array<() => void> = []

  private readonly clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => this.now,
    currentTimeMillis: Effect.sync(() => this.now),
    currentTimeNanosUnsafe: () => this.nanos(),
    currentTimeNanos: Effect.sync(() => this.nanos()),
    monotonicTimeNanosUnsafe: () => this.nanos(),
    monotonicTimeNanos: Effect.sync(() => this.nanos()),
    sleep: (duration) =>
      Effect.callback((resume) => {
        const id = this.at(this.now + Duration.toMillis(duration), () => resume(Effect.void))
        return Effect.sync(() => {
          this.asleep.delete(id)
        })
      }),
  }

  // What a fiber puts off is done before time goes on.
  private readonly scheduler: Scheduler.Scheduler = {
    executionMode: "sync",
    shouldYield: () => false,
    makeDispatcher: () => ({
      scheduleTask: (task) => {
        this.tasks.push(task)
      },
      flush: () => this.flush(),
    }),
  }

  /** Does something at a time. */
  at(time: number, what: () => void): number {
    const id = this.slept++
    this.asleep.set(id, what)
    this.queue.add(time, id)
    return id
  }

  /** Starts a program. */
  fork<A, E>(program: Effect.Effect<A, E>, seed: string): Fiber.Fiber<A, E> {
    const fiber = Effect.runFork(
      program.pipe(
        Random.withSeed(seed),
        Effect.provideService(Clock.Clock, this.clock),
        Effect.provideService(Scheduler.Scheduler, this.scheduler),
      ),
      { scheduler: this.scheduler },
    )
    this.flush()
    return fiber
  }

  /** Lets time pass until then. */
  until(time: number): void {
    while (this.queue.next <= time) {
      this.now = this.queue.next
      const id = this.queue.take()
      const wake = this.asleep.get(id)
      this.asleep.delete(id)
      wake?.()
      this.flush()
    }
    this.now = time
  }

  private flush(): void {
    for (let task = this.tasks.shift(); task !== undefined; task = this.tasks.shift()) task()
  }

  private nanos(): bigint {
    return BigInt(Math.round(this.now * 1e6))
  }
}
