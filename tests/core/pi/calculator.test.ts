import assert from "node:assert/strict"
import { Deferred, Effect, Random, Stream } from "effect"
import fc from "fast-check"
import { make, maxReportLength } from "../../../src/core/pi/calculator.ts"
import { type Entry, type Journal, levels, open } from "../../../src/core/pi/journal.ts"
import { skipWith } from "../../../src/core/pi/policy.ts"
import { piClosedForm, summation } from "../../../src/core/pi/series.ts"
import { findDetail } from "../../../src/core/rpc/details.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { clientOf, property, settle } from "../support.ts"

const MAX = 2147483647

const journal: Journal = { report: () => Effect.succeed(true) }
const answerAll = skipWith(0)

const positive = fc.integer({ min: 1, max: MAX })
const notPositive = fc.integer({ min: -MAX - 1, max: 0 })

/** Fails unless an error is invalid_argument with this message, and details that say which field and why. */
const assertInvalid = (error: RpcError, message: string, field: string, reason: string): void => {
  assert.equal(error.code, "invalid_argument")
  assert.equal(error.message, message)
  assert.deepEqual(findDetail(error.details, "google.rpc.BadRequest"), {
    fieldViolations: [{ field, description: message, reason }],
  })
  assert.deepEqual(findDetail(error.details, "google.rpc.ErrorInfo"), { reason, domain: "pi.PiCalculator" })
}

const assertNotPositive = (error: RpcError, field = "n") =>
  assertInvalid(error, "request number should be positive", field, "NUMBER_NOT_POSITIVE")

/** The closed form, and for which n it was asked. */
const counting = () => {
  const computed: Array<number> = []
  const series = (n: number) =>
    Effect.sync(() => {
      computed.push(n)
      return piClosedForm(n)
    })
  return { computed, series }
}

test("calc answers pi(n), by the closed form unless told otherwise", () =>
  property(positive, (n) =>
    Effect.gen(function* () {
      assert.deepEqual(yield* make({ journal }).calc({ n }), { value: piClosedForm(n) })
    }),
  ))

test("calc computes with the series that it is given", () =>
  Effect.gen(function* () {
    assert.deepEqual(yield* make({ journal, series: () => Effect.succeed(3) }).calc({ n: 999 }), { value: 3 })
    const { value } = yield* make({ journal, series: summation }).calc({ n: 999 })
    assert.equal(value.toPrecision(12), "3.14127400894")
  }))

test("calc refuses a number below 1 and says which field was wrong, and why", () =>
  property(notPositive, (n) =>
    Effect.gen(function* () {
      const { computed, series } = counting()
      assertNotPositive(yield* Effect.flip(make({ journal, series }).calc({ n })))
      assert.deepEqual(computed, [])
    }),
  ))

test("calcStream answers those requests that the policy lets through, in their order", () =>
  property(
    fc.record({
      ns: fc.array(positive, { maxLength: 50 }),
      p: fc.double({ min: 0, max: 1, noNaN: true }),
      seed: fc.string(),
    }),
    ({ ns, p, seed }) =>
      Effect.gen(function* () {
        const policy = skipWith(p)
        const { computed, series } = counting()
        const requests = Stream.fromIterable(ns.map((n) => ({ n })))
        const points = yield* Stream.runCollect(make({ journal, policy, series }).calcStream(requests)).pipe(
          Random.withSeed(seed),
        )
        const decided = yield* Effect.forEach(ns, () => policy).pipe(Random.withSeed(seed))
        const answered = ns.filter((_, i) => decided[i])
        assert.deepEqual(
          points,
          answered.map((n) => ({ n, value: piClosedForm(n) })),
        )
        // What is skipped is not computed either.
        assert.deepEqual(computed, answered)
      }),
  ))

test("calcStream skips about half unless told otherwise", () =>
  Effect.gen(function* () {
    const requests = Stream.map(Stream.range(1, 10_000), (n) => ({ n }))
    const count = yield* Stream.runCount(make({ journal }).calcStream(requests)).pipe(Random.withSeed("half"))
    assert.ok(Math.abs(count - 5_000) < 250, `${count} answered`)
  }))

test("a bad number ends calcStream after the answers before it, whether it would be skipped or not", () =>
  property(
    fc.record({ before: fc.array(positive, { maxLength: 20 }), bad: notPositive, p: fc.constantFrom(0, 1) }),
    ({ before, bad, p }) =>
      Effect.gen(function* () {
        const taken: Array<number> = []
        const requests = Stream.fromIterable([...before, bad, 1].map((n) => ({ n })))
        const points = make({ journal, policy: skipWith(p) }).calcStream(requests)
        const error = yield* Effect.flip(Stream.runForEach(points, ({ n }) => Effect.sync(() => taken.push(n))))
        assertNotPositive(error)
        assert.deepEqual(taken, p === 0 ? before : [])
      }),
  ))

