import assert from "node:assert/strict"
import { Deferred, Duration, Effect, Exit, Fiber, References, Stream } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import { memory } from "../../../src/core/cache/memory.ts"
import type { Store } from "../../../src/core/cache/store.ts"
import { type CachedOptions, cached } from "../../../src/core/layers/cached.ts"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { interceptMessages } from "../../../src/core/layers/interceptMessages.ts"
import { Call, sendHeader } from "../../../src/core/rpc/call.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { testWithClock } from "../../effect.ts"
import { clientOf, type Logged, logInto, type PiClient, property, serving, settle, testEachKind } from "../support.ts"

/** A calculator that counts how often it computes. */
const counting = (program: (n: number) => Effect.Effect<number, RpcError, Call>) => {
  const counted = { runs: 0 }
  const service = Service.partial(PiCalculator, {
    calc: ({ n }) =>
      Effect.suspend(() => {
        counted.runs += 1
        return Effect.map(program(n), (value) => ({ value }))
      }),
  })
  return { counted, service }
}

const doubled = (n: number) => Effect.succeed(2 * n)
const calc = (client: PiClient, n: number) => Effect.map(client.calc({ n }), ({ value }) => value)
const error = (code: RpcError["code"]) => new RpcError({ code, message: "no" })

/** A store before each of whose operations something happens; it counts them. */
const before = (store: Store, first: Effect.Effect<void, RpcError>) => {
  const asked = { get: 0, set: 0 }
  // What is known at once has nothing before it.
  const { peek: _, ...others } = store
  const slow: Store = {
    ...others,
    get: (key) =>
      Effect.suspend(() => {
        asked.get += 1
        return Effect.andThen(first, store.get(key))
      }),
    set: (key, value, options) =>
      Effect.suspend(() => {
        asked.set += 1
        return Effect.andThen(first, store.set(key, value, options))
      }),
  }
  return { asked, slow }
}

testWithClock("a request is computed once, and answered from the store as long as its time to live", () =>
  Effect.gen(function* () {
    const { counted, service } = counting(doubled)
    const client = yield* clientOf(service.pipe(cached(yield* memory(), { ttl: "10 seconds" })))
    assert.deepEqual([yield* calc(client, 1), yield* calc(client, 1), counted.runs], [2, 2, 1])
    assert.deepEqual([yield* calc(client, 2), yield* calc(client, 2), counted.runs], [4, 4, 2])
    yield* TestClock.adjust("9 seconds")
    assert.deepEqual([yield* calc(client, 1), counted.runs], [2, 2])
    yield* TestClock.adjust("1 second")
    assert.deepEqual([yield* calc(client, 1), counted.runs], [2, 3])
  }),
)

testWithClock("services of one store have its answers in common, and methods of one name don't", () =>
  Effect.gen(function* () {
    const store = yield* memory()
    const { counted, service } = counting(doubled)
    yield* calc(yield* clientOf(service.pipe(cached(store))), 1)
    assert.equal(yield* calc(yield* clientOf(service.pipe(cached(store))), 1), 2)
    assert.equal(counted.runs, 1)
    const keys = yield* Stream.runCollect(store.scan(""))
    assert.ok(keys.every((key) => key.startsWith("/pi.PiCalculator/Calc?")))
  }),
)

testEachKind(
  "only unary methods without side effects are cached",
  ({ ask, answers, kind }) =>
    Effect.gen(function* () {
      let runs = 0
      const count = Effect.sync(() => {
        runs += 1
      })
      const client = yield* clientOf(serving(count).pipe(cached(yield* memory())))
      for (let call = 0; call < 3; call += 1) assert.deepEqual(yield* ask(client), answers)
      assert.equal(runs, kind === "unary" ? 1 : 3)
    }),
  testWithClock,
)

testWithClock("a unary method that may have side effects passes", () =>
  Effect.gen(function* () {
    let reports = 0
    const service = Service.partial(PiCalculator, {
      report: () =>
        Effect.sync(() => {
          reports += 1
          return {}
        }),
    })
    const client = yield* clientOf(service.pipe(cached(yield* memory())))
    yield* client.report({ text: "a" })
    yield* client.report({ text: "a" })
    assert.equal(reports, 2)
  }),
)

