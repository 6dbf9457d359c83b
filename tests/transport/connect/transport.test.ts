import assert from "node:assert/strict"
import { describe } from "node:test"
import { type Client, Code, ConnectError, createClient } from "@connectrpc/connect"
import { Deferred, Effect, Fiber, Scope, Stream } from "effect"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { metadata } from "../../../src/core/layers/metadata.ts"
import { piClosedForm } from "../../../src/core/pi/series.ts"
import { Call, sendHeader, sendTrailer } from "../../../src/core/rpc/call.ts"
import { badRequest } from "../../../src/core/rpc/details.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import { connect, protocols } from "../../../src/transport/channel.ts"
import { createTransport, toTransport } from "../../../src/transport/connect/transport.ts"
import { BadRequestSchema } from "../../../src/transport/gen/google/rpc/error_details_pb.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { ownScope, pi, start } from "../support.ts"

const collect = async <A>(all: AsyncIterable<A>): Promise<ReadonlyArray<A>> => {
  const got: Array<A> = []
  for await (const one of all) got.push(one)
  return got
}

async function* requests(...numbers: ReadonlyArray<number>) {
  for (const n of numbers) yield { n }
}

async function* one() {
  yield {}
}

const thrown = (run: () => Promise<unknown>) =>
  Effect.promise(async () => {
    try {
      await run()
    } catch (error) {
      assert.ok(error instanceof ConnectError, String(error))
      return error
    }
    return assert.fail("it went well")
  })

const clientTo = (url: string) =>
  Effect.map(connect(url), (channel) => createClient(PiCalculator, toTransport(channel)))

const partial = (programs: Parameters<typeof Service.partial<typeof PiCalculator, object>>[1]) =>
  Service.partial(PiCalculator, programs)

for (const protocol of protocols) {
  test(`a client of Connect-ES makes all four kinds of calls on a channel (${protocol})`, () =>
    Effect.gen(function* () {
      const { url } = yield* start(pi)
      const client = createClient(PiCalculator, toTransport(yield* connect(url, { protocol })))
      yield* Effect.promise(async () => {
        assert.equal((await client.calc({ n: 999 })).value, piClosedForm(999))
        const range = await collect(client.calcRange({ first: 1, last: 3 }))
        assert.deepEqual(
          range.map(({ n }) => n),
          [1, 2, 3],
        )
        const streamed = await collect(client.calcStream(requests(3, 1)))
        assert.deepEqual(
          streamed.map(({ n, value }) => [n, value]),
          [
            [3, piClosedForm(3)],
            [1, piClosedForm(1)],
          ],
        )
        assert.equal((await client.summarize(requests(1, 2, 3))).count, 3)
      })
    }))
}

