import assert from "node:assert/strict"
import { describe } from "node:test"
import { isMessage } from "@bufbuild/protobuf"
import { Context, Effect, Option, Stream } from "effect"
import { inMemory } from "../../src/core/rpc/channel.ts"
import { RpcError } from "../../src/core/rpc/error.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator, PiPointSchema, PiRequestSchema, PiResponseSchema } from "../../src/transport/gen/pi_pb.ts"
import { serve } from "../../src/transport/server.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { calculator, pi, withLog } from "./support.ts"

class Factor extends Context.Service<Factor, number>()("Factor") {}
class Offset extends Context.Service<Offset, number>()("Offset") {}

describe("a service", () => {
  test("has one handler a method, which knows the method's kind and what it promises", () =>
    Effect.sync(() => {
      const methods = Array.from(pi.handlers.values(), ({ method }) => [method.name, method.kind, method.idempotency])
      assert.deepEqual(methods, [
        ["Calc", "unary", "no_side_effects"],
        ["CalcStream", "bidi_streaming", "no_side_effects"],
        ["CalcRange", "server_streaming", "no_side_effects"],
        ["Summarize", "client_streaming", "no_side_effects"],
        ["Report", "unary", "unknown"],
      ])
      assert.equal(pi.descriptor, PiCalculator)
    }))

  test("may leave methods out only when it says so", () =>
    Effect.gen(function* () {
      const some = Service.partial(PiCalculator, { calc: calculator.calc })
      assert.deepEqual([...some.handlers.keys()], ["Calc"])
      const client = Client.make(PiCalculator, yield* inMemory(some))
      assert.equal((yield* Effect.flip(client.report({}))).code, "unimplemented")
    }))

  test("makes whole messages of what its programs answer", () =>
    Effect.gen(function* () {
      const bare = Service.partial(PiCalculator, {
        calc: () => Effect.succeed({}),
        calcRange: () => Stream.make({ n: 1 }, { value: 2 }),
      })
      const client = Client.make(PiCalculator, yield* inMemory(bare))
      const answer = yield* client.calc({})
      assert.ok(isMessage(answer, PiResponseSchema))
      assert.equal(answer.value, 0)
      const points = yield* Stream.runCollect(client.calcRange({}))
      assert.ok(points.every((point) => isMessage(point, PiPointSchema)))
      assert.deepEqual(
        points.map(({ n, value }) => [n, value]),
        [
          [1, 0],
          [0, 2],
        ],
      )
    }))

  test("gives its programs whole messages, streams of them included", () =>
    Effect.gen(function* () {
      const seen: Array<unknown> = []
      const keep = (message: unknown) => Effect.sync(() => void seen.push(message))
      const service = Service.partial(PiCalculator, {
        calc: (request) => Effect.as(keep(request), {}),
        summarize: (requests) => Effect.as(Stream.runForEach(requests, keep), {}),
      })
      const client = Client.make(PiCalculator, yield* inMemory(service))
      yield* client.calc({})
      yield* client.summarize(Stream.make({}, { n: 2 }))
      assert.equal(seen.length, 3)
      assert.ok(seen.every((message) => isMessage(message, PiRequestSchema)))
    }))

  test("takes a program that throws before it gives an Effect or a Stream for one that died", () =>
    withLog((lines) =>
      Effect.gen(function* () {
        const refuse = (): never => {
          throw new Error("secret")
        }
        const service = Service.partial(PiCalculator, {
          calc: (): Effect.Effect<object> => refuse(),
          calcRange: (): Stream.Stream<object> => refuse(),
        })
        const client = Client.make(PiCalculator, yield* inMemory(service))
        const errors = [yield* Effect.flip(client.calc({})), yield* Effect.flip(Stream.runHead(client.calcRange({})))]
        for (const { code, message } of errors) assert.deepEqual([code, message], ["internal", "internal error"])
        assert.equal(lines.filter((line) => line.includes("secret")).length, 2)
      }),
    ))

  test("needs what its programs need, all together", () =>
    Effect.gen(function* () {
      const service = Service.make(PiCalculator, {
        ...calculator,
        calc: ({ n }) => Effect.map(Factor, (factor) => ({ value: n * factor })),
        calcRange: ({ first }) => Stream.fromEffect(Effect.map(Offset, (offset) => ({ n: first + offset }))),
      })
      const channel = yield* inMemory(service).pipe(
        Effect.provideService(Factor, 3),
        Effect.provideService(Offset, 100),
      )
      const client = Client.make(PiCalculator, channel)
      assert.equal((yield* client.calc({ n: 7 })).value, 21)
      const point = yield* Stream.runHead(client.calcRange({ first: 1 }))
      assert.equal(Option.map(point, ({ n }) => n).pipe(Option.getOrThrow), 101)
    }))
})

// What follows is for the compiler, and never runs: each line that must not compile says so.
export const _types = () => {
  const { calc, calcStream, calcRange, summarize } = calculator

  // @ts-expect-error: `report` is missing.
  Service.make(PiCalculator, { calc, calcStream, calcRange, summarize })
  // @ts-expect-error: there is no method of this name, in either.
  Service.make(PiCalculator, { ...calculator, clac: calc })
  // @ts-expect-error
  Service.partial(PiCalculator, { clac: calc })

  // @ts-expect-error: a value is a number.
  Service.make(PiCalculator, { ...calculator, calc: () => Effect.succeed({ value: "3.14" }) })
  // @ts-expect-error: an answer has no such field.
  Service.make(PiCalculator, { ...calculator, calc: () => Effect.succeed({ valeu: 3.14 }) })
  // @ts-expect-error: a request has no such field.
  Service.make(PiCalculator, { ...calculator, calc: ({ m }) => Effect.succeed({ value: m }) })
  // @ts-expect-error: a program fails with an RpcError and nothing else.
  Service.make(PiCalculator, { ...calculator, calc: () => Effect.fail(new Error("no")) })
  // @ts-expect-error: one answer is no stream of them,
  Service.make(PiCalculator, { ...calculator, calcRange: () => Effect.succeed({ n: 1 }) })
  // @ts-expect-error: nor the other way round.
  Service.make(PiCalculator, { ...calculator, calc: () => Stream.succeed({ value: 3 }) })
  // @ts-expect-error: nor is a request a stream of them.
  Service.make(PiCalculator, { ...calculator, summarize: ({ n }: { n: number }) => Effect.succeed({ count: n }) })

  const needy = Service.make(PiCalculator, {
    ...calculator,
    calc: () => Effect.map(Factor, (value) => ({ value })),
    calcRange: () => Stream.fromEffect(Effect.map(Offset, (n) => ({ n }))),
  })
  const ran = Effect.scoped(serve(needy))
  // @ts-expect-error: it needs Factor and Offset,
  Effect.runFork(ran)
  // @ts-expect-error: both of them,
  Effect.runFork(Effect.provideService(ran, Factor, 1))
  // and nothing more.
  Effect.runFork(ran.pipe(Effect.provideService(Factor, 1), Effect.provideService(Offset, 1)))
  const exact: Service.Service<typeof PiCalculator, Factor | Offset> = needy
  const nothing: Service.Service<typeof PiCalculator> = pi
  const failing = Service.partial(PiCalculator, {
    calc: () => Effect.fail(new RpcError({ code: "aborted", message: "" })),
  })
  return [exact, nothing, failing]
}