testWithClock("failures and defects aren't kept", () =>
  Effect.gen(function* () {
    const { counted, service } = counting((n) => (n > 0 ? Effect.fail(error("not_found")) : Effect.die("oops")))
    const client = yield* clientOf(service.pipe(cached(yield* memory())))
    for (let call = 0; call < 2; call += 1) {
      assert.equal((yield* Effect.flip(calc(client, 1))).code, "not_found")
      assert.equal((yield* Effect.flip(calc(client, 0))).code, "internal")
    }
    assert.equal(counted.runs, 4)
  }).pipe(Effect.provide(logInto([]))),
)

testWithClock("however many ask at once, one computes, and each gets an answer of its own", () =>
  Effect.gen(function* () {
    const { counted, service } = counting((n) => Effect.delay(doubled(n), "1 second"))
    const { asked, slow } = before(yield* memory(), Effect.void)
    const client = yield* clientOf(service.pipe(cached(slow)))
    const asking = yield* Effect.forkChild(
      Effect.replicateEffect(client.calc({ n: 1 }), 10, { concurrency: "unbounded" }),
    )
    yield* TestClock.adjust("1 second")
    const answers = yield* Fiber.join(asking)
    assert.deepEqual(
      answers.map(({ value }) => value),
      Array.from({ length: 10 }, () => 2),
    )
    assert.deepEqual([new Set(answers).size, counted.runs, asked], [10, 1, { get: 1, set: 1 }])
  }),
)

testWithClock("who comes while an answer is being written to the store has it at once", () =>
  Effect.gen(function* () {
    const { counted, service } = counting(doubled)
    const written = yield* Deferred.make<void>()
    const store = yield* memory()
    const slow: Store = {
      ...store,
      set: (...args) => Effect.andThen(Deferred.await(written), store.set(...args)),
    }
    const client = yield* clientOf(service.pipe(cached(slow)))
    const first = yield* Effect.forkChild(calc(client, 1), { startImmediately: true })
    assert.deepEqual([yield* calc(client, 1), first.pollUnsafe(), counted.runs], [2, undefined, 1])
    yield* Deferred.succeed(written, undefined)
    assert.equal(yield* Fiber.join(first), 2)
  }),
)

for (const [name, end] of [
  ["is interrupted", (fiber: Fiber.Fiber<number, RpcError>) => Fiber.interrupt(fiber)],
  ["passes its deadline", () => TestClock.adjust("1 second")],
] as const) {
  testWithClock(`when the call that computes ${name}, another takes its place`, () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const { counted, service } = counting((n) => Effect.andThen(Deferred.await(gate), doubled(n)))
      const client = yield* clientOf(service.pipe(cached(yield* memory())))
      const first = yield* Effect.forkChild(calc(client, 1).pipe(Deadline.within("1 second")), {
        startImmediately: true,
      })
      const others = yield* Effect.forkChild(Effect.replicateEffect(calc(client, 1), 5, { concurrency: "unbounded" }), {
        startImmediately: true,
      })
      yield* settle
      assert.equal(counted.runs, 1)
      yield* end(first)
      yield* settle
      assert.equal(counted.runs, 2)
      yield* Deferred.succeed(gate, undefined)
      assert.deepEqual(yield* Fiber.join(others), [2, 2, 2, 2, 2])
      assert.equal(counted.runs, 2)
      assert.ok(Exit.isFailure(yield* Fiber.await(first)))
    }),
  )
}

for (const code of ["cancelled", "deadline_exceeded"] as const) {
  testWithClock(`${code} is nobody's but the call's that it came to`, () =>
    Effect.gen(function* () {
      let failing = true
      const { service } = counting((n) =>
        Effect.delay(
          Effect.suspend(() => {
            const fails = failing
            failing = false
            return fails ? Effect.fail(error(code)) : doubled(n)
          }),
          "1 second",
        ),
      )
      const client = yield* clientOf(service.pipe(cached(yield* memory())))
      const asking = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 3 }, () => Effect.exit(calc(client, 1))),
          { concurrency: "unbounded" },
        ),
      )
      yield* TestClock.adjust("2 seconds")
      const exits = yield* Fiber.join(asking)
      assert.equal(exits.filter(Exit.isSuccess).length, 2)
    }),
  )
}

