import assert from "node:assert/strict"
import { Cause, Deferred, Effect, Exit, Fiber, Stream } from "effect"
import fc from "fast-check"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { aroundStream, type Interceptor, none } from "../../../src/core/rpc/interceptor.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import { test } from "../../effect.ts"
import { callWith, property, settle } from "../support.ts"

const aborted = new RpcError({ code: "aborted", message: "again" })

/** An interceptor that is more than `none`, and does nothing. */
const through: Interceptor = (call, next) => next(call)

const around = <A>(
  messages: Stream.Stream<A, RpcError>,
  interceptor: Interceptor = through,
): Stream.Stream<A, RpcError> => aroundStream(interceptor, callWith(), () => messages)

const note = (events: Array<string>, event: string) => Effect.sync(() => events.push(event))

/** An interceptor that notes when the stream begins, and how it ends. */
const watching =
  (events: Array<string>): Interceptor =>
  (call, next) =>
    Effect.andThen(
      note(events, "begin"),
      Effect.onExit(next(call), (exit) =>
        note(events, Exit.isSuccess(exit) ? "end" : Cause.hasInterruptsOnly(exit.cause) ? "interrupt" : "fail"),
      ),
    )

test("a stream passes whole and in order, however it is chunked", () =>
  property(fc.array(fc.array(fc.integer(), { minLength: 1, maxLength: 20 })), (chunks) =>
    Effect.gen(function* () {
      const chunked = Stream.flatMap(Stream.fromIterable(chunks), Stream.fromArray)
      assert.deepEqual(yield* Stream.runCollect(around(chunked)), chunks.flat())
    }),
  ))

test("a stream that fails passes all that came before, then fails the same way", () =>
  property(fc.array(fc.array(fc.integer(), { minLength: 1, maxLength: 20 })), (chunks) =>
    Effect.gen(function* () {
      const taken: Array<number> = []
      const chunked = Stream.flatMap(Stream.fromIterable(chunks), Stream.fromArray)
      const failing = Stream.concat(chunked, Stream.fail(aborted))
      const error = yield* Effect.flip(
        Stream.runForEach(around(failing), (message) => Effect.sync(() => taken.push(message))),
      )
      assert.equal(error, aborted)
      assert.deepEqual(taken, chunks.flat())
    }),
  ))

test("what is around a stream lasts from before its first message until its last was taken", () =>
  Effect.gen(function* () {
    const events: Array<string> = []
    const messages = Stream.mapEffect(Stream.make(1, 2), (n) => Effect.as(note(events, `make ${n}`), n))
    const holding = yield* Deferred.make<void>()
    const taking = yield* around(messages, watching(events)).pipe(
      Stream.runForEach((n) =>
        Effect.andThen(note(events, `take ${n}`), n === 1 ? Deferred.await(holding) : Effect.void),
      ),
      Effect.forkChild,
    )
    yield* settle
    assert.equal(events[0], "begin")
    assert.deepEqual(new Set(events), new Set(["begin", "make 1", "make 2", "take 1"]))
    yield* Deferred.succeed(holding, undefined)
    yield* Fiber.join(taking)
    assert.deepEqual(new Set(events.slice(4)), new Set(["take 2", "end"]))
  }))

test("what is around a stream sees it fail", () =>
  Effect.gen(function* () {
    const events: Array<string> = []
    const failing = Stream.concat(Stream.make(1), Stream.fail(aborted))
    assert.equal(yield* Effect.flip(Stream.runDrain(around(failing, watching(events)))), aborted)
    assert.deepEqual(events, ["begin", "fail"])
  }))

test("leaving a stream early interrupts what is inside and runs its finalizers", () =>
  Effect.gen(function* () {
    const events: Array<string> = []
    const endless = Stream.ensuring(Stream.forever(Stream.make(1, 2)), note(events, "finalize"))
    assert.deepEqual(yield* Stream.runCollect(Stream.take(around(endless, watching(events)), 3)), [1, 2, 1])
    assert.deepEqual(events, ["begin", "finalize", "interrupt"])
  }))

test("interrupting the consumer interrupts what is inside and runs its finalizers", () =>
  Effect.gen(function* () {
    const events: Array<string> = []
    const begun = yield* Deferred.make<void>()
    const silent = Stream.ensuring(
      Stream.fromEffect(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)),
      note(events, "finalize"),
    )
    const fiber = yield* Effect.forkChild(Stream.runDrain(around(silent, watching(events))))
    yield* Deferred.await(begun)
    yield* Fiber.interrupt(fiber)
    assert.deepEqual(events, ["begin", "finalize", "interrupt"])
  }))

test("a producer is never more than one array ahead of a slow consumer", () =>
  property(
    fc.integer({ min: 1, max: 10 }),
    (size) =>
      Effect.gen(function* () {
        let made = 0
        const arrays = Stream.fromEffectRepeat(
          Effect.sync(() => {
            made += 1
            return Array.from({ length: size }, () => made)
          }),
        ).pipe(Stream.flatMap(Stream.fromArray))
        let most = 0
        const slowly = (array: number) =>
          Effect.map(settle, () => {
            most = Math.max(most, made - array)
          })
        yield* Stream.runForEach(Stream.take(around(arrays), 5 * size), slowly)
        assert.ok(most <= 1, `${most} arrays ahead`)
      }),
    { numRuns: 5 },
  ))

test("an interceptor can end a stream before it begins, and change the call that it gets", () =>
  Effect.gen(function* () {
    let made = 0
    const seen = aroundStream(
      (call, next) => next({ ...call, metadata: Metadata.of({ a: "1" }) }),
      callWith(),
      (call) => Stream.sync(() => call.metadata),
    )
    assert.deepEqual(yield* Stream.runCollect(seen), [[["a", "1"]]])
    const refused = around(
      Stream.sync(() => made++),
      () => Effect.fail(aborted),
    )
    assert.equal(yield* Effect.flip(Stream.runDrain(refused)), aborted)
    assert.equal(made, 0)
  }))

test("an interceptor can try a stream again: what was taken stays taken", () =>
  Effect.gen(function* () {
    let attempts = 0
    const flaky = Stream.suspend(() => {
      attempts += 1
      return attempts === 1 ? Stream.concat(Stream.make(1), Stream.fail(aborted)) : Stream.make(2, 3)
    })
    const again: Interceptor = (call, next) => Effect.catch(next(call), () => next(call))
    assert.deepEqual(yield* Stream.runCollect(around(flaky, again)), [1, 2, 3])
  }))

test("a defect passes as a defect", () =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit(Stream.runDrain(around(Stream.die("broken"))))
    assert.ok(Exit.isFailure(exit) && Cause.hasDies(exit.cause))
  }))

test("no interceptor gives the very stream that it would be around", () =>
  Effect.sync(() => {
    const messages = Stream.make(1)
    assert.equal(
      aroundStream(none, callWith(), () => messages),
      messages,
    )
  }))
