import assert from "node:assert/strict"
import { Effect, Fiber, Latch, Scheduler, Stream } from "effect"
import fc from "fast-check"
import { concurrencyLimit } from "../../../src/core/layers/concurrencyLimit.ts"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { unlayered } from "../../../src/core/rpc/interceptor.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { callWith, clientOf, echo, logInto, property, serving, settle, testEachSide } from "../support.ts"

const aborted = new RpcError({ code: "aborted", message: "again" })

/** A service whose programs wait at a gate, and how many stand there. */
const gated = Effect.gen(function* () {
  const gate = yield* Latch.make()
  const at = { gate: 0 }
  const service = serving(
    Effect.suspend(() => {
      at.gate += 1
      return Effect.ensuring(
        gate.await,
        Effect.sync(() => at.gate--),
      )
    }),
  )
  return { gate, at, service }
})

testEachSide("one call more than the limit is refused at once, and its program doesn't run", ({ ask, put, answers }) =>
  Effect.gen(function* () {
    const { gate, at, service } = yield* gated
    const client = yield* put(service, concurrencyLimit(2))
    const running = yield* Effect.forkChild(Effect.all([ask(client), ask(client)], { concurrency: "unbounded" }))
    yield* settle
    assert.equal(at.gate, 2)
    const error = yield* Effect.flip(ask(client))
    assert.equal(error.code, "resource_exhausted")
    assert.match(error.message, /^2 calls run already/)
    assert.equal(at.gate, 2)
    yield* gate.open
    assert.deepEqual(yield* Fiber.join(running), [answers, answers])
    assert.deepEqual(yield* ask(client), answers)
  }),
)

test("of any number of calls at once as many run as the limit says", () =>
  property(fc.tuple(fc.nat(8), fc.nat(16)), ([limit, calls]) =>
    Effect.gen(function* () {
      const { gate, at, service } = yield* gated
      const { calc } = yield* clientOf(service.pipe(concurrencyLimit(limit)))
      const running = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: calls }), () => Effect.exit(calc({ n: 1 })), { concurrency: "unbounded" }),
      )
      yield* settle
      assert.equal(at.gate, Math.min(limit, calls))
      yield* gate.open
      const answered = (yield* Fiber.join(running)).filter((exit) => exit._tag === "Success").length
      assert.equal(answered, Math.min(limit, calls))
    }),
  ))

testEachSide("a call that ends frees its place, however it ends", ({ ask, put, answers }) =>
  Effect.gen(function* () {
    const endings = [Effect.void, Effect.fail(aborted), Effect.die("broken"), Effect.interrupt] satisfies ReadonlyArray<
      Effect.Effect<void, RpcError>
    >
    for (const ending of endings) {
      let first = true
      const service = serving(
        Effect.suspend(() => {
          const now = first ? ending : Effect.void
          first = false
          return now
        }),
      )
      const client = yield* put(service, concurrencyLimit(1))
      yield* Fiber.await(yield* Effect.forkChild(ask(client)))
      assert.deepEqual(yield* ask(client), answers)
    }
  }).pipe(Effect.provide(logInto([]))),
)

testEachSide("a call that is interrupted frees its place", ({ ask, put, answers }) =>
  Effect.gen(function* () {
    const { gate, service } = yield* gated
    const client = yield* put(service, concurrencyLimit(1))
    const running = yield* Effect.forkChild(ask(client))
    yield* settle
    assert.equal((yield* Effect.flip(ask(client))).code, "resource_exhausted")
    yield* Fiber.interrupt(running)
    yield* gate.open
    assert.deepEqual(yield* ask(client), answers)
  }),
)

test("no place is lost, at whatever step of a call an interrupt comes", () =>
  property(
    fc.record({ steps: fc.integer({ min: 0, max: 30 }), ops: fc.integer({ min: 2, max: 6 }), lead: fc.nat(5) }),
    ({ steps, ops, lead }) =>
      Effect.gen(function* () {
        const { around } = concurrencyLimit(1)(unlayered)
        const call = around(callWith(), () => Effect.yieldNow)
        // A fiber may be interrupted where it yields: so it yields every few steps, and anywhere.
        const led = Array.from({ length: lead }).reduce<typeof call>((inner) => Effect.suspend(() => inner), call)
        const fiber = yield* Effect.forkChild(Effect.provideService(led, Scheduler.MaxOpsBeforeYield, ops))
        yield* Effect.replicateEffect(Effect.yieldNow, steps, { discard: true })
        yield* Fiber.interrupt(fiber)
        yield* call
      }),
    { numRuns: 1_000 },
  ))

