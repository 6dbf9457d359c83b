import assert from "node:assert/strict"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { type CallLayer, intercept } from "../../../src/core/layers/intercept.ts"
import { Call } from "../../../src/core/rpc/call.ts"
import { inMemory } from "../../../src/core/rpc/channel.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { test, testWithClock } from "../../effect.ts"
import { clientOf, echo, serving, testEachKind, testEachSide } from "../support.ts"

const aborted = new RpcError({ code: "aborted", message: "again" })

/** A layer that notes when a call enters and when it leaves. */
const noting = (events: Array<string>, name: string): CallLayer =>
  intercept((call, next) => {
    events.push(`${name} in`)
    return Effect.ensuring(
      next(call),
      Effect.sync(() => events.push(`${name} out`)),
    )
  })

testEachKind(
  "layers run in the order of the pipe, the last one outermost, and a channel's around a service's",
  ({ ask }) =>
    Effect.gen(function* () {
      const events: Array<string> = []
      const layer = (name: string) => noting(events, name)
      const program = Effect.sync(() => events.push("program"))
      const service = serving(program).pipe(layer("a"), layer("b"), layer("c"))
      yield* ask(yield* clientOf(service, (channel) => channel.pipe(layer("x"), layer("y"))))
      const inward = ["y in", "x in", "c in", "b in", "a in"]
      assert.deepEqual(events.slice(0, 6), [...inward, "program"])
      // A stream's last message may be on its way out still, so each side ends by itself.
      const outward = events.slice(6)
      assert.deepEqual(
        outward.filter((event) => "abc".includes(event.charAt(0))),
        ["a out", "b out", "c out"],
      )
      assert.deepEqual(
        outward.filter((event) => "xy".includes(event.charAt(0))),
        ["x out", "y out"],
      )
    }),
)

testEachSide("a layer may end a call before it begins", ({ ask, put }) =>
  Effect.gen(function* () {
    let called = false
    const service = serving(
      Effect.sync(() => {
        called = true
      }),
    )
    const client = yield* put(
      service,
      intercept(() => Effect.fail(aborted)),
    )
    assert.equal(yield* Effect.flip(ask(client)), aborted)
    assert.equal(called, false)
  }),
)

testEachSide("a layer may change the call that the inside gets", ({ ask, put }) =>
  Effect.gen(function* () {
    const users: Array<unknown> = []
    const service = serving(Effect.map(Call, ({ metadata }) => users.push(metadata)))
    yield* ask(
      yield* put(
        service,
        intercept((call, next) => next({ ...call, metadata: [["x-user", "ada"]] })),
      ),
    )
    assert.deepEqual(users, [[["x-user", "ada"]]])
  }),
)

testEachSide("a layer sees what failed, and may replace it", ({ ask, put }) =>
  Effect.gen(function* () {
    const replaced = new RpcError({ code: "unavailable", message: "later" })
    const seen: Array<RpcError> = []
    const layer = intercept((call, next) =>
      Effect.catch(next(call), (error) => {
        seen.push(error)
        return Effect.fail(replaced)
      }),
    )
    assert.equal(yield* Effect.flip(ask(yield* put(serving(aborted), layer))), replaced)
    assert.deepEqual(seen, [aborted])
  }),
)

testEachSide(
  "a layer may wait before the call and after it",
  ({ ask, put, answers }) =>
    Effect.gen(function* () {
      const layer = intercept((call, next) => Effect.delay(next(call), 1_000).pipe(Effect.tap(Effect.sleep(500))))
      const fiber = yield* Effect.forkChild(ask(yield* put(echo, layer)))
      yield* TestClock.setTime(1_499)
      assert.equal(fiber.pollUnsafe(), undefined)
      yield* TestClock.setTime(1_500)
      assert.deepEqual(yield* Fiber.join(fiber), answers)
    }),
  testWithClock,
)

test("a layer leaves what it is put on as it was, and gives one of the same kind", () =>
  Effect.gen(function* () {
    const events: Array<string> = []
    const layer = noting(events, "a")
    const channel = yield* inMemory(echo)
    const { around: serviceAround, ...service } = echo.pipe(layer)
    const { around: channelAround, ...connected } = channel.pipe(layer)
    assert.deepEqual({ ...service, around: echo.around }, echo)
    assert.deepEqual({ ...connected, around: channel.around }, channel)
    assert.notEqual(serviceAround, echo.around)
    assert.notEqual(channelAround, channel.around)
    yield* (yield* clientOf(echo)).calc({ n: 1 })
    assert.deepEqual(events, [])
  }))
