import assert from "node:assert/strict"
import { type Cause, Effect, Exit, Fiber, Latch, Queue, Random, Scope, Stream } from "effect"
import fc from "fast-check"
import { noResponse, type ResponseMetadata } from "../../../src/core/rpc/call.ts"
import { callStream, fromConnector } from "../../../src/core/rpc/channel.ts"
import { always } from "../../../src/core/rpc/connectivity.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { type Replay, replay } from "../../../src/core/rpc/replay.ts"
import { test } from "../../effect.ts"
import { bidi } from "../attempts.ts"
import { property, settle } from "../support.ts"

const unavailable = new RpcError({ code: "unavailable", message: "gone" })
const enough = 1_000_000

/** An attempt that takes so many requests, then ends without an answer; what it took. */
const taking = (attempt: Replay, count = Number.POSITIVE_INFINITY, response: ResponseMetadata = noResponse()) =>
  Effect.gen(function* () {
    const taken: Array<unknown> = []
    const exchange = (requests: Stream.Stream<unknown, RpcError>) =>
      Stream.drain(Stream.tap(Stream.take(requests, count), (request) => Effect.sync(() => taken.push(request))))
    yield* Stream.runDrain(attempt(response, exchange))
    return taken
  })

const numbers = (last: number) => Stream.rechunk(Stream.range(1, last), 1)

test("each attempt gets all requests from the first on, which are read once", () =>
  Effect.gen(function* () {
    let read = 0
    const requests = Stream.tap(numbers(4), () => Effect.sync(() => read++))
    const attempt = yield* replay(requests, () => 1, enough)
    assert.deepEqual(yield* taking(attempt, 2), [1, 2])
    assert.equal(read, 2)
    assert.deepEqual(yield* taking(attempt), [1, 2, 3, 4])
    assert.deepEqual(yield* taking(attempt), [1, 2, 3, 4])
    assert.equal(read, 4)
  }))

test("an attempt that is interrupted while it waits for a request loses none", () =>
  Effect.gen(function* () {
    const asked = yield* Queue.make<number, Cause.Done>()
    const attempt = yield* replay(Stream.fromQueue(asked), () => 1, enough)
    for (let interrupted = 1; interrupted <= 3; interrupted++) {
      const waiting = yield* Effect.forkChild(taking(attempt))
      yield* settle
      yield* Fiber.interrupt(waiting)
      yield* Queue.offer(asked, interrupted)
      yield* settle
    }
    yield* Queue.end(asked)
    assert.deepEqual(yield* taking(attempt), [1, 2, 3])
  }))

test("requests are read no faster than attempts take them", () =>
  Effect.gen(function* () {
    let read = 0
    const requests = Stream.tap(numbers(100), () => Effect.sync(() => read++))
    const attempt = yield* replay(requests, () => 1, enough)
    for (const committed of [false, true]) {
      read = 0
      const gate = yield* Latch.make()
      const holding = yield* Effect.forkChild(
        Stream.runDrain(
          attempt({ ...noResponse(), committed }, (requests) => Stream.drain(Stream.tap(requests, () => gate.await))),
        ),
      )
      yield* settle
      assert.ok(read <= 1, `${read} were read`)
      yield* Fiber.interrupt(holding)
    }
  }))

test("a committed attempt gets all requests, and they are no longer there for another", () =>
  Effect.gen(function* () {
    const attempt = yield* replay(numbers(5), () => 1, enough)
    yield* taking(attempt, 2)
    assert.deepEqual(yield* taking(attempt, undefined, { ...noResponse(), committed: true }), [1, 2, 3, 4, 5])
    assert.equal((yield* Effect.flip(taking(attempt))).code, "internal")
  }))

test("an attempt that is committed on its way goes on, and what it took is dropped", () =>
  Effect.gen(function* () {
    const attempt = yield* replay(numbers(5), () => 1, enough)
    yield* taking(attempt, 4)
    const response = noResponse()
    const taken: Array<unknown> = []
    const committing = attempt(response, (requests) =>
      Stream.drain(
        Stream.tap(requests, (request) =>
          Effect.sync(() => {
            taken.push(request)
            if (request === 2) response.committed = true
          }),
        ),
      ),
    )
    yield* Stream.runDrain(committing)
    assert.deepEqual(taken, [1, 2, 3, 4, 5])
    assert.equal((yield* Effect.flip(taking(attempt))).code, "internal")
  }))

test("an answer commits its attempt", () =>
  Effect.gen(function* () {
    const attempt = yield* replay(numbers(2), () => 1, enough)
    const response = noResponse()
    const exchange = (requests: Stream.Stream<unknown, RpcError>) =>
      Stream.concat(Stream.drain(Stream.take(requests, 1)), Stream.make("answer"))
    assert.deepEqual(yield* Stream.runCollect(attempt(response, exchange)), ["answer"])
    assert.equal(response.committed, true)
    assert.equal((yield* Effect.flip(taking(attempt))).code, "internal")
  }))

