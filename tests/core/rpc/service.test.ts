import assert from "node:assert/strict"
import { Context, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { Call, type CallInfo } from "../../../src/core/rpc/call.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { type Layered, unlayered } from "../../../src/core/rpc/interceptor.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import * as Monotonic from "../../../src/core/rpc/monotonic.ts"
import { fromHandlers, respondInTime, respondStream } from "../../../src/core/rpc/service.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test, testWithClock } from "../../effect.ts"
import {
  type Ask,
  callWith,
  clientOf,
  echo,
  type Logged,
  logInto,
  method,
  type PiService,
  serving,
  testEachKind,
} from "../support.ts"

const secret = new Error("the password is hunter2")
const through = intercept((call, next) => next(call))

const boom = (): never => {
  throw secret
}

/** A service all of whose programs throw before they give an Effect or a Stream. */
const throwing = Service.partial(PiCalculator, {
  calc: (): Effect.Effect<never> => boom(),
  calcStream: (): Stream.Stream<never> => boom(),
  calcRange: (): Stream.Stream<never> => boom(),
  summarize: (): Effect.Effect<never> => boom(),
})

/** Fails unless the client learns nothing but that it happened, and the log all. */
const assertHidden = Effect.fnUntraced(function* (service: PiService, ask: Ask, name: string) {
  const logged: Array<Logged> = []
  const client = yield* clientOf(service)
  const error = yield* ask(client).pipe(Effect.flip, Effect.provide(logInto(logged)))
  const { code, message, details, metadata, cause } = error
  assert.deepEqual(
    { code, message, details, metadata, cause },
    { code: "internal", message: "internal error", details: [], metadata: [], cause: undefined },
  )
  assert.equal(logged.length, 1)
  assert.equal(logged[0]?.level, "Error")
  assert.match(logged[0]?.text ?? "", new RegExp(`pi\\.PiCalculator/${name} died`))
  assert.match(logged[0]?.cause ?? "", /hunter2/)
})

test("a service has its programs by the method's name", () =>
  Effect.sync(() => {
    const calc = { method, kind: "unary", run: () => Effect.succeed(1) } as const
    const service = fromHandlers("descriptor", [calc])
    assert.equal(service.descriptor, "descriptor")
    assert.deepEqual([...service.handlers], [["Calc", calc]])
  }))

testEachKind("a method that has no program is unimplemented", ({ ask, name }) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(ask(yield* clientOf(Service.partial(PiCalculator, {}))))
    assert.equal(error.code, "unimplemented")
    assert.equal(error.message, `/pi.PiCalculator/${name} is not served here`)
  }),
)

testEachKind("a program that dies answers internal, and only the log learns why", ({ ask, name }) =>
  Effect.gen(function* () {
    const dying = serving(Effect.die(secret))
    yield* assertHidden(dying, ask, name)
    yield* assertHidden(dying.pipe(through), ask, name)
  }),
)

testEachKind("a program that throws before it gives an Effect is hidden like one that dies", ({ ask, name }) =>
  Effect.gen(function* () {
    yield* assertHidden(throwing, ask, name)
    yield* assertHidden(throwing.pipe(through), ask, name)
  }),
)

testEachKind("a layer that dies or throws is hidden like a program", ({ ask, name }) =>
  Effect.gen(function* () {
    yield* assertHidden(echo.pipe(intercept(() => Effect.die(secret))), ask, name)
    yield* assertHidden(echo.pipe(intercept(boom)), ask, name)
  }),
)

test("a stream that dies after some answers gives those, then internal", () =>
  Effect.gen(function* () {
    const service = Service.partial(PiCalculator, {
      calcRange: () => Stream.concat(Stream.make({ n: 1 }, { n: 2 }), Stream.die(secret)),
    })
    for (const served of [service, service.pipe(through)]) {
      const taken: Array<number> = []
      const ask: Ask = ({ calcRange }) =>
        Effect.as(
          Stream.runForEach(calcRange({}), ({ n }) => Effect.sync(() => taken.push(n))),
          taken,
        )
      yield* assertHidden(served, ask, "CalcRange")
      assert.deepEqual(taken, [1, 2])
    }
  }))

test("a failure that a finalizer's defect joins is hidden whole", () =>
  Effect.gen(function* () {
    const failing = Effect.fail(new RpcError({ code: "aborted", message: "again" }))
    const both = serving(Effect.ensuring(failing, Effect.die(secret)))
    yield* assertHidden(both, (client) => Effect.as(client.calc({ n: 1 }), []), "Calc")
  }))

testEachKind("what programs need is taken from where the channel was made", ({ ask, answers }) =>
  Effect.gen(function* () {
    class Store extends Context.Service<Store, Array<string>>()("test/Store") {}
    const stored: Array<string> = []
    const service = serving(Effect.map(Store, (store) => store.push("called")))
    const client = yield* Effect.provideService(clientOf(service), Store, stored)
    assert.deepEqual(yield* ask(client), answers)
    assert.deepEqual(stored, ["called"])
  }),
)

/** Runs an effect as the program of a call, with one answer and with a stream of one. */
const served =
  (service: Layered, call: CallInfo) =>
  <A>(program: Effect.Effect<A, RpcError, Call>) =>
    [
      respondInTime(service, call, program),
      Effect.map(Stream.runCollect(respondStream(service, call, Stream.fromEffect(program))), ([answer]) => answer),
    ] as const

const layerings = [unlayered, through(unlayered)]

test("a program has its call in its context, as the layers pass it on", () =>
  Effect.gen(function* () {
    const call = callWith({
      metadata: Metadata.of({ a: "1" }),
      deadline: (yield* Monotonic.now) + 1e9,
      peer: { address: "[::1]:7" },
    })
    for (const layered of layerings) {
      for (const answer of served(layered, call)(Effect.service(Call))) assert.equal(yield* answer, call)
    }
    const moved = intercept((call, next) => next({ ...call, peer: { address: "elsewhere" } }))
    for (const answer of served(moved(unlayered), call)(Effect.service(Call))) {
      assert.deepEqual(yield* answer, { ...call, peer: { address: "elsewhere" } })
    }
  }))

testWithClock("what a program calls inherits the deadline of the call that it serves", () =>
  Effect.gen(function* () {
    const current = Effect.service(Deadline.Current)
    for (const layered of layerings) {
      for (const answer of served(layered, callWith({ deadline: 1_000 }))(current)) assert.equal(yield* answer, 1_000)
      for (const answer of served(layered, callWith())(current)) assert.equal(yield* answer, undefined)
    }
  }),
)

testWithClock("a call ends at its deadline, with its layers", () =>
  Effect.gen(function* () {
    const slow = intercept((call, next) => Effect.delay(next(call), "1 hour"))
    const calls = [...layerings, slow(unlayered)].flatMap((layered) =>
      served(layered, callWith({ deadline: 1_000 }))(Effect.never),
    )
    const fibers = yield* Effect.forEach(calls, (answer) => Effect.forkChild(Effect.exit(answer)))
    yield* TestClock.setTime(999)
    for (const fiber of fibers) assert.equal(fiber.pollUnsafe(), undefined)
    yield* TestClock.setTime(1_000)
    for (const fiber of fibers) assert.deepEqual(yield* Fiber.join(fiber), Exit.fail(Deadline.exceeded()))
  }),
)

test("an error that a program fails with passes as it is", () =>
  Effect.gen(function* () {
    const error = new RpcError({ code: "data_loss", message: "gone" })
    for (const layered of layerings) {
      for (const answer of served(layered, callWith())(Effect.fail(error))) {
        assert.equal(yield* Effect.flip(answer), error)
      }
    }
  }))