describe("a transport of a channel", () => {
  test("carries headers and trailers both ways, and the channel's layers are around its calls", () =>
    Effect.gen(function* () {
      const told = Effect.gen(function* () {
        const { metadata } = yield* Call
        yield* sendHeader({
          "x-asked": Metadata.getText(metadata, "x-ask") ?? "",
          "x-by": `${Metadata.get(metadata, "x-layer")}`,
        })
        yield* sendTrailer({ "x-last-bin": new Uint8Array([1, 2]) })
      })
      const service = partial({
        calc: () => Effect.as(told, { value: 1 }),
        calcRange: () => Stream.fromEffect(Effect.as(told, { n: 1, value: 1 })),
      })
      const { url } = yield* start(service)
      const channel = (yield* connect(url)).pipe(metadata({ "x-layer": "ours" }))
      const client = createClient(PiCalculator, toTransport(channel))
      const calls: ReadonlyArray<(options: Parameters<Client<typeof PiCalculator>["calc"]>[1]) => Promise<unknown>> = [
        (options) => client.calc({}, options),
        (options) => collect(client.calcRange({}, options)),
      ]
      for (const call of calls) {
        const seen: Array<string | null> = []
        yield* Effect.promise(() =>
          call({
            headers: { "x-ask": "yes" },
            onHeader: (headers) => seen.push(headers.get("x-asked"), headers.get("x-by")),
            onTrailer: (trailers) => seen.push(trailers.get("x-last-bin")),
          }),
        )
        assert.deepEqual(seen, ["yes", "ours", "AQI"])
      }
    }))

  test("throws what calls fail with: code, message, details, and all metadata", () =>
    Effect.gen(function* () {
      const refusal = new RpcError({
        code: "aborted",
        message: "not today",
        details: [badRequest([{ field: "n", description: "odd" }])],
        metadata: Metadata.of({ "x-why": "mood" }),
      })
      const fails = Effect.andThen(sendHeader({ "x-head": "1" }), Effect.fail(refusal))
      const { url } = yield* start(partial({ calc: () => fails, calcRange: () => Stream.fromEffect(fails) }))
      const client = yield* clientTo(url)
      for (const call of [() => client.calc({}), () => collect(client.calcRange({}))]) {
        const error = yield* thrown(call)
        assert.deepEqual([error.code, error.rawMessage], [Code.Aborted, "not today"])
        assert.deepEqual([error.metadata.get("x-why"), error.metadata.get("x-head")], ["mood", "1"])
        assert.equal(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field, "n")
      }
    }))

  test("ends calls at their timeout, at the channel's deadline, and when they are aborted", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const never = Deferred.succeed(begun, undefined).pipe(
        Effect.andThen(Effect.never),
        Effect.onInterrupt(() => Deferred.succeed(ended, undefined)),
      )
      const { url } = yield* start(
        partial({
          calc: () => Effect.never,
          calcRange: () => Stream.never,
          calcStream: () => Stream.fromEffect(never),
        }),
      )
      const channel = yield* connect(url)
      const client = createClient(PiCalculator, toTransport(channel))
      const timeoutMs = 50
      for (const call of [() => client.calc({}, { timeoutMs }), () => collect(client.calcRange({}, { timeoutMs }))]) {
        assert.equal((yield* thrown(call)).code, Code.DeadlineExceeded)
      }
      const hurried = createClient(PiCalculator, toTransport(channel.pipe(deadline("50 millis"))))
      assert.equal((yield* thrown(() => hurried.calc({}))).code, Code.DeadlineExceeded)
      const controller = new AbortController()
      const running = yield* Effect.forkChild(
        thrown(() => collect(client.calcStream(requests(1), { signal: controller.signal }))),
      )
      yield* Deferred.await(begun)
      controller.abort()
      assert.equal((yield* Fiber.join(running)).code, Code.Canceled)
      yield* Deferred.await(ended)
    }))

  test("whose stream is left early ends the call", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      const endless = Stream.ensuring(
        Stream.map(
          Stream.iterate(1, (n) => n + 1),
          (n) => ({ n, value: 0 }),
        ),
        Deferred.succeed(ended, undefined),
      )
      const { url } = yield* start(partial({ calcRange: () => endless }))
      const transport = toTransport(yield* connect(url))
      // Not by a client of Connect-ES, which doesn't say that its loop was left.
      yield* Effect.promise(async () => {
        const call = transport.stream(PiCalculator.method.calcRange, undefined, undefined, undefined, one())
        for await (const { n } of (await call).message) if (n === 3) break
      })
      yield* Deferred.await(ended)
    }))

  test("of an address is for programs that aren't Effects, and is closed by hand", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const { url } = yield* Scope.provide(start(pi), scope)
      const transport = createTransport(url, {}, deadline("5 seconds"))
      const client = createClient(PiCalculator, transport)
      assert.equal((yield* Effect.promise(() => client.calc({ n: 999 }))).value, piClosedForm(999))
      yield* Effect.promise(() => transport.close())
      assert.equal((yield* thrown(() => client.calc({ n: 1 }))).code, Code.Canceled)
      assert.throws(() => createTransport("nowhere"), /is not an address/)
    }))
})