test("no place is lost where a layer inside throws", () =>
  Effect.gen(function* () {
    let first = true
    const throwsOnce = intercept((call, next) => {
      if (!first) return next(call)
      first = false
      throw new Error("broken")
    })
    const { calc } = yield* clientOf(echo.pipe(throwsOnce, concurrencyLimit(1)))
    assert.equal((yield* Effect.flip(calc({ n: 1 }))).code, "internal")
    assert.equal((yield* calc({ n: 1 })).value, 1)
  }).pipe(Effect.provide(logInto([]))))

test("a stream holds its place as long as messages are left to take", () =>
  Effect.gen(function* () {
    const points = Service.partial(PiCalculator, {
      calc: ({ n }) => Effect.succeed({ value: n }),
      // Ten arrays of one each: an array is taken whole.
      calcRange: () => Stream.flatMap(Stream.range(1, 10), (n) => Stream.make({ n })),
    })
    const one = concurrencyLimit(1)
    for (const { calc, calcRange } of [yield* clientOf(points.pipe(one)), yield* clientOf(points, one)]) {
      const holding = yield* Latch.make()
      const running = yield* Effect.forkChild(Stream.runForEach(calcRange({}), () => holding.await))
      yield* settle
      assert.equal((yield* Effect.flip(calc({ n: 1 }))).code, "resource_exhausted")
      yield* holding.open
      yield* Fiber.join(running)
      assert.equal((yield* calc({ n: 1 })).value, 1)
    }
  }))

test("a stream that is left early frees its place", () =>
  Effect.gen(function* () {
    const { calc, calcRange } = yield* clientOf(echo.pipe(concurrencyLimit(1)))
    yield* Stream.runDrain(Stream.take(calcRange({ first: 1, last: 1_000_000 }), 1))
    assert.equal((yield* calc({ n: 1 })).value, 1)
  }))

test("each target that a layer is put on counts for itself", () =>
  Effect.gen(function* () {
    const { at, service } = yield* gated
    const one = concurrencyLimit(1)
    const clients = [
      yield* clientOf(service.pipe(one)),
      yield* clientOf(service.pipe(one)),
      yield* clientOf(service, one),
    ]
    for (const { calc } of clients) yield* Effect.forkChild(calc({ n: 1 }))
    yield* settle
    assert.equal(at.gate, 3)
    for (const { calc } of clients) assert.equal((yield* Effect.flip(calc({ n: 1 }))).code, "resource_exhausted")
  }))

test("what stands behind it in the pipe runs for refused calls too, what stands before it doesn't", () =>
  Effect.gen(function* () {
    const ran: Array<string> = []
    const noting = (name: string) =>
      intercept((call, next) => {
        ran.push(name)
        return next(call)
      })
    const { calc } = yield* clientOf(echo.pipe(noting("before"), concurrencyLimit(0), noting("behind")))
    assert.equal((yield* Effect.flip(calc({ n: 1 }))).code, "resource_exhausted")
    assert.deepEqual(ran, ["behind"])
  }))

/** The call of a peer at an address. */
const from = (address: string | undefined) => ({ ...callWith(), peer: { address } })

test("calls from one address have a quarter of the places at most, whatever its ports: others find theirs", () =>
  Effect.gen(function* () {
    const { around } = concurrencyLimit(8)(unlayered)
    const run = (address: string | undefined) => Effect.forkChild(around(from(address), () => Effect.never))
    const code = (address: string | undefined) =>
      Effect.map(Effect.flip(around(from(address), () => Effect.void)), (error) => error.code)
    const held = [yield* run("192.0.2.1:1"), yield* run("192.0.2.1:2")]
    yield* settle
    assert.equal(yield* code("192.0.2.1:3"), "resource_exhausted")
    for (const address of ["192.0.2.2:1", "[2001:db8::1]:1", undefined]) {
      yield* run(address)
      yield* run(address)
    }
    yield* settle
    // Now all of them are taken.
    for (const address of ["192.0.2.3:1", undefined]) assert.equal(yield* code(address), "resource_exhausted")
    for (const fiber of held) yield* Fiber.interrupt(fiber)
    yield* around(from("192.0.2.1:4"), () => Effect.void)
  }))

test("one address may have all places where that is said, and has one at least", () =>
  Effect.gen(function* () {
    const calls = (limit: number, peerShare: number) =>
      Effect.gen(function* () {
        const { around } = concurrencyLimit(limit, { peerShare })(unlayered)
        for (let i = 0; i < 4; i++) yield* Effect.forkChild(around(from("192.0.2.1:1"), () => Effect.never))
        yield* settle
        return (yield* Effect.exit(around(from("192.0.2.1:1"), () => Effect.void)))._tag
      })
    assert.equal(yield* calls(5, 1), "Success")
    assert.equal(yield* calls(4, 1), "Failure")
    const { around } = concurrencyLimit(1)(unlayered)
    yield* around(from("192.0.2.1:1"), () => Effect.void)
  }))
