import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Fiber, Queue, Stream } from "effect"
import { TestClock } from "effect/testing"
import { endpoints } from "../../../src/core/discovery/endpoints.ts"
import type { Endpoint, Registry } from "../../../src/core/discovery/registry.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { testWithClock } from "../../effect.ts"
import { steady } from "../attempts.ts"
import { type Logged, logInto, settle } from "../support.ts"

const unreachable = new RpcError({ code: "unavailable", message: "the registry is away" })

/** A registry that says what the test tells it to, and what has come of it. */
const watching = Effect.fnUntraced(function* () {
  const says = yield* Queue.unbounded<ReadonlyArray<string> | RpcError>()
  const seen: Array<string> = []
  let asked = 0
  const refreshed: Array<string> = []
  const lost = yield* Queue.unbounded<void>()
  const registry: Registry = {
    refresh: (service) => Effect.sync(() => void refreshed.push(service)),
    register: () => Effect.fail(unreachable),
    resolve: (service) =>
      Stream.suspend(() => {
        asked += 1
        return Stream.fromQueue(says).pipe(
          Stream.mapEffect((said) =>
            said instanceof RpcError
              ? Effect.fail(said)
              : Effect.succeed(said.map((name): Endpoint => ({ address: `${service}-${name}` }))),
          ),
        )
      }),
  }
  const fiber = yield* Effect.forkScoped(
    Stream.runForEach(endpoints(registry, "pi", undefined, Queue.take(lost)), (told) =>
      Effect.sync(
        () => void seen.push(told instanceof RpcError ? told.message : told.map(({ address }) => address).join(" ")),
      ),
    ),
  )
  yield* settle
  const say = (said: ReadonlyArray<string> | RpcError) => Effect.andThen(Queue.offer(says, said), settle)
  const lose = Effect.andThen(Queue.offer(lost, undefined), settle)
  return { seen, say, asked: () => asked, fiber, lose, refreshed }
})

describe("the endpoints of a service", () => {
  testWithClock("are those that the registry tells, each list of them, one without any too", () =>
    Effect.gen(function* () {
      const { seen, say } = yield* watching()
      yield* say(["a"])
      yield* say(["a", "b"])
      yield* say([])
      assert.deepEqual(seen, ["pi-a", "pi-a pi-b", ""])
    }),
  )

  testWithClock("stay as they are while the registry fails, which is asked again less and less often", () => {
    const lines: Array<Logged> = []
    return Effect.gen(function* () {
      const { seen, say, asked, fiber } = yield* watching()
      yield* say(["a"])
      yield* say(unreachable)
      const times: Array<number> = []
      for (let millis = 0; millis < 8_000; millis += 10) {
        const before = asked()
        yield* TestClock.adjust("10 millis")
        if (asked() === before) continue
        times.push(millis + 10)
        yield* say(unreachable)
      }
      assert.deepEqual(times, [1_000, 2_600, 5_160])
      assert.deepEqual(seen, ["pi-a"])
      yield* TestClock.adjust("10 seconds")
      yield* say(["b"])
      assert.deepEqual(seen, ["pi-a", "pi-b"])
      assert.deepEqual(
        lines.map(({ level, text }) => `${level}: ${text}`),
        [
          'Warn: the registry can\'t be asked for the endpoints of "pi", the last that it told are kept: the registry is away',
          'Info: the registry says again which are the endpoints of "pi"',
        ],
      )
      // From the beginning of the backoff again.
      yield* say(unreachable)
      const before = asked()
      yield* TestClock.adjust("1 second")
      assert.equal(asked(), before + 1)
      yield* Fiber.interrupt(fiber)
    }).pipe(steady, Effect.provide(logInto(lines)))
  })

  testWithClock("are asked for anew when a client has lost one", () =>
    Effect.gen(function* () {
      const { say, lose, refreshed } = yield* watching()
      yield* say(["a"])
      assert.deepEqual(refreshed, [])
      yield* lose
      yield* lose
      assert.deepEqual(refreshed, ["pi", "pi"])
    }),
  )

  testWithClock(
    "are asked for each second at most where the registry couldn't be asked, for a client that has lost one",
    () =>
      Effect.gen(function* () {
        const { say, asked, lose } = yield* watching()
        yield* say(["a"])
        // By itself it would be asked after 10 seconds then.
        for (const wait of [1_000, 1_600, 2_560, 4_096, 6_554]) {
          yield* say(unreachable)
          yield* TestClock.adjust(wait)
        }
        yield* say(unreachable)
        const before = asked()
        yield* lose
        yield* TestClock.adjust("999 millis")
        assert.equal(asked(), before)
        yield* TestClock.adjust("1 millis")
        assert.equal(asked(), before + 1)
        yield* say(unreachable)
        yield* TestClock.adjust("2 seconds")
        assert.equal(asked(), before + 1)
        yield* lose
        assert.equal(asked(), before + 2)
      }).pipe(steady, Effect.provide(logInto([]))),
  )

  testWithClock("are told why there are none as long as there were none, each time that the registry was asked", () => {
    const lines: Array<Logged> = []
    return Effect.gen(function* () {
      const { seen, say } = yield* watching()
      yield* say(unreachable)
      assert.deepEqual(seen, ["the registry is away"])
      yield* TestClock.adjust("1 second")
      yield* say(unreachable)
      assert.deepEqual(seen, ["the registry is away", "the registry is away"])
      // It is asked less often, though what it fails with was told.
      yield* TestClock.adjust("1 second")
      yield* say(["a"])
      assert.equal(seen.length, 2)
      yield* TestClock.adjust("1 second")
      assert.deepEqual(seen.slice(2), ["pi-a"])
      yield* say(unreachable)
      assert.equal(seen.length, 3)
      assert.deepEqual(
        lines.map(({ text }) => text),
        [
          'the registry can\'t be asked for the endpoints of "pi": the registry is away',
          'the registry says again which are the endpoints of "pi"',
          'the registry can\'t be asked for the endpoints of "pi", the last that it told are kept: the registry is away',
        ],
      )
    }).pipe(steady, Effect.provide(logInto(lines)))
  })
})
