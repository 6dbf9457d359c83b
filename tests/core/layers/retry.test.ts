import assert from "node:assert/strict"
import { Effect, Exit, Fiber, Random, Ref, Schedule, Stream } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { metadata } from "../../../src/core/layers/metadata.ts"
import { type RetryOptions, retry } from "../../../src/core/layers/retry.ts"
import { type Call, type CallInfo, sendHeader } from "../../../src/core/rpc/call.ts"
import { callStream } from "../../../src/core/rpc/channel.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import type { Code } from "../../../src/core/rpc/status.ts"
import { test, testWithClock } from "../../effect.ts"
import {
  bidi,
  call,
  idempotent,
  inTime,
  outcome,
  passing,
  type Step,
  script,
  steady,
  stream,
  times,
} from "../attempts.ts"
import { clientOf, method, property, serving, settle } from "../support.ts"

const down: Step = { fails: "unavailable" }
const up: Step = {}

testWithClock("an unavailable server is tried again after a backoff that doubles, until it answers", () =>
  Effect.gen(function* () {
    const played = script(down, down, down, up)
    assert.deepEqual(yield* inTime(call(retry()(played.channel))), Exit.succeed(4))
    assert.deepEqual(times(played), [0, 100, 300, 700])
  }),
)

testWithClock("there are five attempts at most, and the last one's error is the call's", () =>
  Effect.gen(function* () {
    const played = script(down)
    const error = yield* inTime(Effect.flip(call(retry()(played.channel))))
    assert.equal(played.seen.length, 5)
    assert.equal(Exit.isSuccess(error) && error.value.message, "attempt 5")
  }),
)

testWithClock("how many attempts, the backoff and the codes are options", () =>
  Effect.gen(function* () {
    const options: RetryOptions = {
      maxAttempts: 4,
      backoff: { initial: "1 second", multiplier: 3, max: "5 seconds" },
      codes: ["aborted"],
    }
    const aborted = script({ fails: "aborted" })
    yield* inTime(Effect.exit(call(retry(options)(aborted.channel))))
    assert.deepEqual(times(aborted), [0, 1_000, 4_000, 9_000])
    const unavailable = script(down)
    yield* inTime(Effect.exit(call(retry(options)(unavailable.channel))))
    assert.equal(unavailable.seen.length, 1)
  }),
)

testWithClock("any other error than unavailable ends the call", () =>
  Effect.gen(function* () {
    for (const fails of ["unknown", "internal", "deadline_exceeded", "resource_exhausted"] satisfies Array<Code>) {
      const played = script({ fails })
      assert.equal(yield* outcome(call(retry()(played.channel))), fails)
      assert.equal(played.seen.length, 1)
    }
  }),
)

testWithClock("only methods that are called idempotent are tried again, unless more are named", () =>
  Effect.gen(function* () {
    const attempts = (options: RetryOptions, of: typeof method) =>
      Effect.gen(function* () {
        const played = script(down, up)
        yield* inTime(Effect.exit(call(retry(options)(played.channel), of)))
        return played.seen.length
      })
    assert.equal(yield* attempts({}, method), 1)
    assert.equal(yield* attempts({}, { ...method, idempotency: "no_side_effects" }), 2)
    assert.equal(yield* attempts({ methods: "all" }, method), 2)
    assert.equal(yield* attempts({ methods: ({ name }) => name === "Calc" }, method), 2)
    assert.equal(yield* attempts({ methods: ({ name }) => name === "Other" }, idempotent), 1)
  }),
)

testWithClock("what a server says of the next attempt holds in place of the backoff, which begins anew", () =>
  Effect.gen(function* () {
    const played = script(down, down, { fails: "unavailable", pushback: "7" }, down, up)
    yield* inTime(call(retry()(played.channel)))
    assert.deepEqual(times(played), [0, 100, 300, 307, 407])
  }),
)

