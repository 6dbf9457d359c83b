/**
 * Replay: the requests of a call are read once, and kept to be given again to each attempt until one is committed.
 *
 * Source: gRPC's proposal A6, "When Retries are Valid" and "Memory Management (Buffering)".
 */
import { type Array as Arr, type Cause, Effect, Exit, Fiber, Pull, type Scope, Stream } from "effect"
import type { ResponseMetadata } from "./call.ts"
import { RpcError } from "./error.ts"

type Messages = Arr.NonEmptyReadonlyArray<unknown>
type Requests = Stream.Stream<unknown, RpcError>
type Answers = Stream.Stream<unknown, RpcError>

/** Makes one attempt: `exchange` gets all requests from the first on, and gives the answers. */
export type Replay = (response: ResponseMetadata, exchange: (requests: Requests) => Answers) => Answers

// What a message takes up beside its bytes: an object, and its place in an array.
const overhead = 64

/**
 * Reads a call's requests in the call's scope, as fast as its attempts take them, and keeps up to so many bytes of them.
 * An attempt that passes the limit is committed by that, as is one whose answers have begun to come: from then on nothing
 * is kept. An attempt that comes after all the same, and lacks what is no longer kept, fails with `internal`.
 */
export const replay = Effect.fnUntraced(function* (
  requests: Requests,
  sizeOf: (request: unknown) => number,
  maxBytes: number,
): Effect.fn.Return<Replay, never, Scope.Scope> {
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const source = yield* Stream.toPull(requests)

  // Arrays as they were read, the first `dropped` of which are no longer here.
  const kept: Array<Messages> = []
  let dropped = 0
  let bytes = 0
  let ended: Exit.Failure<Messages, RpcError | Cause.Done> | undefined
  // Outlives the attempt that waits for it: what it reads is the next one's.
  let reading: Fiber.Fiber<void> | undefined
  yield* Effect.addFinalizer(() => (reading === undefined ? Effect.void : Fiber.interrupt(reading)))

  const read = Effect.map(Effect.exit(source), (exit) => {
    if (Exit.isFailure(exit)) {
      ended = exit
      return
    }
    kept.push(exit.value)
    for (const message of exit.value) bytes += sizeOf(message) + overhead
  })

  return (response, exchange) => {
    let at = 0
    const drop = () => {
      if (at <= dropped) return
      kept.splice(0, at - dropped)
      dropped = at
    }
    const next: typeof source = Effect.suspend(() => {
      if (at < dropped) return Effect.fail(notKept())
      // Requests that fail would do so in each attempt.
      if (bytes > maxBytes || (ended !== undefined && !Pull.isDoneCause(ended.cause))) response.committed = true
      if (response.committed) drop()
      const messages = kept[at - dropped]
      if (messages !== undefined) {
        at += 1
        return Effect.succeed(messages)
      }
      if (ended !== undefined) return ended
      if (reading?.pollUnsafe() !== undefined) reading = undefined
      if (response.committed && reading === undefined) {
        return Effect.map(source, (messages) => {
          at += 1
          dropped = at
          return messages
        })
      }
      reading ??= run(read)
      return reading.pollUnsafe() === undefined ? Effect.andThen(Fiber.await(reading), next) : next
    })
    return Stream.suspend(() => {
      at = 0
      return exchange(Stream.fromPull(Effect.succeed(next)))
    }).pipe(
      Stream.mapArray((answers) => {
        response.committed = true
        drop()
        return answers
      }),
    )
  }
})

const notKept = () =>
  new RpcError({
    code: "internal",
    message: "a call was sent again whose requests are no longer kept: raise the limit",
  })
