import assert from "node:assert/strict"
import { describe } from "node:test"
import { Context, Deferred, Effect, Fiber, Stream } from "effect"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { piClosedForm } from "../../../src/core/pi/series.ts"
import { Call, sendHeader, sendTrailer } from "../../../src/core/rpc/call.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import type { Service as AnyService } from "../../../src/core/rpc/service.ts"
import { toFetch } from "../../../src/transport/fetch.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { calculator, dial, http1, http2Requests, pi, start, watch, withLog } from "../support.ts"

for (const protocol of ["connect", "grpc-web"] as const) {
  /** A client of a service that is served for it. */
  const clientOf = <R>(service: AnyService<typeof PiCalculator, R>, ...more: [layer?: Parameters<typeof dial>[2]]) =>
    Effect.flatMap(start(service), (server) => dial(server, { protocol }, ...more))

  describe(`a service that is served over ${protocol}`, () => {
    test("answers by its programs, each kind of method", () =>
      Effect.gen(function* () {
        const client = yield* clientOf(pi)
        const numbers = Stream.make({ n: 1 }, { n: 2 })
        assert.equal((yield* client.calc({ n: 999 })).value, piClosedForm(999))
        const range = yield* Stream.runCollect(client.calcRange({ first: 3, last: 5 }))
        assert.deepEqual(
          range.map(({ n }) => n),
          [3, 4, 5],
        )
        const each = yield* Stream.runCollect(client.calcStream(numbers))
        assert.deepEqual(
          each.map(({ n }) => n),
          [1, 2],
        )
        assert.equal((yield* client.summarize(numbers)).count, 2)
      }))

    test("answers unimplemented where a method has no program", () =>
      Effect.gen(function* () {
        const client = yield* clientOf(Service.partial(PiCalculator, { calc: calculator.calc }))
        const calls = [client.report({}), client.summarize(Stream.never), Stream.runDrain(client.calcRange({}))]
        for (const call of calls) assert.equal((yield* Effect.flip(call)).code, "unimplemented")
      }))

    test("gives its programs what they need, and the call with metadata and method", () =>
      Effect.gen(function* () {
        class Answer extends Context.Service<Answer, number>()("Answer") {}
        const service = Service.partial(PiCalculator, {
          calc: () =>
            Effect.gen(function* () {
              const call = yield* Call
              assert.deepEqual(Metadata.getAll(call.metadata, "x-asked"), ["yes"])
              assert.deepEqual(Metadata.getAll(call.metadata, "x-some-bin"), [new Uint8Array([1, 2])])
              assert.deepEqual([call.method.service, call.method.name], ["pi.PiCalculator", "Calc"])
              assert.equal(call.method.idempotency, "no_side_effects")
              assert.ok(call.deadline !== undefined)
              return { value: yield* Answer }
            }),
        })
        const asked = Metadata.of({ "x-asked": "yes", "x-some-bin": new Uint8Array([1, 2]) })
        const ask = intercept((call, next) => next({ ...call, metadata: asked, deadline: (call.deadline ?? 0) + 1e12 }))
        const client = yield* Effect.provideService(clientOf(service, ask), Answer, 42)
        assert.equal((yield* client.calc({ n: 1 })).value, 42)
      }))

    test("runs its layers around a stream until the last message was taken", () =>
      Effect.gen(function* () {
        const order: Array<string> = []
        const note = (what: string) => Effect.sync(() => void order.push(what))
        const ended = yield* Deferred.make<void>()
        const around = intercept((call, next) =>
          Effect.andThen(note("begin"), next(call)).pipe(
            Effect.ensuring(Effect.andThen(note("end"), Deferred.succeed(ended, undefined))),
          ),
        )
        const first = yield* Deferred.make<void>()
        const calcRange = () =>
          Stream.concat(Stream.make({ n: 1 }), Stream.fromEffect(Effect.as(Deferred.await(first), { n: 2 })))
        const client = yield* clientOf(Service.partial(PiCalculator, { calcRange }).pipe(around))
        yield* Stream.runForEach(client.calcRange({}), ({ n }) =>
          Effect.suspend(() => {
            if (n === 1) assert.deepEqual(order, ["begin"])
            return Deferred.succeed(first, undefined)
          }),
        )
        yield* Deferred.await(ended)
        assert.deepEqual(order, ["begin", "end"])
      }))

    test("sends metadata with an answer, with an error, and with a stream that fails after a message", () =>
      Effect.gen(function* () {
        const send = Effect.andThen(sendHeader({ "x-h": "1" }), sendTrailer({ "x-t": "2" }))
        const fails = Effect.fail(
          new RpcError({ code: "aborted", message: "no", metadata: Metadata.of({ "x-e": "3" }) }),
        )
        const { seen, layer } = watch()
        const client = yield* clientOf(
          Service.partial(PiCalculator, {
            calc: ({ n }) => Effect.andThen(send, n === 1 ? Effect.succeed({}) : fails),
            calcRange: () => Stream.concat(Stream.fromEffect(Effect.as(send, { n: 1 })), Stream.fromEffect(fails)),
          }),
          layer,
        )
        yield* client.calc({ n: 1 })
        const { header = [], trailer = [] } = seen.call?.response ?? {}
        assert.deepEqual([Metadata.get(header, "x-h"), Metadata.get(trailer, "x-t")], ["1", "2"])
        const unary = yield* Effect.flip(client.calc({ n: 2 }))
        const streamed = yield* Effect.flip(Stream.runDrain(client.calcRange({})))
        for (const { code, metadata, header } of [unary, streamed]) {
          const all = [...header, ...metadata]
          const got = ["x-h", "x-t", "x-e"].map((key) => Metadata.get(all, key))
          assert.deepEqual([code, ...got], ["aborted", "1", "2", "3"])
        }
      }))

    test("interrupts the program of a call that is cancelled", () =>
      Effect.gen(function* () {
        const begun = yield* Deferred.make<void>()
        const ended = yield* Deferred.make<void>()
        const waits = Effect.ensuring(
          Effect.andThen(Deferred.succeed(begun, undefined), Effect.never),
          Deferred.succeed(ended, undefined),
        )
        const client = yield* clientOf(Service.partial(PiCalculator, { calc: () => waits }))
        const call = yield* Effect.forkChild(client.calc({ n: 1 }))
        yield* Deferred.await(begun)
        yield* Fiber.interrupt(call)
        yield* Deferred.await(ended)
      }))

    test("answers cancelled when a program interrupts itself", () =>
      Effect.gen(function* () {
        const client = yield* clientOf(
          Service.partial(PiCalculator, {
            calc: () => Effect.interrupt,
            calcRange: () => Stream.fromEffect(Effect.interrupt),
          }),
        )
        assert.equal((yield* Effect.flip(client.calc({}))).code, "cancelled")
        assert.equal((yield* Effect.flip(Stream.runDrain(client.calcRange({})))).code, "cancelled")
      }))

    test("logs what died, however it did, and tells the caller no more than that", () =>
      withLog((lines) =>
        Effect.gen(function* () {
          const secret = new Error("secret")
          const refuse = () => {
            throw secret
          }
          const client = yield* clientOf(
            Service.make(PiCalculator, {
              calc: () => Effect.die(secret),
              report: (): Effect.Effect<object> => refuse(),
              calcRange: () => Stream.concat(Stream.succeed({ n: 1 }), Stream.die(secret)),
              calcStream: (): Stream.Stream<object> => refuse(),
              summarize: () => Effect.sync(refuse),
            }),
          )
          const calls: ReadonlyArray<Effect.Effect<unknown, RpcError>> = [
            client.calc({}),
            client.report({}),
            Stream.runDrain(client.calcRange({})),
            Stream.runDrain(client.calcStream(Stream.empty)),
            client.summarize(Stream.empty),
          ]
          for (const [index, call] of calls.entries()) {
            const { code, message, details } = yield* Effect.flip(call)
            assert.deepEqual([code, message, details], ["internal", "internal error", []])
            assert.match(lines[index] ?? "", /PiCalculator\/\w+ died.*secret/s)
          }
        }),
      ))

    test("logs an error that can't be sent, and tells the caller no more than that", () =>
      withLog((lines) =>
        Effect.gen(function* () {
          const detail = { type: "x.Y", value: { a: 1 } }
          const unsendable = new RpcError({ code: "aborted", message: "m", details: [detail] })
          const client = yield* clientOf(
            Service.partial(PiCalculator, {
              calc: () => Effect.fail(unsendable),
              calcRange: () => Stream.fail(unsendable),
            }),
          )
          for (const call of [client.calc({}), Stream.runDrain(client.calcRange({}))]) {
            const error = yield* Effect.flip(call)
            assert.deepEqual([error.code, error.message], ["internal", "internal error"])
            assert.match(lines.pop() ?? "", /the detail x\.Y is no message/)
          }
        }),
      ))

    test("tells no client the value that can't be encoded: the log says what was wrong", () =>
      withLog((lines) =>
        Effect.gen(function* () {
          // What only a program without types can do.
          const odd = { n: "hunter2" } as unknown as { n: number }
          const client = yield* clientOf(Service.partial(PiCalculator, { calcRange: () => Stream.make({ n: 1 }, odd) }))
          const error = yield* Effect.flip(Stream.runDrain(client.calcRange({})))
          assert.deepEqual([error.code, error.message], ["internal", "internal error"])
          assert.match(lines.join(), /CalcRange died.*PiPoint\.n/s)
        }),
      ))

    test("sends an error whose text has half a character: the whole of it is well formed", () =>
      Effect.gen(function* () {
        const error = new RpcError({ code: "aborted", message: "half \ud800!" })
        const client = yield* clientOf(
          Service.partial(PiCalculator, { calc: () => Effect.fail(error), calcRange: () => Stream.fail(error) }),
        )
        for (const call of [client.calc({}), Stream.runDrain(client.calcRange({}))]) {
          const { code, message } = yield* Effect.flip(call)
          assert.deepEqual([code, message], ["aborted", "half \ufffd!"])
        }
      }))
  })
}