testWithClock("any other failure is that of all who wait for it", () =>
  Effect.gen(function* () {
    const { counted, service } = counting(() => Effect.delay(Effect.fail(error("unavailable")), "1 second"))
    const client = yield* clientOf(service.pipe(cached(yield* memory())))
    const asking = yield* Effect.forkChild(
      Effect.replicateEffect(Effect.flip(calc(client, 1)), 3, { concurrency: "unbounded" }),
    )
    yield* TestClock.adjust("1 second")
    assert.deepEqual(
      (yield* Fiber.join(asking)).map(({ code }) => code),
      ["unavailable", "unavailable", "unavailable"],
    )
    assert.equal(counted.runs, 1)
    const again = yield* Effect.forkChild(Effect.flip(calc(client, 1)))
    yield* TestClock.adjust("1 second")
    yield* Fiber.join(again)
    assert.equal(counted.runs, 2)
  }),
)

const caller = fc.record({
  n: fc.integer({ min: 1, max: 2 }),
  from: fc.nat(3),
  until: fc.option(fc.nat(60), { nil: undefined }),
})

testWithClock(
  "whoever is interrupted and whenever, all others are answered, and nothing is computed twice at a time",
  () =>
    property(
      fc.record({
        callers: fc.array(caller, { minLength: 1, maxLength: 12 }),
        wait: fc.nat(5),
        ttl: fc.nat(20),
        // Fibers may have to let others pass at any place.
        opsAtOnce: fc.constantFrom(3, 4, 5, 8, 2048),
      }),
      ({ callers, wait, ttl, opsAtOnce }) =>
        Effect.gen(function* () {
          const running = new Map<number, number>()
          const { service } = counting((n) =>
            Effect.acquireUseRelease(
              Effect.sync(() => {
                assert.equal(running.get(n) ?? 0, 0, "it is being computed already")
                running.set(n, 1)
              }),
              () => Effect.delay(doubled(n), 10),
              () => Effect.sync(() => running.set(n, 0)),
            ),
          )
          const { slow } = before(yield* memory(), wait === 0 ? Effect.void : Effect.sleep(wait))
          const client = yield* clientOf(service.pipe(cached(slow, { ttl: Duration.millis(ttl + 1) })))
          const calls = yield* Effect.forEach(callers, ({ n, from, until }) =>
            Effect.forkChild(
              Effect.gen(function* () {
                yield* Effect.sleep(from)
                const call = yield* Effect.forkChild(calc(client, n), { startImmediately: true })
                if (until === undefined) return assert.equal(yield* Fiber.join(call), 2 * n)
                yield* Effect.sleep(until)
                yield* Fiber.interrupt(call)
                const exit = yield* Fiber.await(call)
                if (Exit.isSuccess(exit)) assert.equal(exit.value, 2 * n)
              }),
            ),
          )
          for (let millis = 0; millis < 300; millis += 1) yield* TestClock.adjust(1)
          for (const one of calls) yield* Fiber.join(one)
        }).pipe(
          Effect.provideService(References.MaxOpsBeforeYield, opsAtOnce),
          Effect.scoped,
          Effect.provide(TestClock.layer()),
        ),
      { numRuns: 200 },
    ),
)

// ---- A store in trouble

/** A client of a cached calculator that counts, and what it logs. */
const withStore = Effect.fnUntraced(function* (store: Store, options: CachedOptions = {}) {
  const { counted, service } = counting(doubled)
  return { counted, client: yield* clientOf(service.pipe(cached(store, options))) }
})

testWithClock("a store that fails is left alone for a while, and one call then tries it again", () => {
  const lines: Array<Logged> = []
  return Effect.gen(function* () {
    let broken = true
    const { asked, slow } = before(
      yield* memory(),
      Effect.suspend(() => (broken ? Effect.fail(error("unavailable")) : Effect.void)),
    )
    const { client, counted } = yield* withStore(slow, { restFor: "2 seconds" })
    for (let call = 0; call < 5; call += 1) assert.equal(yield* calc(client, 1), 2)
    assert.deepEqual([asked, counted.runs], [{ get: 1, set: 0 }, 5])
    yield* TestClock.adjust("2 seconds")
    for (let call = 0; call < 5; call += 1) yield* calc(client, 1)
    assert.deepEqual(asked, { get: 2, set: 0 })
    assert.deepEqual(
      lines.map(({ level, text }) => [level, text]),
      [["Warn", "calls go without the store of cached answers: unavailable: no"]],
    )
    broken = false
    yield* calc(client, 1)
    assert.deepEqual(asked, { get: 2, set: 0 })
    yield* TestClock.adjust("2 seconds")
    const { runs } = counted
    for (let call = 0; call < 5; call += 1) yield* calc(client, 1)
    assert.equal(counted.runs, runs + 1)
    assert.equal(lines.length, 2)
  }).pipe(Effect.provide(logInto(lines)))
})