testWithClock("a server that wants no other attempt, or says what can't be read, gets none", () =>
  Effect.gen(function* () {
    const never = ["-1", "", "soon", "1.5", "007", "+5", "2147483648", "-0", ["1", "1"]]
    for (const pushback of never) {
      const played = script({ fails: "unavailable", pushback }, up)
      assert.equal(yield* outcome(call(retry()(played.channel))), "unavailable", JSON.stringify(pushback))
    }
    const now = script({ fails: "unavailable", pushback: "0" }, up)
    assert.equal(yield* call(retry()(now.channel)), 2)
  }),
)

testWithClock("a server can't ask for more attempts than there are, nor for one after another error", () =>
  Effect.gen(function* () {
    const most = script({ fails: "unavailable", pushback: "1" })
    yield* inTime(Effect.exit(call(retry({ maxAttempts: 3 })(most.channel))))
    assert.equal(most.seen.length, 3)
    const fatal = script({ fails: "not_found", pushback: "1" }, up)
    assert.equal(yield* outcome(call(retry()(fatal.channel))), "not_found")
  }),
)

testWithClock("each further attempt says how many came before", () =>
  Effect.gen(function* () {
    const played = script(down, down, up)
    const key = "grpc-previous-rpc-attempts"
    yield* inTime(call(played.channel.pipe(retry(), metadata({ [key]: "7", "x-client": "test" }))))
    assert.deepEqual(
      played.seen.map(({ call }) => [Metadata.getAll(call.metadata, key), Metadata.get(call.metadata, "x-client")]),
      [
        [["7"], "test"],
        [["1"], "test"],
        [["2"], "test"],
      ],
    )
  }),
)

testWithClock("no attempt follows one that the server has begun to answer", () =>
  Effect.gen(function* () {
    const played = script({ fails: "unavailable", header: "first" }, up)
    assert.equal(yield* outcome(call(retry()(played.channel))), "unavailable")
    assert.equal(
      yield* outcome(stream(retry()(script({ ...down, answers: 1 }, up).channel), Stream.make(1))),
      "unavailable",
    )
  }),
)

test("in memory a header commits, and an error alone doesn't", () =>
  Effect.gen(function* () {
    const flaky = (before: Effect.Effect<void, never, Call>) =>
      Effect.gen(function* () {
        const ran = yield* Ref.make(0)
        const first = Effect.flatMap(
          Ref.updateAndGet(ran, (n) => n + 1),
          (n) =>
            n > 1 ? Effect.void : Effect.andThen(before, new RpcError({ code: "unavailable", message: "again" })),
        )
        const { calc } = yield* clientOf(serving(first), retry({ backoff: { initial: 0 } }))
        return yield* outcome(Effect.map(calc({ n: 3 }), ({ value }) => value))
      })
    assert.equal(yield* flaky(Effect.void), 3)
    assert.equal(yield* flaky(sendHeader({ a: "1" })), "unavailable")
  }))

testWithClock("a deadline that passes during a backoff ends the call then", () =>
  Effect.gen(function* () {
    const played = script(down)
    const fiber = yield* Effect.forkChild(
      outcome(call(retry({ backoff: { initial: "10 seconds" } })(played.channel))).pipe(
        Deadline.within("1 second"),
        steady,
      ),
    )
    yield* settle
    yield* TestClock.adjust("999 millis")
    assert.equal(fiber.pollUnsafe(), undefined)
    yield* TestClock.adjust("1 millis")
    assert.equal(yield* Fiber.join(fiber), "deadline_exceeded")
    assert.equal(played.seen.length, 1)
  }),
)

testWithClock("a deadline before it in the pipe limits each attempt, one behind it all of them", () =>
  Effect.gen(function* () {
    const slow: Step = { millis: Number.POSITIVE_INFINITY }
    const each = script(slow, slow, up)
    const retried = retry({ codes: ["deadline_exceeded"] })
    assert.deepEqual(yield* inTime(call(each.channel.pipe(deadline("1 second"), retried))), Exit.succeed(3))
    const all = script(slow)
    assert.deepEqual(
      yield* inTime(outcome(call(all.channel.pipe(retried, deadline("1 second"))))),
      Exit.succeed("deadline_exceeded"),
    )
    assert.equal(all.seen.length, 1)
  }),
)