test("calcStream and summarize fail as their requests do", () =>
  Effect.gen(function* () {
    const error = new RpcError({ code: "cancelled", message: "gone" })
    const { calcStream, summarize } = make({ journal })
    const requests = Stream.concat(Stream.make({ n: 1 }), Stream.fail(error))
    assert.equal(yield* Effect.flip(Stream.runDrain(calcStream(requests))), error)
    assert.equal(yield* Effect.flip(summarize(requests)), error)
  }))

test("calcRange answers each n of a range, both ends included", () =>
  property(fc.tuple(fc.integer({ min: 1, max: MAX - 100 }), fc.nat(100)), ([first, more]) =>
    Effect.gen(function* () {
      const points = yield* Stream.runCollect(make({ journal }).calcRange({ first, last: first + more }))
      assert.deepEqual(
        points,
        Array.from({ length: more + 1 }, (_, i) => ({ n: first + i, value: piClosedForm(first + i) })),
      )
    }),
  ))

test("calcRange reaches the largest int32", () =>
  Effect.gen(function* () {
    const points = yield* Stream.runCollect(make({ journal }).calcRange({ first: MAX - 1, last: MAX }))
    assert.deepEqual(
      points.map(({ n }) => n),
      [MAX - 1, MAX],
    )
  }))

test("calcRange gives each point as soon as it is ready, and computes one more at most than is taken", () =>
  property(fc.integer({ min: 1, max: 20 }), (wanted) =>
    Effect.gen(function* () {
      const { computed, series } = counting()
      const slow = (n: number) => Effect.andThen(Effect.yieldNow, series(n))
      const points = make({ journal, series: slow }).calcRange({ first: 1, last: MAX })
      let taken = 0
      yield* Stream.runForEach(Stream.take(points, wanted), () =>
        Effect.sync(() => {
          taken += 1
          assert.equal(computed.length, taken)
        }),
      )
      assert.equal(computed.length, wanted)
    }),
  ))

test("calcRange computes no more than some hundreds of points ahead, however fast they are", () =>
  Effect.gen(function* () {
    const { computed, series } = counting()
    const points = make({ journal, series }).calcRange({ first: 1, last: MAX })
    assert.equal((yield* Stream.runCollect(Stream.take(points, 3))).length, 3)
    assert.ok(computed.length < 1000, `${computed.length} were computed`)
  }))

test("calcRange refuses a range that begins below 1 or ends before it begins, and computes nothing", () =>
  Effect.gen(function* () {
    const { computed, series } = counting()
    const { calcRange } = make({ journal, series })
    for (const range of [
      { first: 0, last: 5 },
      { first: -1, last: -5 },
      { first: -MAX - 1, last: MAX },
    ]) {
      assertNotPositive(yield* Effect.flip(Stream.runDrain(calcRange(range))), "first")
    }
    const reversed = yield* Effect.flip(Stream.runDrain(calcRange({ first: 2, last: 1 })))
    assertInvalid(reversed, "the range should not end before its first number", "last", "RANGE_REVERSED")
    assert.deepEqual(computed, [])
  }))

test("summarize gives the count, the least, the largest and the mean error of all", () =>
  property(fc.array(positive, { minLength: 1, maxLength: 50 }), (ns) =>
    Effect.gen(function* () {
      const summary = yield* make({ journal }).summarize(Stream.fromIterable(ns.map((n) => ({ n }))))
      const values = ns.map(piClosedForm)
      const { meanError, ...exact } = summary
      assert.deepEqual(exact, { count: ns.length, min: Math.min(...values), max: Math.max(...values) })
      const errors = values.map((value) => Math.PI - value)
      const mean = errors.reduce((sum, error) => sum + error, 0) / ns.length
      assert.ok(Math.abs(meanError - mean) <= 1e-12 * mean, `${meanError}, not ${mean}`)
    }),
  ))

test("the mean error of a series that goes beyond π counts both sides", () =>
  Effect.gen(function* () {
    const series = (n: number) => Effect.succeed(Math.PI + (n === 1 ? 1 : -1))
    const summary = yield* make({ journal, series }).summarize(Stream.make({ n: 1 }, { n: 2 }))
    assert.equal(summary.meanError, 1)
  }))

test("summarize is all zeros where there was no request", () =>
  Effect.gen(function* () {
    const summary = yield* make({ journal }).summarize(Stream.empty)
    assert.deepEqual(summary, { count: 0, min: 0, max: 0, meanError: 0 })
  }))

