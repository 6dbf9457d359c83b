/**
 * Deadlines: the moment by which a call must have ended, in milliseconds of monotonic time (`monotonic.ts`).
 *
 * A deadline crosses the wire as the time that is left, since clocks differ (gRPC: `grpc-timeout`; Connect:
 * `Connect-Timeout-Ms`), and it is inherited: calls that a program makes while it serves a call end with that call.
 */
import { Clock, Context, Duration, Effect, Fiber } from "effect"
import { RpcError } from "./error.ts"
import * as Monotonic from "./monotonic.ts"

export type Deadline = number

/** The deadline that calls made here inherit; `undefined` for none. Serving a call sets it. */
export const Current = Context.Reference<Deadline | undefined>("basel/rpc/Deadline", {
  defaultValue: () => undefined,
})

/** The deadline that lies this far from now. */
export const after = (duration: Duration.Input): Effect.Effect<Deadline> =>
  Effect.map(Monotonic.now, (now) => now + Duration.toMillis(duration))

/** How long calls may run, in milliseconds; Infinity for no limit. */
export interface Limit {
  /** No call runs longer. */
  readonly max: number
  /** For calls that come without a deadline. */
  readonly usual: number
}

export const unlimited: Limit = { max: Number.POSITIVE_INFINITY, usual: Number.POSITIVE_INFINITY }

/** The deadline of a call that begins now and came with this one. It only ever comes nearer. */
export const limited = (deadline: Deadline | undefined, { max, usual }: Limit, now: number): Deadline | undefined => {
  const nearest = Math.min(deadline ?? now + usual, now + max)
  return nearest === Number.POSITIVE_INFINITY ? undefined : nearest
}

/** The nearest of several; `undefined` if none is set. */
export const earliest = (...deadlines: ReadonlyArray<Deadline | undefined>): Deadline | undefined => {
  let nearest: Deadline | undefined
  for (const one of deadlines) if (one !== undefined && (nearest === undefined || one < nearest)) nearest = one
  return nearest
}

/** What is left until a deadline, in milliseconds: 0 once it has passed. */
export const remaining = (deadline: Deadline): Effect.Effect<number> =>
  Effect.map(Monotonic.now, (now) => Math.max(0, deadline - now))

/** The error of a call that its deadline ended, before something that is to be waited for, and what stood in its way. */
export const exceeded = (before = "the call ended", obstacle?: string): RpcError =>
  new RpcError({
    code: "deadline_exceeded",
    message: `the deadline passed before ${before}${obstacle === undefined ? "" : `: ${obstacle}`}`,
  })

/**
 * Interrupts an effect at a deadline and fails with `deadline_exceeded`. Without a deadline the effect is given back as it
 * is, and one that ends in the turn it began in costs no timer.
 */
export const enforce = <A, R>(
  effect: Effect.Effect<A, RpcError, R>,
  deadline: Deadline | undefined,
): Effect.Effect<A, RpcError, R> =>
  deadline === undefined
    ? effect
    : Effect.contextWith((context: Context.Context<R>) =>
        enforceIn(context, effect, deadline - Monotonic.nowUnsafe(Context.get(context, Clock.Clock))),
      )

/** The same for who knows the context and how many milliseconds are left. */
export const enforceIn = <A, R>(
  context: Context.Context<R>,
  effect: Effect.Effect<A, RpcError, R>,
  left: number,
): Effect.Effect<A, RpcError> => {
  if (left <= 0) return Effect.fail(exceeded())
  // On a fiber of its own, since an interrupt ends all of one. Whoever waits for it sees to its end.
  const fiber = Effect.runForkWith(context)(effect)
  return fiber.pollUnsafe() ?? endWithin(fiber, left)
}

const endWithin = <A>(fiber: Fiber.Fiber<A, RpcError>, millis: number): Effect.Effect<A, RpcError> => {
  const stop = Fiber.interrupt(fiber)
  return Effect.timeoutOrElse(Fiber.join(fiber), {
    duration: millis,
    orElse: () => Effect.andThen(stop, Effect.fail(exceeded())),
  }).pipe(Effect.onInterrupt(() => stop))
}

/**
 * Gives all calls that an effect makes a deadline this far from now, unless they have a nearer one.
 *
 * @example yield* client.calc({ n: 999 }).pipe(Deadline.within("5 seconds"))
 */
export const within =
  (duration: Duration.Input) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(Effect.zip(after(duration), Current), ([mine, inherited]) =>
      Effect.provideService(effect, Current, earliest(mine, inherited)),
    )