testWithClock("interrupting a call during a backoff ends it at once", () =>
  Effect.gen(function* () {
    const played = script(down)
    const fiber = yield* Effect.forkChild(call(retry()(played.channel)))
    yield* settle
    yield* Fiber.interrupt(fiber)
    yield* TestClock.adjust("1 hour")
    assert.equal(played.seen.length, 1)
  }),
)

testWithClock("one of Effect's schedules says when to try again and when no more, to which the errors are shown", () =>
  Effect.gen(function* () {
    const errors: Array<unknown> = []
    const schedule = Schedule.recurs(2).pipe(
      Schedule.setInputType<RpcError>(),
      Schedule.addDelay(({ input }) => {
        errors.push(input.message)
        return Effect.succeed("3 seconds")
      }),
    )
    const played = script(down)
    yield* inTime(Effect.exit(call(retry({ schedule })(played.channel))))
    assert.deepEqual(times(played), [0, 3_000, 6_000])
    assert.deepEqual(errors, ["attempt 1", "attempt 2"])
    const fewer = script(down)
    yield* inTime(Effect.exit(call(retry({ schedule, maxAttempts: 2 })(fewer.channel))))
    assert.equal(fewer.seen.length, 2)
  }),
)

testWithClock("the response's metadata is that of the last attempt", () =>
  Effect.gen(function* () {
    const calls: Array<CallInfo> = []
    const watched = intercept((call, next) => {
      calls.push(call)
      return next(call)
    })
    const played = script(down, { header: "second" })
    yield* inTime(call(played.channel.pipe(retry(), watched)))
    const failing = script(down)
    yield* inTime(Effect.exit(call(failing.channel.pipe(retry({ maxAttempts: 2 }), watched))))
    assert.deepEqual(
      calls.map(({ response: { header, trailer, committed } }) => ({ header, trailer, committed })),
      [
        { header: [["x-header", "second"]], trailer: [], committed: true },
        { header: [], trailer: [["x-attempt", "2"]], committed: false },
      ],
    )
    assert.equal(new Set([...calls, ...played.seen.map(({ call }) => call)].map(({ response }) => response)).size, 4)
  }),
)

testWithClock("the header of a stream can be seen as soon as it has come", () =>
  Effect.gen(function* () {
    const headers: Array<Metadata.Metadata> = []
    let response: CallInfo["response"] | undefined
    const watched = intercept((call, next) => {
      response = call.response
      return next(call)
    })
    const played = script(down, { header: "second", answers: 1 })
    const answers = callStream(played.channel.pipe(retry(), watched), bidi, Stream.make(1))
    yield* inTime(Stream.runForEach(answers, () => Effect.sync(() => response && headers.push(response.header))))
    assert.deepEqual(headers, [[["x-header", "second"]], [["x-header", "second"]]])
  }),
)

testWithClock("layers before it see each attempt, layers behind it one call", () =>
  Effect.gen(function* () {
    const seen: Array<string> = []
    const noting = (name: string) =>
      intercept((call, next) => {
        seen.push(name)
        return next(call)
      })
    yield* inTime(call(script(down, up).channel.pipe(noting("before"), retry(), noting("behind"))))
    assert.deepEqual(seen, ["behind", "before", "before"])
  }),
)

// Four tokens, so that no retry comes with two of them or fewer.
const throttled = (options: RetryOptions = {}) =>
  retry({ maxAttempts: 2, backoff: { initial: 0 }, throttle: { maxTokens: 4, tokenRatio: 0.5 }, ...options })

