import assert from "node:assert/strict"
import { describe } from "node:test"
import { create, isMessage } from "@bufbuild/protobuf"
import { Context, Effect, Option, Stream } from "effect"
import { intercept } from "../../src/core/layers/intercept.ts"
import { type Channel, fromConnector, inMemory } from "../../src/core/rpc/channel.ts"
import { always } from "../../src/core/rpc/connectivity.ts"
import { RpcError } from "../../src/core/rpc/error.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator, PiPointSchema, PiRequestSchema } from "../../src/transport/gen/pi_pb.ts"
import { test } from "../effect.ts"
import { pi } from "./support.ts"

class Start extends Context.Service<Start, number>()("Start") {}

/** A channel that keeps what is sent, and answers with these messages. */
const answering = (...answers: ReadonlyArray<unknown>) => {
  const sent: Array<unknown> = []
  const channel: Channel = fromConnector({
    connectivity: always("ready"),
    unary: (_call, request) => Effect.sync(() => answers[sent.push(request) - 1]),
    stream: (_call, requests) =>
      Stream.concat(
        Stream.drain(Stream.tap(requests, (request) => Effect.sync(() => sent.push(request)))),
        Stream.fromIterable(answers),
      ),
  })
  return { sent, channel }
}

describe("a client", () => {
  test("has one function a method, by its name in lower camel case", () =>
    Effect.gen(function* () {
      const client = Client.make(PiCalculator, yield* inMemory(pi))
      assert.deepEqual(Object.keys(client), ["calc", "calcStream", "calcRange", "summarize", "report"])
    }))

  test("sends nothing before a call runs, and calls anew each time it does", () =>
    Effect.gen(function* () {
      let calls = 0
      const counted = intercept((call, next) =>
        Effect.suspend(() => {
          calls++
          return next(call)
        }),
      )
      const client = Client.make(PiCalculator, (yield* inMemory(pi)).pipe(counted))
      const all: ReadonlyArray<Effect.Effect<unknown, RpcError>> = [
        client.calc({ n: 1 }),
        client.summarize(Stream.make({ n: 1 })),
        Stream.runDrain(client.calcRange({ first: 1, last: 3 })),
        Stream.runDrain(client.calcStream(Stream.make({ n: 1 }))),
      ]
      assert.equal(calls, 0)
      for (const [index, call] of all.entries()) {
        yield* call
        yield* call
        assert.equal(calls, 2 * (index + 1))
      }
    }))

  test("makes whole messages of its requests", () =>
    Effect.gen(function* () {
      const { sent, channel } = answering(create(PiPointSchema, { n: 5 }))
      const client = Client.make(PiCalculator, channel)
      yield* client.calc({ n: 1 })
      yield* client.summarize(Stream.make({ n: 2 }, {}))
      yield* Stream.runDrain(client.calcStream(Stream.make({ n: 3 })))
      assert.ok(sent.every((request) => isMessage(request, PiRequestSchema)))
      assert.deepEqual(
        sent.map((request) => isMessage(request, PiRequestSchema) && request.n),
        [1, 2, 0, 3],
      )
    }))

  test("fails where one answer is due and none comes, or more than one", () =>
    Effect.gen(function* () {
      for (const [answers, said] of [
        [[], "none"],
        [[{}, {}], "more"],
      ] as const) {
        const client = Client.make(PiCalculator, answering(...answers).channel)
        const { code, message } = yield* Effect.flip(client.summarize(Stream.empty))
        assert.deepEqual(
          [code, message],
          ["unimplemented", `/pi.PiCalculator/Summarize must have one message here, and has ${said}`],
        )
      }
    }))

  test("takes what its streams of requests need from where the call runs", () =>
    Effect.gen(function* () {
      const client = Client.make(PiCalculator, yield* inMemory(pi))
      const requests = Stream.fromEffect(Effect.map(Start, (n) => ({ n })))
      const call = Stream.runHead(client.calcStream(requests))
      const point = yield* Effect.provideService(call, Start, 7)
      assert.equal(Option.getOrThrow(point).n, 7)
      assert.equal((yield* Effect.provideService(client.summarize(requests), Start, 7)).count, 1)
    }))
})

// What follows is for the compiler, and never runs: each line that must not compile says so.
export const _types = (channel: Channel) => {
  const client = Client.make(PiCalculator, channel)

  // @ts-expect-error: there is no such method.
  client.clac({ n: 1 })
  // @ts-expect-error: a request has no such field,
  client.calc({ m: 1 })
  // @ts-expect-error: and that field is a number.
  client.calc({ n: "1" })
  // @ts-expect-error: a stream of requests is not one of them,
  client.summarize({ n: 1 })
  // @ts-expect-error: nor the other way round.
  client.calc(Stream.make({ n: 1 }))
  // @ts-expect-error: requests fail with an RpcError and nothing else.
  client.summarize(Stream.fail(new Error("no")))

  const call: Effect.Effect<{ readonly value: number }, RpcError> = client.calc({ n: 1 })
  const stream: Stream.Stream<{ readonly n: number }, RpcError> = client.calcRange({ first: 1 })
  const needy = client.summarize(Stream.fromEffect(Effect.map(Start, (n) => ({ n }))))
  // @ts-expect-error: what the requests need, the call needs.
  Effect.runFork(needy)
  return [call, stream, Effect.provideService(needy, Start, 1), new RpcError({ code: "aborted", message: "" })]
}
