/**
 * `serve --workers`: processes that serve on one port, each with a core for itself, and the parent that keeps them. The
 * kernel spreads connections over them (SO_REUSEPORT); the parent serves nothing.
 *
 * A worker is this same command with `--worker` behind its arguments. Its standard input is a pipe from the parent that
 * nothing is ever written to: when it ends, the parent wants the worker to drain, or is gone, however it went. So nothing
 * that a parent does or suffers leaves workers behind, and no signal is needed, which could cross one from the terminal.
 */
import {
  Console,
  Data,
  Deferred,
  Duration,
  Effect,
  Fiber,
  Option,
  type PlatformError,
  Predicate,
  Stdio,
  Stream,
} from "effect"
import { Flag } from "effect/cli"
import { ChildProcess, type ChildProcessSpawner } from "effect/process"
import * as Backoff from "../core/rpc/backoff.ts"
import { serve } from "../transport/server.ts"
import { again, cores } from "./again.ts"
import { UsageError } from "./failure.ts"

const maxWorkers = 1024

export const workersFlags = {
  workers: Flag.String("workers").pipe(
    Flag.withMetavar("number|auto"),
    Flag.withDescription(
      "Serve with so many processes on the one port, or with one for each core; a cache in memory is each one's own",
    ),
    Flag.filterMap(
      (text) => {
        const count = text === "auto" ? Math.min(cores(), maxWorkers) : /^\d+$/.test(text) ? Number(text) : 0
        return count >= 1 && count <= maxWorkers ? Option.some(count) : Option.none()
      },
      (text) => `Expected a number from 1 to ${maxWorkers} or auto, not ${JSON.stringify(text)}`,
    ),
    Flag.withDefault(1),
  ),
  // For the parent alone to say: the port that a worker shares, or 0 for the first one to find it.
  worker: Flag.Int("worker").pipe(Flag.withHidden, Flag.optional),
} as const

export interface WorkersFlags {
  readonly workers: number
  readonly worker: Option.Option<number>
}

/** A worker that did not come to listen. */
export class WorkerError extends Data.TaggedError("WorkerError")<{ readonly message: string }> {}

// ---- A worker

// How a worker says that it listens, in a line of its own and before all others that begin so.
const report = "listens on "

/** Serves as a worker: tells the parent where it listens, and ends when the parent wants it to, or is gone. */
export const work = <E, R>(listening: Effect.Effect<{ readonly url: string }, E, R>) =>
  Effect.raceFirst(
    Effect.flatMap(Stdio.Stdio, ({ stdin }) => Effect.ignore(Stream.runDrain(stdin))),
    Effect.flatMap(listening, ({ url }) => {
      // A signal to this process alone is a way to end, too: the parent starts another one.
      process.exitCode = 0
      return Effect.andThen(Console.log(`${report}${url}`), Effect.never)
    }),
  )

// ---- The parent

// What dies at once, and again and again, costs little; what died once is back before anybody waits for it.
const restarts: Backoff.Backoff = { initial: "200 millis", multiplier: 2, max: "30 seconds", jitter: 0.2 }
// Who has been up for so long didn't die of how it started.
const steady = Duration.seconds(10)
// How long after its grace a worker may still be busy with its end.
const patience = Duration.seconds(5)

/** How a worker has ended. */
interface End {
  readonly how: string
  /** Its exit code, if it had one. */
  readonly code: number | undefined
}

const ended = (code: number): End => ({ how: `ended with code ${code}`, code })

// The only place where Effect says which signal it was is the text of the cause.
const failed = ({ reason }: PlatformError.PlatformError): End => {
  const why = reason.cause instanceof Error ? reason.cause.message : reason.message
  const [signal] = /SIG[A-Z0-9]+/.exec(why) ?? []
  return { how: signal === undefined ? `failed: ${why}` : `was ended by ${signal}`, code: undefined }
}

/** Where a worker listens, once it does for the first time. */
type Listens = Deferred.Deferred<string, WorkerError | UsageError>

/** What the command is told of its workers. */
export interface WorkersOptions {
  readonly count: number
  readonly host: string
  readonly port: number
  /** How long each may take to drain. */
  readonly grace: Duration.Duration
}

/** Fails where another program listens: with `reusePort` alone nobody would know if it were a server like this one. */
const checkPort = (host: string, port: number) => Effect.scoped(serve([], { host, port }))

/** Whether processes can share a port here, by trying. */
const canShare = (host: string) =>
  Effect.scoped(serve([], { host, port: 0, reusePort: true })).pipe(
    Effect.as(true),
    Effect.catchIf(
      ({ cause }) => Predicate.hasProperty(cause, "code") && cause.code === "ENOTSUP",
      () => Effect.succeed(false),
    ),
  )