test("an attempt that gets more than is kept is committed by it, before the request that is too much", () =>
  Effect.gen(function* () {
    const attempt = yield* replay(numbers(10), () => 1_000, 3_500)
    const [three, four] = [noResponse(), noResponse()]
    assert.deepEqual(yield* taking(attempt, 3, three), [1, 2, 3])
    assert.equal(three.committed, false)
    assert.deepEqual(yield* taking(attempt, 4, four), [1, 2, 3, 4])
    assert.equal(four.committed, true)
  }))

test("messages of no bytes count too", () =>
  Effect.gen(function* () {
    const attempt = yield* replay(numbers(1_000), () => 0, 10_000)
    const response = noResponse()
    yield* taking(attempt, undefined, response)
    assert.equal(response.committed, true)
  }))

test("what was too much for an attempt that ended before it got it is there for the next one", () =>
  Effect.gen(function* () {
    const asked = yield* Queue.make<number, Cause.Done>()
    const attempt = yield* replay(Stream.fromQueue(asked), () => 1_000, 1_500)
    yield* Queue.offer(asked, 1)
    const waiting = yield* Effect.forkChild(taking(attempt))
    yield* settle
    yield* Fiber.interrupt(waiting)
    yield* Queue.offer(asked, 2)
    yield* settle
    yield* Queue.offer(asked, 3)
    yield* Queue.end(asked)
    const response = noResponse()
    assert.deepEqual(yield* taking(attempt, undefined, response), [1, 2, 3])
    assert.equal(response.committed, true)
  }))

test("requests that fail commit the attempt, which fails the same way", () =>
  Effect.gen(function* () {
    const attempt = yield* replay(Stream.concat(numbers(2), Stream.fail(unavailable)), () => 1, enough)
    const response = noResponse()
    assert.equal(yield* Effect.flip(taking(attempt, undefined, response)), unavailable)
    assert.equal(response.committed, true)
  }))

test("requests end with the call, not with an attempt", () =>
  Effect.gen(function* () {
    let finalized = 0
    const requests = Stream.ensuring(
      Stream.concat(numbers(2), Stream.never),
      Effect.sync(() => finalized++),
    )
    const scope = yield* Scope.make()
    const attempt = yield* Scope.provide(
      replay(requests, () => 1, enough),
      scope,
    )
    const waiting = yield* Effect.forkChild(taking(attempt))
    yield* settle
    yield* Fiber.interrupt(waiting)
    assert.equal(finalized, 0)
    yield* Scope.close(scope, Exit.void)
    assert.equal(finalized, 1)
  }))

test("a channel that keeps none gives requests on as they are, to each attempt anew", () =>
  Effect.gen(function* () {
    let begun = 0
    let committed: boolean | undefined
    const channel = fromConnector({
      connectivity: always("ready"),
      unary: () => Effect.never,
      stream: (call, requests) =>
        Stream.onEnd(
          requests,
          Effect.sync(() => {
            committed = call.response.committed
          }),
        ),
    })
    const requests = Stream.unwrap(
      Effect.sync(() => {
        begun++
        return numbers(3)
      }),
    )
    const answers = Stream.runCollect(callStream(channel, bidi, requests))
    assert.deepEqual([yield* answers, yield* answers, begun, committed], [[1, 2, 3], [1, 2, 3], 2, false])
    const keeping = { ...channel, replayBytes: () => enough }
    assert.deepEqual(yield* Stream.runCollect(callStream(keeping, bidi, requests)), [1, 2, 3])
    assert.deepEqual([begun, committed], [3, true])
  }))

test("whatever attempts take, and wherever they are interrupted, each gets the requests in order from the first on", () =>
  property(
    fc.record({
      arrays: fc.array(fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), { maxLength: 8 }),
      attempts: fc.array(fc.record({ takes: fc.nat(20), settles: fc.nat(30) }), { maxLength: 6 }),
      seed: fc.string(),
    }),
    ({ arrays, attempts, seed }) =>
      Effect.gen(function* () {
        const all = arrays.flat()
        const requests = Stream.fromIterable(arrays).pipe(
          Stream.rechunk(1),
          Stream.tap(() =>
            Effect.flatMap(Random.nextIntBetween(0, 5), (yields) =>
              Effect.replicateEffect(Effect.yieldNow, yields, { discard: true }),
            ),
          ),
          Stream.flatMap((array) => Stream.fromArray(array)),
        )
        const attempt = yield* replay(requests, () => 1, enough)
        for (const { takes, settles } of attempts) {
          const taken: Array<unknown> = []
          const exchange = (requests: Stream.Stream<unknown, RpcError>) =>
            Stream.drain(Stream.tap(Stream.take(requests, takes), (request) => Effect.sync(() => taken.push(request))))
          const fiber = yield* Effect.forkChild(Stream.runDrain(attempt(noResponse(), exchange)))
          yield* Effect.replicateEffect(Effect.yieldNow, settles, { discard: true })
          yield* Fiber.interrupt(fiber)
          assert.deepEqual(taken, all.slice(0, taken.length))
        }
        assert.deepEqual(yield* taking(attempt), all)
      }).pipe(Effect.scoped, Random.withSeed(seed)),
  ))
