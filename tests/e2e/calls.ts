/**
 * Calls that tests of the command keep open, and connections that it should refuse.
 */
import assert from "node:assert/strict"
import { type Cause, Deferred, Effect, Fiber, Queue, Stream } from "effect"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"

/** A bidi call that runs until its requests end; it has begun to be answered. */
export const openCall = Effect.fnUntraced(function* (url: string) {
  const requests = yield* Queue.bounded<{ readonly n: number }, Cause.Done>(1)
  const answered = yield* Deferred.make<void>()
  const client = Client.make(PiCalculator, yield* connect(url))
  const call = yield* Effect.forkScoped(
    Stream.runForEach(client.calcStream(Stream.fromQueue(requests)), () => Deferred.succeed(answered, undefined)),
  )
  const feed = yield* Effect.forkScoped(Effect.forever(Queue.offer(requests, { n: 1 })))
  yield* Deferred.await(answered)
  return { call, finish: Effect.andThen(Fiber.interrupt(feed), Queue.end(requests)) }
})

/** Fails while a server still takes connections. */
export const refusesConnections = (url: string) =>
  Effect.map(
    Effect.flip(Effect.flatMap(connect(url), (channel) => Client.make(PiCalculator, channel).calc({ n: 1 }))),
    (error) => assert.equal(error._tag === "RpcError" && error.code, "unavailable"),
  )