/**
 * Starts workers and gives their address once all of them listen; one that dies later is started again. They drain when the
 * scope closes, which waits for them. Where processes can't share a port it says so and lets this one listen alone.
 */
export const workers = Effect.fnUntraced(function* <E, R>(
  { count, host, port, grace }: WorkersOptions,
  alone: Effect.Effect<{ readonly url: string }, E, R>,
) {
  const commandLine = yield* again(process.argv.slice(2))
  yield* checkPort(host, port)
  if (!(yield* canShare(host))) {
    yield* Console.error("processes can't share a port on this system: there is one, without --workers")
    return yield* alone
  }
  const draining = yield* Deferred.make<void>()
  const running = new Set<ChildProcessSpawner.ChildProcessHandle>()
  const keepers: Array<Fiber.Fiber<void, unknown>> = []
  const killAll = () => {
    for (const worker of running) Effect.runFork(Effect.ignore(worker.kill({ killSignal: "SIGKILL" })))
  }
  // A second signal ends this process at once, and they go with it.
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("exit", killAll)),
    () => Effect.sync(() => process.off("exit", killAll)),
  )
  yield* Effect.addFinalizer(
    Effect.fnUntraced(function* () {
      yield* Deferred.succeed(draining, undefined)
      const inTime = yield* Effect.timeoutOption(Fiber.awaitAll(keepers), Duration.sum(grace, patience))
      if (Option.isNone(inTime)) {
        yield* Effect.logWarning(`killing ${running.size} workers, which have not come to their end in time`)
        killAll()
      }
      yield* Fiber.interruptAll(keepers)
    }),
  )
  // Where all listen; 0 until the first one has found a port.
  let bound = port

  /** Runs a worker to its end. */
  const run = Effect.fnUntraced(
    function* (number: number, listens: Listens) {
      const [command, ...args] = commandLine
      const worker = yield* ChildProcess.make(command, [...args, `--worker=${bound}`], {
        // In the parent's process group, to be stopped and continued with it.
        detached: false,
        stdin: Stream.fromEffectDrain(Deferred.await(draining)),
      })
      running.add(worker)
      yield* Effect.addFinalizer(() => Effect.sync(() => running.delete(worker)))
      let reported = false
      const hear = (line: string) => {
        if (reported || !line.startsWith(report)) return Console.log(`[${number}] ${line}`)
        reported = true
        const url = line.slice(report.length)
        if (bound === 0) bound = Number(new URL(url).port)
        return Effect.asVoid(Deferred.succeed(listens, url))
      }
      const lines = (bytes: typeof worker.stdout) => Stream.splitLines(Stream.decodeText(bytes))
      yield* Effect.all(
        [
          Stream.runForEach(lines(worker.stdout), hear),
          Stream.runForEach(lines(worker.stderr), (line) => Console.error(`[${number}] ${line}`)),
        ],
        { concurrency: "unbounded", discard: true },
      )
      return ended(yield* worker.exitCode)
    },
    Effect.scoped,
    Effect.catch((error) => Effect.succeed(failed(error))),
  )

  /** Keeps a worker running until all drain. */
  const keep = Effect.fnUntraced(function* (number: number, listens: Listens) {
    for (let deaths = 0; ; deaths++) {
      const [lived, { how, code }] = yield* Effect.timed(run(number, listens))
      if (yield* Deferred.isDone(draining)) {
        // Cut off by a second signal, of which this process may hear later than of their end.
        if (code !== undefined && code !== 0) process.exitCode = code
        return
      }
      if (!(yield* Deferred.isDone(listens))) {
        const message = `worker ${number} ${how} before it listened`
        // It was told the same as this command, which was then used as wrongly.
        yield* Deferred.fail(listens, code === 2 ? new UsageError({ message }) : new WorkerError({ message }))
        return
      }
      if (Duration.isGreaterThanOrEqualTo(lived, steady)) deaths = 0
      const wait = yield* Backoff.delay(restarts, deaths)
      yield* Effect.logWarning(`worker ${number} ${how}: starting it again in ${Duration.toSeconds(wait).toFixed(1)} s`)
      yield* Effect.raceFirst(Effect.sleep(wait), Deferred.await(draining))
      if (yield* Deferred.isDone(draining)) return
    }
  })

  const start = Effect.fnUntraced(function* (number: number) {
    const listens: Listens = yield* Deferred.make<string, WorkerError | UsageError>()
    keepers.push(yield* Effect.forkDetach(keep(number, listens)))
    return Deferred.await(listens)
  })

  const url = yield* yield* start(1)
  const others = yield* Effect.forEach(Array.from({ length: count - 1 }), (_, i) => start(i + 2))
  yield* Effect.forEach(others, (listens) => listens, { discard: true })
  return { url }
})
