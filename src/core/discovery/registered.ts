/**
 * `registered`: keeps an endpoint in a registry for as long as its server serves.
 */
import { Cause, Deferred, Duration, Effect, Exit, Fiber, Option, type Scope } from "effect"
import * as Backoff from "../rpc/backoff.ts"
import { RpcError } from "../rpc/error.ts"
import { escaped, lines, printableCause } from "../rpc/printable.ts"
import type { Endpoint, Registration, Registry } from "./registry.ts"

export interface RegisteredOptions {
  /** How long the endpoint stays in when it isn't heard of any more. Default: 5 seconds. */
  readonly ttl?: Duration.Input
}

/** How long closing may take: a registry that is away doesn't hold up a server that drains. */
const patience = Duration.seconds(1)

/**
 * Registers an endpoint, and keeps it registered until the scope closes; then it is taken out, which takes a second at
 * most.
 *
 * It doesn't wait for the registry: a server whose registry is away serves. All is done in the background, and tried until
 * it works: the lease is renewed at each third of its time, and a try that takes as long as that is given up; where it
 * can't be renewed, the endpoint is registered anew, with a backoff of a third of the lease at most. So the endpoint is in
 * again before the registry was well for as long as a lease is. The log says when it is registered, once when that fails,
 * and once when it works again.
 *
 * Open it in the scope of the server, after that: it is out before the server drains then.
 *
 * @example
 * yield* serve(service, { port: 8080 })
 * yield* registered(registry, "pi", { address: "10.0.0.1:8080" })
 */
export const registered = (
  registry: Registry,
  service: string,
  endpoint: Endpoint,
  { ttl = "5 seconds" }: RegisteredOptions = {},
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.suspend(() => {
        const closing = Deferred.makeUnsafe<void>()
        const keeping = keep(registry, service, endpoint, Duration.fromInputUnsafe(ttl), closing)
        // Detached, so that its end comes when the finalizer says so.
        return Effect.map(Effect.forkDetach(keeping), (fiber) => ({ closing, fiber }))
      }),
      ({ closing, fiber }) =>
        Effect.andThen(
          Deferred.succeed(closing, undefined),
          Effect.timeoutOrElse(Fiber.await(fiber), {
            duration: patience,
            orElse: () =>
              Effect.andThen(
                leftIn(endpoint, service, "the registry doesn't answer"),
                Effect.sync(() => fiber.interruptUnsafe()),
              ),
          }),
        ),
    ),
  )

const keep = Effect.fnUntraced(function* (
  registry: Registry,
  service: string,
  endpoint: Endpoint,
  ttl: Duration.Duration,
  closing: Deferred.Deferred<void>,
) {
  const { address } = endpoint
  const third = Duration.millis(Math.floor(Duration.toMillis(ttl) / 3))
  const backoff: Backoff.Backoff = { initial: "100 millis", multiplier: 1.6, max: third, jitter: 0.2 }
  const closed = Deferred.await(closing)
  let registration: Registration | undefined
  let failures = 0
  while (!Deferred.isDoneUnsafe(closing)) {
    // Not given up where it closes meanwhile: nobody could take out then what it puts in.
    const exit = yield* tried(() => registry.register(service, endpoint, ttl), third)
    if (Exit.isFailure(exit)) {
      if (failures === 0)
        yield* Effect.logWarning(
          `${address} can't be registered as ${service}, and this is tried until it works: ${reason(exit.cause)}`,
        )
      yield* Effect.raceFirst(Effect.flatMap(Backoff.delay(backoff, failures), Effect.sleep), closed)
      failures++
      continue
    }
    if (registration === undefined) yield* Effect.logInfo(`${address} is registered as ${service}`)
    else if (failures > 0) yield* Effect.logInfo(`${address} is registered as ${service} again`)
    registration = exit.value
    failures = 0
    yield* Effect.raceFirst(renewing(registration, third), closed)
  }
  if (registration !== undefined)
    yield* Effect.catchCause(registration.deregister, (cause) => leftIn(endpoint, service, reason(cause)))
})

const leftIn = ({ address }: Endpoint, service: string, why: string): Effect.Effect<void> =>
  Effect.logWarning(`${address} could not be taken out of ${service}, and is out when its lease ends: ${why}`)

/** Renews a lease over and over; ends when that can't be done. */
const renewing = Effect.fnUntraced(function* ({ renew }: Registration, every: Duration.Duration) {
  do yield* Effect.sleep(every)
  while (Exit.isSuccess(yield* tried(() => renew, every)))
})

/**
 * What comes of asking a registry, which has so long to answer. One that hangs is left alone, not waited for: it might not
 * let itself be interrupted.
 */
const tried = <A>(
  ask: () => Effect.Effect<A, RpcError>,
  duration: Duration.Duration,
): Effect.Effect<Exit.Exit<A, RpcError>> =>
  Effect.flatMap(Effect.forkDetach(Effect.suspend(ask)), (fiber) => {
    const leave = Effect.sync(() => fiber.interruptUnsafe())
    const error = new RpcError({
      code: "deadline_exceeded",
      message: `the registry didn't answer within ${Duration.toMillis(duration)} ms`,
    })
    return Effect.timeoutOrElse(Fiber.await(fiber), {
      duration,
      orElse: () => Effect.as(leave, Exit.fail(error)),
    }).pipe(Effect.onInterrupt(() => leave))
  })

const reason = (cause: Cause.Cause<RpcError>): string =>
  Option.match(Cause.findErrorOption(cause), {
    onSome: ({ code, message }) => `${code}: ${escaped(message)}`,
    onNone: () => lines(Cause.pretty(printableCause(cause))).join("\n"),
  })