const text = { "content-type": "text/plain" }

const refused = [
  [
    text,
    415,
    /^a call of this method has the content-type application\/json or application\/proto, or one of gRPC's\n$/,
  ],
  [{ ...text, ":path": "/pi.PiCalculator/CalcRange" }, 415, /application\/connect\+json .* envelope/],
  [{ "content-type": "application/json", ":method": "PUT" }, 405, /^a call of this method is a POST or a GET\n$/],
] as const

describe("a request that no call comes of", () => {
  for (const [http, open] of [
    ["HTTP/1.1", http1],
    ["HTTP/2", http2Requests],
  ] as const) {
    test(`is told over ${http} what would be taken`, () =>
      Effect.gen(function* () {
        const request = yield* open(yield* start(pi))
        for (const [headers, status, says] of refused) {
          const answer = yield* request(headers, "{}")
          assert.equal(answer.status, status)
          assert.match(`${answer.body}`, says)
          assert.equal(answer.headers.allow, status === 405 ? "POST, GET" : undefined)
        }
      }))
  }

  test("is told so at the edge", () =>
    Effect.gen(function* () {
      const handle = yield* toFetch(pi)
      const request = new Request("http://pi.example/pi.PiCalculator/Calc", { method: "POST", body: "{}" })
      const answer = yield* Effect.promise(() => handle(request))
      assert.equal(answer.status, 415)
      assert.match(yield* Effect.promise(() => answer.text()), /has the content-type application\/json/)
    }))
})