testWithClock("while too many calls fail there are no retries, until enough have succeeded", () =>
  Effect.gen(function* () {
    // The first call takes two tokens, its second attempt's being the one that closes the throttle.
    const played = script(down, down, down, up, up, up, down, up)
    const channel = throttled()(played.channel)
    const attempts = Effect.gen(function* () {
      const before = played.seen.length
      yield* inTime(Effect.exit(call(channel)))
      return played.seen.length - before
    })
    assert.equal(yield* attempts, 2)
    // One token left; three successes make it two and a half; a failure would leave less than two.
    assert.equal(yield* attempts, 1)
    for (let n = 0; n < 3; n++) assert.equal(yield* attempts, 1)
    assert.equal(yield* attempts, 1)
    assert.equal(played.seen.length, 7)
  }),
)

testWithClock("tokens are counted for each channel", () =>
  Effect.gen(function* () {
    const layer = throttled()
    for (const played of [script(down), script(down)]) {
      yield* inTime(Effect.exit(call(layer(played.channel))))
      assert.equal(played.seen.length, 2)
    }
  }),
)

testWithClock("other errors take no token, a server that wants no retry takes one", () =>
  Effect.gen(function* () {
    const attemptsAfter = (...first: Array<Step>) =>
      Effect.gen(function* () {
        const played = script(...(first as [Step]), down, up)
        const channel = throttled()(played.channel)
        for (const _ of first) yield* Effect.exit(call(channel))
        yield* inTime(Effect.exit(call(channel)))
        return played.seen.length - first.length
      })
    const fatal: Step = { fails: "not_found" }
    const refusing: Step = { fails: "not_found", pushback: "-1" }
    assert.equal(yield* attemptsAfter(fatal, fatal, fatal), 2)
    assert.equal(yield* attemptsAfter(refusing), 1)
  }),
)

testWithClock("calls that aren't tried again give tokens back all the same", () =>
  Effect.gen(function* () {
    const played = script(down, down, up, up, up, down, up)
    const channel = throttled()(played.channel)
    yield* inTime(Effect.exit(call(channel)))
    for (let n = 0; n < 3; n++) yield* call(channel, method)
    yield* inTime(Effect.exit(call(channel)))
    assert.equal(played.seen.length, 7)
  }),
)

testWithClock("a stream's requests reach the attempt that succeeds, complete and in order", () =>
  Effect.gen(function* () {
    let read = 0
    const requests = Stream.tap(Stream.rechunk(Stream.range(1, 9), 2), () => Effect.sync(() => read++))
    const played = script({ ...down, takes: 3 }, { ...down, takes: 0 }, down, { answers: 2 })
    assert.deepEqual(yield* inTime(stream(retry()(played.channel), requests)), Exit.succeed([1, 2, 4]))
    assert.deepEqual(played.seen.at(-1)?.requests, [1, 2, 3, 4, 5, 6, 7, 8, 9])
    assert.equal(read, 9)
  }),
)

testWithClock("a stream whose requests are more than is kept is not tried again", () =>
  Effect.gen(function* () {
    const requests = Stream.rechunk(Stream.range(1, 10), 1)
    const attempts = (maxBufferBytes: number) =>
      Effect.gen(function* () {
        const played = script(down, up)
        yield* inTime(Effect.exit(stream(retry({ maxBufferBytes })(played.channel), requests)))
        assert.deepEqual(played.seen[0]?.requests, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
        return played.seen.length
      })
    assert.equal(yield* attempts(100), 1)
    assert.equal(yield* attempts(10_000), 2)
  }),
)

testWithClock("a stream whose requests fail is not tried again", () =>
  Effect.gen(function* () {
    const requests = Stream.concat(Stream.make(1), Stream.fail(new RpcError({ code: "unavailable", message: "mine" })))
    const played = script(up)
    const error = yield* Effect.flip(stream(retry()(played.channel), requests))
    assert.deepEqual([error.message, played.seen.length], ["mine", 1])
  }),
)

const codes = ["unavailable", "aborted", "internal"] as const

const steps = fc.array(
  fc.record({
    takes: fc.oneof(fc.nat(8), fc.constant(99)),
    millis: fc.nat(50),
    header: fc.option(fc.constant("committed"), { nil: undefined, freq: 4 }),
    answers: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(3) }),
    fails: fc.option(fc.constantFrom(...codes), { nil: undefined, freq: 5 }),
    pushback: fc.oneof(fc.constant([]), fc.constant([]), fc.constant([]), fc.constantFrom(["5"], ["-1"], ["soon"])),
  }),
  { minLength: 1, maxLength: 8 },
)

