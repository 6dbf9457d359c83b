/**
 * What layers are made of: functions around a call, and how a call is run inside of them.
 */
import { Effect, Queue, Stream } from "effect"
import type { CallInfo } from "./call.ts"
import type { Compression } from "./compression.ts"
import type { RpcError } from "./error.ts"

/**
 * A function around a whole call. `next` runs what is inside: on a server the program until its last message has been
 * taken, on a client the exchange until the last answer has been. It may change the call that `next` gets, run `next`
 * later, or not at all.
 */
export type Interceptor = <A, R>(
  call: CallInfo,
  next: (call: CallInfo) => Effect.Effect<A, RpcError, R>,
) => Effect.Effect<A, RpcError, R>

/** What a service and a channel have in common: where layers put themselves. */
export interface Layered {
  /** All interceptors as one, the outermost first. */
  readonly around: Interceptor
  /** How messages are compressed; `undefined` for not at all. */
  readonly compression: Compression | undefined
}

/** No interceptor. It is told by its identity, so that a call without layers pays for none. */
export const none: Interceptor = (call, next) => next(call)

// A channel's interceptors that take no time of their own, or end at the call's deadline by themselves.
const prompt = new WeakSet<Interceptor>([none])

/**
 * Says of an interceptor that it ends at its call's deadline if what is inside of it does. A connector does so too, and
 * where all do, a call needs no fiber of its own to be interrupted at its deadline.
 */
export const promptly = (around: Interceptor): Interceptor => {
  prompt.add(around)
  return around
}

export const isPrompt = (around: Interceptor): boolean => prompt.has(around)

export const unlayered: Layered = { around: none, compression: undefined }

type Messages<A> = readonly [A, ...Array<A>]

/**
 * Puts an interceptor around a stream: all of its life, from before the first message until the last was taken, is the
 * one effect that the interceptor gets. A slow consumer still slows the producer, and who leaves the stream early
 * interrupts what is inside.
 */
export const aroundStream = <A, R>(
  around: Interceptor,
  call: CallInfo,
  make: (call: CallInfo) => Stream.Stream<A, RpcError, R>,
): Stream.Stream<A, RpcError, R> =>
  around === none
    ? make(call)
    : Stream.callback<Messages<A>, RpcError, R>(
        (queue) =>
          Effect.andThen(
            around(call, (inner) => Stream.runForEachArray(make(inner), (messages) => Queue.offer(queue, messages))),
            Queue.end(queue),
          ),
        // A queue that holds nothing: an offer ends when its messages are taken, so the last one counts in.
        { bufferSize: 0 },
      ).pipe(Stream.flattenArray)