// Those who can obey the deadline fail a little before it, as the port says.
const obeying = Effect.flatMap(Deadline.Current, (deadline) =>
  Effect.flatMap(Deadline.remaining(deadline ?? Number.POSITIVE_INFINITY), (left) =>
    Effect.delay(Effect.fail(error("unavailable")), Math.max(0, left - 1)),
  ),
)

for (const [name, dawdle] of [
  ["obeys the deadline", obeying],
  ["doesn't obey the deadline", Effect.never],
] as const) {
  testWithClock(`a store that is slow and ${name} costs a call no more than the patience`, () =>
    Effect.gen(function* () {
      const { asked, slow } = before(yield* memory(), dawdle)
      const { client } = yield* withStore(slow, { patience: "20 millis", restFor: "1 second" })
      const call = yield* Effect.forkChild(calc(client, 1), { startImmediately: true })
      yield* TestClock.adjust("18 millis")
      assert.equal(call.pollUnsafe(), undefined)
      yield* TestClock.adjust("2 millis")
      assert.equal(yield* Fiber.join(call), 2)
      // The next ones don't wait at all.
      assert.equal(yield* calc(client, 1), 2)
      assert.deepEqual(asked, { get: 1, set: 0 })
    }).pipe(Effect.provide(logInto([]))),
  )

  testWithClock(`a store whose writes are slow and that ${name} costs a call no more than the patience`, () =>
    Effect.gen(function* () {
      const store = yield* memory()
      const { slow } = before(store, dawdle)
      const { client } = yield* withStore({ ...slow, get: store.get }, { patience: "20 millis" })
      const call = yield* Effect.forkChild(calc(client, 1), { startImmediately: true })
      yield* TestClock.adjust("20 millis")
      assert.equal(yield* Fiber.join(call), 2)
    }).pipe(Effect.provide(logInto([]))),
  )
}

testWithClock("while one call finds out whether the store is back, the others go on without it", () =>
  Effect.gen(function* () {
    const { asked, slow } = before(yield* memory(), Effect.never)
    const { client } = yield* withStore(slow, { patience: "50 millis", restFor: "1 second" })
    const first = yield* Effect.forkChild(calc(client, 0), { startImmediately: true })
    yield* TestClock.adjust("1050 millis")
    yield* Fiber.join(first)
    const trying = yield* Effect.forkChild(calc(client, 1), { startImmediately: true })
    assert.deepEqual([yield* calc(client, 2), yield* calc(client, 3), trying.pollUnsafe()], [4, 6, undefined])
    assert.deepEqual(asked, { get: 2, set: 0 })
    yield* TestClock.adjust("50 millis")
    assert.equal(yield* Fiber.join(trying), 2)
  }).pipe(Effect.provide(logInto([]))),
)

testWithClock("a store that dies harms no call", () =>
  Effect.gen(function* () {
    const { slow } = before(yield* memory(), Effect.die("oops"))
    const { client } = yield* withStore(slow)
    assert.equal(yield* calc(client, 1), 2)
    const throwing = yield* withStore({
      ...slow,
      get: () => {
        throw new Error("oops")
      },
    })
    assert.equal(yield* calc(throwing.client, 1), 2)
  }).pipe(Effect.provide(logInto([]))),
)

testWithClock("a call that has no time left doesn't say that the store is at fault", () => {
  const lines: Array<Logged> = []
  return Effect.gen(function* () {
    const store = yield* memory()
    const { asked, slow } = before(store, Effect.sleep("30 millis"))
    const { client } = yield* withStore(slow)
    const hurried = yield* Effect.forkChild(calc(client, 1).pipe(Deadline.within("10 millis")))
    yield* TestClock.adjust("10 millis")
    yield* Fiber.await(hurried)
    const patient = yield* Effect.forkChild(calc(client, 1))
    yield* TestClock.adjust("100 millis")
    assert.equal(yield* Fiber.join(patient), 2)
    assert.deepEqual([asked, lines], [{ get: 2, set: 1 }, []])
  }).pipe(Effect.provide(logInto(lines)))
})