/** Steps whose fields are there only if they have a value. */
const stepsOf = (made: ReadonlyArray<object>) =>
  made.map((one) => Object.fromEntries(Object.entries(one).filter(([, value]) => value !== undefined))) as [Step]

const within = (effect: Effect.Effect<unknown, unknown>) =>
  Effect.provide(Effect.scoped(passing(effect)), TestClock.layer())

const seeded = fc.record({
  steps,
  seed: fc.string(),
  maxAttempts: fc.integer({ min: 1, max: 6 }),
  requests: fc.nat(6),
  calls: fc.integer({ min: 1, max: 4 }),
})

test("however attempts fail, a call of a method that isn't idempotent is sent once", () =>
  property(seeded, ({ steps, seed, requests }) =>
    Effect.gen(function* () {
      const unary = script(...stepsOf(steps))
      yield* within(Effect.exit(call(retry()(unary.channel), method)))
      assert.equal(unary.seen.length, 1)
      const streamed = script(...stepsOf(steps))
      const of = { ...bidi, idempotency: "unknown" } as const
      yield* within(Effect.exit(stream(retry()(streamed.channel), Stream.range(1, requests), of)))
      assert.equal(streamed.seen.length, 1)
    }).pipe(Random.withSeed(seed)),
  ))

test("however attempts fail, there are never more than maxAttempts, and none after one that can't be followed", () =>
  property(seeded, ({ steps, seed, maxAttempts, requests }) =>
    Effect.gen(function* () {
      const made = stepsOf(steps)
      const sent = Array.from({ length: requests }, (_, n) => n)
      for (const isStream of [false, true]) {
        const played = script(...made)
        const channel = retry({ maxAttempts, codes: ["unavailable", "aborted"] })(played.channel)
        yield* within(Effect.exit(isStream ? stream(channel, Stream.fromIterable(sent)) : call(channel)))
        assert.ok(played.seen.length <= maxAttempts)
        for (const [index, { requests: taken, call: of }] of played.seen.entries()) {
          const step = made[index] ?? made.at(-1) ?? {}
          if (isStream) assert.deepEqual(taken, sent.slice(0, step.takes))
          const last = index === played.seen.length - 1
          const followed =
            (step.fails === "unavailable" || step.fails === "aborted") &&
            step.header === undefined &&
            (!isStream || (step.answers ?? 0) === 0) &&
            (step.pushback?.length === 0 || step.pushback?.[0] === "5") &&
            index + 1 < maxAttempts
          assert.equal(!last, followed, `attempt ${index + 1} of ${played.seen.length}`)
          assert.equal(
            Metadata.getText(of.metadata, "grpc-previous-rpc-attempts"),
            index === 0 ? undefined : `${index}`,
          )
        }
      }
    }).pipe(Random.withSeed(seed)),
  ))

test("however calls fail, there are no more retries than tokens above the threshold", () =>
  property(
    fc.record({ seeded, maxTokens: fc.integer({ min: 1, max: 6 }) }),
    ({ seeded: { steps, seed, calls }, maxTokens }) =>
      Effect.gen(function* () {
        const played = script(...stepsOf(steps))
        const channel = retry({ throttle: { maxTokens, tokenRatio: 0.001 } })(played.channel)
        for (let n = 0; n < calls; n++) yield* within(Effect.exit(call(channel)))
        assert.ok(played.seen.length - calls <= maxTokens / 2, `${played.seen.length} attempts of ${calls} calls`)
      }).pipe(Random.withSeed(seed)),
  ))