test("summarize refuses a number below 1, and computes nothing behind it", () =>
  Effect.gen(function* () {
    const { computed, series } = counting()
    const error = yield* Effect.flip(make({ journal, series }).summarize(Stream.make({ n: 5 }, { n: 0 }, { n: 6 })))
    assertNotPositive(error)
    assert.deepEqual(computed, [5])
  }))

const entryOf = Effect.fnUntraced(function* (log: Parameters<ReturnType<typeof make>["report"]>[0]) {
  const reported: Array<Entry> = []
  const { report } = make({
    journal: {
      report: (entry) =>
        Effect.sync(() => {
          reported.push(entry)
          return true
        }),
    },
  })
  assert.deepEqual(yield* report(log), {})
  assert.equal(reported.length, 1)
  return reported[0]
})

test("report hands the entry on with its time in milliseconds", () =>
  Effect.gen(function* () {
    const time = { seconds: 1_700_000_000n, nanos: 250_000_000 }
    assert.deepEqual(yield* entryOf({ time, level: "warning", text: "hot" }), {
      time: 1_700_000_000_250,
      level: "warning",
      text: "hot",
    })
    assert.equal((yield* entryOf({ level: "info", text: "" }))?.time, undefined)
    assert.equal((yield* entryOf({ time: { seconds: 0n, nanos: 0 }, level: "info", text: "" }))?.time, 0)
    assert.equal((yield* entryOf({ time: { seconds: -1n, nanos: 5e8 }, level: "info", text: "" }))?.time, -500)
  }))

test("report takes each of the four levels, and none means info", () =>
  Effect.gen(function* () {
    assert.deepEqual(levels, ["debug", "info", "warning", "error"])
    for (const level of levels) assert.equal((yield* entryOf({ level, text: "" }))?.level, level)
    assert.equal((yield* entryOf({ level: "", text: "" }))?.level, "info")
  }))

test("report refuses a level that it doesn't know", () =>
  Effect.gen(function* () {
    const never: Journal = { report: () => Effect.die("reported") }
    for (const level of ["INFO", "warn", "fatal", " "]) {
      const error = yield* Effect.flip(make({ journal: never }).report({ level, text: "" }))
      assertInvalid(error, "level should be one of debug, info, warning, error", "level", "UNKNOWN_LEVEL")
    }
  }))

test("a text that is too long is cut", () =>
  property(fc.integer({ min: -2, max: 2 }), (more) =>
    Effect.gen(function* () {
      const text = "x".repeat(maxReportLength + more)
      const entry = yield* entryOf({ level: "info", text })
      assert.equal(entry?.text, text.slice(0, maxReportLength))
    }),
  ))

test("report answers before the entry is kept, and when it is lost", () =>
  Effect.gen(function* () {
    const held = yield* Deferred.make<void>()
    const kept: Array<string> = []
    const keep = ({ text }: Entry) =>
      Effect.andThen(
        Deferred.await(held),
        Effect.sync(() => kept.push(text)),
      )
    yield* Effect.scoped(
      Effect.gen(function* () {
        const { report } = make({ journal: yield* open(keep, { capacity: 2 }) })
        assert.deepEqual(yield* report({ level: "", text: "1" }), {})
        yield* settle
        for (const text of ["2", "3", "lost"]) assert.deepEqual(yield* report({ level: "", text }), {})
        assert.deepEqual(kept, [])
        yield* Deferred.succeed(held, undefined)
      }),
    )
    assert.deepEqual(kept, ["1", "2", "3"])
  }))

test("the five programs serve pi.PiCalculator", () =>
  Effect.gen(function* () {
    const client = yield* clientOf(Service.make(PiCalculator, make({ journal, policy: answerAll })))
    const value = piClosedForm(999)
    const requests = Stream.make({ n: 999 }, { n: 999 })
    const shown = ({ n, value }: { readonly n: number; readonly value: number }) => [n, value]
    assert.equal((yield* client.calc({ n: 999 })).value, value)
    assert.deepEqual((yield* Stream.runCollect(client.calcStream(requests))).map(shown), [
      [999, value],
      [999, value],
    ])
    assert.deepEqual((yield* Stream.runCollect(client.calcRange({ first: 999, last: 999 }))).map(shown), [[999, value]])
    assert.equal((yield* client.summarize(requests)).count, 2)
    assert.equal((yield* client.report({ text: "done" })).$typeName, "google.protobuf.Empty")
    assertNotPositive(yield* Effect.flip(client.calc({})))
  }))
