import assert from "node:assert/strict"
import { describe } from "node:test"
import { Code, ConnectError, type ConnectRouter, createClient, createRouterTransport } from "@connectrpc/connect"
import { Context, Deferred, Effect, Stream } from "effect"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { piClosedForm } from "../../../src/core/pi/series.ts"
import { Call, sendHeader, sendTrailer } from "../../../src/core/rpc/call.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import type { Service as AnyService } from "../../../src/core/rpc/service.ts"
import { register } from "../../../src/transport/connect/routes.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { calculator, pi, withLog } from "../support.ts"

/** Connect-ES's own client onto a service, without a socket between them. */
const clientOf = <R>(service: AnyService<typeof PiCalculator, R>) =>
  Effect.map(Effect.context<Exclude<R, Call>>(), (context) =>
    createClient(
      PiCalculator,
      createRouterTransport((router: ConnectRouter) => register(router, service, context)),
    ),
  )

const thrown = (run: () => Promise<unknown>): Effect.Effect<ConnectError> =>
  Effect.promise(() =>
    run().then(
      () => assert.fail("it succeeded"),
      (reason) => ConnectError.from(reason),
    ),
  )

describe("a service as routes", () => {
  test("answers by its programs, each kind of method", () =>
    Effect.gen(function* () {
      const client = yield* clientOf(pi)
      const numbers = async function* () {
        yield { n: 1 }
        yield { n: 2 }
      }
      yield* Effect.promise(async () => {
        assert.equal((await client.calc({ n: 999 })).value, piClosedForm(999))
        assert.deepEqual(
          (await Array.fromAsync(client.calcRange({ first: 3, last: 5 }))).map(({ n }) => n),
          [3, 4, 5],
        )
        assert.deepEqual(
          (await Array.fromAsync(client.calcStream(numbers()))).map(({ n }) => n),
          [1, 2],
        )
        assert.equal((await client.summarize(numbers())).count, 2)
      })
    }))

  test("answers unimplemented where a method has no program", () =>
    Effect.gen(function* () {
      const client = yield* clientOf(Service.partial(PiCalculator, { calc: calculator.calc }))
      const error = yield* thrown(() => client.report({}))
      assert.equal(error.code, Code.Unimplemented)
    }))

  test("gives its programs what they need, and the call with metadata, method and deadline", () =>
    Effect.gen(function* () {
      class Answer extends Context.Service<Answer, number>()("Answer") {}
      const service = Service.partial(PiCalculator, {
        calc: () =>
          Effect.gen(function* () {
            const call = yield* Call
            assert.equal(Metadata.get(call.metadata, "x-asked"), "yes")
            assert.deepEqual([call.method.service, call.method.name], ["pi.PiCalculator", "Calc"])
            assert.equal(call.method.idempotency, "no_side_effects")
            assert.equal(call.peer.address, undefined)
            const left = yield* Deadline.remaining(call.deadline ?? 0)
            assert.ok(0 < left && left <= 60_000, `${left}`)
            return { value: yield* Answer }
          }),
      })
      const client = yield* Effect.provideService(clientOf(service), Answer, 42)
      const answer = yield* Effect.promise(() =>
        client.calc({ n: 1 }, { headers: { "x-asked": "yes" }, timeoutMs: 60_000 }),
      )
      assert.equal(answer.value, 42)
    }))

  test("runs its layers around a stream until the last message was taken", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const note = (what: string) => Effect.sync(() => void order.push(what))
      const client = yield* clientOf(
        pi.pipe(intercept((call, next) => Effect.ensuring(Effect.andThen(note("begin"), next(call)), note("end")))),
      )
      yield* Effect.promise(async () => {
        // More than are taken at once.
        for await (const { n } of client.calcRange({ first: 1, last: 2000 })) {
          if (n === 1) assert.deepEqual(order, ["begin"])
        }
      })
      assert.deepEqual(order, ["begin", "end"])
    }))

  test("sends metadata with an answer, with an error, and with a stream that fails after a message", () =>
    Effect.gen(function* () {
      const send = Effect.andThen(sendHeader({ "x-h": "1" }), sendTrailer({ "x-t": "2" }))
      const fails = Effect.fail(new RpcError({ code: "aborted", message: "no", metadata: Metadata.of({ "x-e": "3" }) }))
      const client = yield* clientOf(
        Service.partial(PiCalculator, {
          calc: ({ n }) => Effect.andThen(send, n === 1 ? Effect.succeed({}) : fails),
          calcRange: () => Stream.concat(Stream.fromEffect(Effect.as(send, { n: 1 })), Stream.fromEffect(fails)),
        }),
      )
      const got = new Map<string, string | null>()
      const options = {
        onHeader: (headers: Headers) => got.set("x-h", headers.get("x-h")),
        onTrailer: (headers: Headers) => got.set("x-t", headers.get("x-t")),
      }
      yield* Effect.promise(() => client.calc({ n: 1 }, options))
      assert.deepEqual(Object.fromEntries(got), { "x-h": "1", "x-t": "2" })
      const unary = yield* thrown(() => client.calc({ n: 2 }))
      const streamed = yield* thrown(() => Array.fromAsync(client.calcRange({})))
      for (const { code, metadata } of [unary, streamed]) {
        assert.deepEqual(
          [code, metadata.get("x-h"), metadata.get("x-t"), metadata.get("x-e")],
          [Code.Aborted, "1", "2", "3"],
        )
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
      const cancel = new AbortController()
      const error = yield* Effect.all(
        [
          thrown(() => client.calc({ n: 1 }, { signal: cancel.signal })),
          Effect.andThen(
            Deferred.await(begun),
            Effect.sync(() => cancel.abort()),
          ),
          Deferred.await(ended),
        ],
        { concurrency: "unbounded" },
      )
      assert.equal(error[0].code, Code.Canceled)
    }))

  test("answers cancelled when a program interrupts itself", () =>
    Effect.gen(function* () {
      const client = yield* clientOf(
        Service.partial(PiCalculator, {
          calc: () => Effect.interrupt,
          calcRange: () => Stream.fromEffect(Effect.interrupt),
        }),
      )
      assert.equal((yield* thrown(() => client.calc({}))).code, Code.Canceled)
      assert.equal((yield* thrown(() => Array.fromAsync(client.calcRange({})))).code, Code.Canceled)
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
        const none = async function* () {}
        const calls = [
          () => client.calc({}),
          () => client.report({}),
          () => Array.fromAsync(client.calcRange({})),
          () => Array.fromAsync(client.calcStream(none())),
          () => client.summarize(none()),
        ]
        for (const [index, call] of calls.entries()) {
          const { code, rawMessage, details } = yield* thrown(call)
          assert.deepEqual([code, rawMessage, details], [Code.Internal, "internal error", []])
          assert.match(lines[index] ?? "", /PiCalculator\/\w+ died.*secret/s)
        }
      }),
    ))

  test("logs an error that can't be sent, and tells the caller no more than that", () =>
    withLog((lines) =>
      Effect.gen(function* () {
        const unsendable = new RpcError({ code: "aborted", message: "m", details: [{ type: "x.Y", value: { a: 1 } }] })
        const client = yield* clientOf(
          Service.partial(PiCalculator, {
            calc: () => Effect.fail(unsendable),
            calcRange: () => Stream.fail(unsendable),
          }),
        )
        for (const call of [() => client.calc({}), () => Array.fromAsync(client.calcRange({}))]) {
          const error = yield* thrown(call)
          assert.deepEqual([error.code, error.rawMessage], [Code.Internal, "internal error"])
          assert.match(lines.pop() ?? "", /the detail x\.Y is no message/)
        }
      }),
    ))
})
