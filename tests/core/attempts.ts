/**
 * A channel whose attempts go as a script says, for tests of the layers that make attempts.
 */
import { Clock, Effect, Fiber, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { CallInfo, Method } from "../../src/core/rpc/call.ts"
import { type Channel, callStream, callUnary, fromConnector } from "../../src/core/rpc/channel.ts"
import { always } from "../../src/core/rpc/connectivity.ts"
import * as Deadline from "../../src/core/rpc/deadline.ts"
import { RpcError } from "../../src/core/rpc/error.ts"
import * as Metadata from "../../src/core/rpc/metadata.ts"
import type { Code } from "../../src/core/rpc/status.ts"
import { method, settle } from "./support.ts"

/** How one attempt goes. */
export interface Step {
  /** How many requests of a stream it takes; all if left out. */
  readonly takes?: number
  /** How long it takes, in milliseconds; it never ends if this is infinite. */
  readonly millis?: number
  /** A header, which commits it. */
  readonly header?: string
  /** How many answers of a stream there are before its end. */
  readonly answers?: number
  /** What it fails with; it succeeds if left out. */
  readonly fails?: Code
  /** What the server says of the next attempt. */
  readonly pushback?: string | ReadonlyArray<string>
}

export interface Seen {
  readonly call: CallInfo
  readonly at: number
  /** The requests that it took. */
  readonly requests: Array<unknown>
  ended: "answered" | "failed" | "interrupted" | undefined
}

export interface Script {
  readonly channel: Channel
  /** The attempts that there were. */
  readonly seen: Array<Seen>
}

/** Attempts beyond the script go as the last of its steps. An answer is how many attempts there had been. */
export const script = (...steps: readonly [Step, ...Array<Step>]): Script => {
  const seen: Array<Seen> = []
  const begin = (call: CallInfo) =>
    Effect.map(Clock.currentTimeMillis, (at) => {
      const one: Seen = { call, at, requests: [], ended: undefined }
      seen.push(one)
      return [one, steps[seen.length - 1] ?? steps.at(-1) ?? steps[0]] as const
    })
  const end = (call: CallInfo, { fails, pushback = [] }: Step) =>
    Effect.suspend(() => {
      if (fails === undefined) {
        call.response.committed = true
        return Effect.succeed(seen.length)
      }
      const trailer = Metadata.of([
        ["x-attempt", String(seen.length)] as const,
        ...[pushback].flat().map((value) => ["grpc-retry-pushback-ms", value] as const),
      ])
      call.response.trailer = trailer
      return new RpcError({ code: fails, message: `attempt ${seen.length}`, metadata: trailer })
    })
  const during = (call: CallInfo, { header, millis = 0 }: Step) =>
    Effect.suspend(() => {
      if (header !== undefined) {
        call.response.header = Metadata.of({ "x-header": header })
        call.response.committed = true
      }
      return millis === 0 ? Effect.void : millis === Number.POSITIVE_INFINITY ? Effect.never : Effect.sleep(millis)
    })
  const watch = (one: Seen) => ({
    onExit: (tag: "Success" | "Failure") =>
      Effect.sync(() => {
        one.ended ??= tag === "Success" ? "answered" : "failed"
      }),
    onInterrupt: () =>
      Effect.sync(() => {
        one.ended = "interrupted"
      }),
  })
  return {
    seen,
    channel: fromConnector({
      connectivity: always("ready"),
      unary: (call, request) =>
        Effect.flatMap(begin(call), ([one, step]) => {
          one.requests.push(request)
          return Deadline.enforce(Effect.andThen(during(call, step), end(call, step)), call.deadline).pipe(
            Effect.onInterrupt(watch(one).onInterrupt),
            Effect.onExit((exit) => watch(one).onExit(exit._tag)),
          )
        }),
      stream: (call, requests) =>
        Stream.unwrap(
          Effect.map(begin(call), ([one, step]) => {
            const taken = step.takes === undefined ? requests : Stream.take(requests, step.takes)
            const answers = Stream.range(1, step.answers ?? 0)
            return Stream.fromEffect(
              Effect.andThen(
                Stream.runForEach(taken, (request) => Effect.sync(() => one.requests.push(request))),
                during(call, step),
              ),
            ).pipe(
              Stream.drain,
              Stream.concat((step.answers ?? 0) > 0 ? answers : Stream.empty),
              Stream.concat(Stream.fromEffect(end(call, step))),
              Stream.onExit((exit) => watch(one).onExit(exit._tag)),
            )
          }),
        ),
    }),
  }
}

export const idempotent: Method = { ...method, idempotency: "idempotent" }
export const bidi: Method = { ...idempotent, name: "CalcStream", kind: "bidi_streaming" }

/** Makes a unary call. */
export const call = (channel: Channel, of: Method = idempotent) => callUnary(channel, of, "request")

/** Makes a call of a stream of requests, and gives its answers. */
export const stream = <R>(channel: Channel, requests: Stream.Stream<unknown, RpcError, R>, of: Method = bidi) =>
  Stream.runCollect(callStream(channel, of, requests))

/** Jitter that changes nothing. */
export const steady = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Random.Random, { nextDoubleUnsafe: () => 0.5, nextIntUnsafe: () => 0 })

/** When the attempts began. */
export const times = ({ seen }: Script) => seen.map(({ at }) => at)

/** What comes of an effect when as much time passes as it needs. */
export const passing = <A, E>(effect: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(effect)
    yield* settle
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.await(fiber)
  })

/** The same, without jitter. */
export const inTime = <A, E>(effect: Effect.Effect<A, E>) => passing(steady(effect))

/** The code that an effect fails with, or its value. */
export const outcome = <A, R>(effect: Effect.Effect<A, RpcError, R>) =>
  Effect.match(effect, { onSuccess: (value): unknown => value, onFailure: ({ code }): unknown => code })