testWithClock("a value that is no answer is as good as none, and is replaced", () =>
  Effect.gen(function* () {
    const store = yield* memory()
    const { client, counted } = yield* withStore(store)
    yield* calc(client, 1)
    const [key = ""] = yield* Stream.runCollect(store.scan(""))
    yield* store.set(key, new Uint8Array([0xff]))
    assert.deepEqual([yield* calc(client, 1), yield* calc(client, 1), counted.runs], [2, 2, 2])
  }),
)

testWithClock("a request whose key would be too long is computed each time", () =>
  Effect.gen(function* () {
    const store = yield* memory()
    const { client, counted } = yield* withStore(store, { maxKeyLength: 10 })
    assert.deepEqual([yield* calc(client, 1), yield* calc(client, 1), counted.runs], [2, 2, 2])
    assert.deepEqual(yield* Stream.runCollect(store.scan("")), [])
  }),
)

// ---- Its place in the pipe

testWithClock(
  "what stands before it runs where there is something to compute, what stands behind it in each call",
  () =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const event = (name: string) => Effect.sync(() => void events.push(name))
      const noting = (name: string) =>
        intercept((call, next) =>
          Effect.suspend(() => {
            events.push(name)
            return next(call)
          }),
        )
      const noteMessages = (name: string) => {
        const note = (message: unknown) => Effect.as(event(name), message)
        return interceptMessages({ request: note, response: note })
      }
      const { service } = counting((n) => Effect.as(event("program"), n))
      const inner = noting("inner")(noteMessages("inner message")(service))
      const outer = noting("outer")(cached(yield* memory())(inner))
      const client = yield* clientOf(noteMessages("outer message")(outer))
      yield* calc(client, 1)
      assert.deepEqual(events, [
        "outer",
        "outer message",
        "inner",
        "inner message",
        "program",
        "inner message",
        "outer message",
      ])
      events.length = 0
      yield* calc(client, 1)
      assert.deepEqual(events, ["outer", "outer message", "outer message"])
    }),
)

testEachKind(
  "all layers around it run for methods that aren't cached, in their order",
  ({ ask, kind }) =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const noting = (name: string) =>
        intercept((call, next) =>
          Effect.suspend(() => {
            events.push(name)
            return next(call)
          }),
        )
      const service = serving(Effect.void).pipe(noting("inner"), cached(yield* memory()), noting("outer"))
      const client = yield* clientOf(service)
      for (let call = 0; call < 2; call += 1) yield* ask(client)
      const passed = ["outer", "inner", "outer", "inner"]
      assert.deepEqual(events, kind === "unary" ? passed.slice(0, 3) : passed)
    }),
  testWithClock,
)

testWithClock("the program finds in its context the call that the layers before and behind have made", () =>
  Effect.gen(function* () {
    const { service } = counting(() =>
      Effect.flatMap(Effect.zip(Call, Deadline.Current), ([{ metadata }, deadline]) =>
        Effect.succeed(metadata.length * 1000 + (deadline ?? 0)),
      ),
    )
    const adding = (deadline?: number) =>
      intercept((call, next) =>
        next({ ...call, deadline: deadline ?? call.deadline, metadata: [...call.metadata, ["x", "y"]] }),
      )
    const client = yield* clientOf(service.pipe(adding(7), cached(yield* memory()), adding()))
    assert.equal(yield* calc(client, 1), 2007)
  }),
)

testWithClock("one may stand behind another: a quick store before a common one", () =>
  Effect.gen(function* () {
    const [near, far] = [yield* memory(), yield* memory()]
    const { counted, service } = counting(doubled)
    const both = yield* clientOf(service.pipe(cached(far), cached(near)))
    assert.deepEqual([yield* calc(both, 1), yield* calc(both, 1)], [2, 2])
    const other = yield* clientOf(service.pipe(cached(far), cached(yield* memory())))
    assert.equal(yield* calc(other, 1), 2)
    assert.equal(counted.runs, 1)
  }),
)

testWithClock("metadata is that of the call which computes the answer, and isn't kept", () =>
  Effect.gen(function* () {
    const { service } = counting((n) => Effect.andThen(sendHeader({ "x-computed": "yes" }), doubled(n)))
    const headers: Array<number> = []
    const client = yield* clientOf(
      service.pipe(
        cached(yield* memory()),
        intercept((call, next) =>
          Effect.tap(next(call), () => Effect.sync(() => headers.push(call.response.header.length))),
        ),
      ),
    )
    yield* calc(client, 1)
    yield* calc(client, 1)
    assert.deepEqual(headers, [1, 0])
  }),
)
