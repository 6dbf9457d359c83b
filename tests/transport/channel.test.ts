import assert from "node:assert/strict"
import * as http from "node:http"
import { describe } from "node:test"
import { create } from "@bufbuild/protobuf"
import { Deferred, Effect, Exit, Fiber, Queue, Scope, Stream } from "effect"
import { deadline } from "../../src/core/layers/deadline.ts"
import { metadata } from "../../src/core/layers/metadata.ts"
import { piClosedForm } from "../../src/core/pi/series.ts"
import { Call, type CallInfo, sendHeader, sendTrailer } from "../../src/core/rpc/call.ts"
import * as Deadline from "../../src/core/rpc/deadline.ts"
import { badRequest, errorInfo, retryInfo } from "../../src/core/rpc/details.ts"
import { RpcError } from "../../src/core/rpc/error.ts"
import * as Metadata from "../../src/core/rpc/metadata.ts"
import { AddressError, connect, protocols } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator, PiPointSchema, PiRequestSchema } from "../../src/transport/gen/pi_pb.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { between, calculator, dial, ownScope, padded, pi, start, watch, withLog } from "./support.ts"

const numbers = (...ns: ReadonlyArray<number>) => Stream.map(Stream.fromIterable(ns), (n) => ({ n }))

/** Requests of which the last is never sent: the call stays open. */
const openEnded = (...ns: ReadonlyArray<number>) => Stream.concat(numbers(...ns), Stream.never)

const serviceOf = (programs: Partial<Service.Programs<typeof PiCalculator, Call>>) =>
  Service.make(PiCalculator, { ...calculator, ...programs })

const send = Effect.andThen(
  sendHeader([
    ["x-head", "of the answer"],
    ["x-head-bin", new Uint8Array([0, 255])],
    ["x-head-bin", new Uint8Array([1])],
  ]),
  sendTrailer({ "x-tail": "after it", "x-tail-bin": new Uint8Array([2]) }),
)
const headBytes = [new Uint8Array([0, 255]), new Uint8Array([1])]

const refusal = new RpcError({
  code: "failed_precondition",
  message: "ünïcødé, 100% — and a\nline",
  details: [
    badRequest([{ field: "n", description: "too high", reason: "HIGH" }]),
    errorInfo({ reason: "R", domain: "d", metadata: { k: "v" } }),
    retryInfo("3 seconds"),
    { type: "pi.PiPoint", value: { n: 7, value: 0.5 } },
    { type: "elsewhere.Unknown", value: new Uint8Array([1, 2, 3]) },
  ],
  metadata: Metadata.of({ "x-error": "yes", "x-error-bin": new Uint8Array([9]) }),
  cause: new Error("secret"),
})

/** Runs a program forever, and tells when it began and when it was ended. */
const endless = Effect.gen(function* () {
  const begun = yield* Deferred.make<CallInfo>()
  const ended = yield* Deferred.make<void>()
  const never = Effect.ensuring(
    Effect.andThen(
      Effect.flatMap(Call, (call) => Deferred.succeed(begun, call)),
      Effect.never,
    ),
    Deferred.succeed(ended, undefined),
  )
  return { begun: Deferred.await(begun), ended: Deferred.await(ended), never }
})

for (const protocol of protocols) {
  describe(`over ${protocol}`, () => {
    test("each kind of method gives its answers", () =>
      Effect.gen(function* () {
        const client = yield* dial(yield* start(pi), { protocol })
        assert.equal((yield* client.calc({ n: 999 })).value, piClosedForm(999))
        const range = yield* Stream.runCollect(client.calcRange({ first: 3, last: 5 }))
        assert.deepEqual(
          range.map(({ n, value }) => [n, value]),
          [3, 4, 5].map((n) => [n, piClosedForm(n)]),
        )
        const points = yield* Stream.runCollect(client.calcStream(numbers(7, 1, 7)))
        assert.deepEqual(
          points.map(({ n }) => n),
          [7, 1, 7],
        )
        const { count, min, max } = yield* client.summarize(numbers(2, 1, 3))
        assert.deepEqual([count, min, max], [3, piClosedForm(1), piClosedForm(3)])
        assert.deepEqual({ ...(yield* client.report({ text: "hello" })) }, { $typeName: "google.protobuf.Empty" })
      }))

    test("empty streams are streams too", () =>
      Effect.gen(function* () {
        const client = yield* dial(yield* start(serviceOf({ calcRange: () => Stream.empty })), { protocol })
        assert.deepEqual(yield* Stream.runCollect(client.calcStream(Stream.empty)), [])
        assert.deepEqual(yield* Stream.runCollect(client.calcRange({})), [])
        assert.equal((yield* client.summarize(Stream.empty)).count, 0)
      }))

    test("a request may wait for the answer to the one before", () =>
      Effect.gen(function* () {
        const client = yield* dial(yield* start(pi), { protocol })
        const asked = yield* Queue.make<{ readonly n: number }>()
        yield* Queue.offer(asked, { n: 1 })
        const points = yield* client.calcStream(Stream.fromQueue(asked)).pipe(
          Stream.tap(({ n }) => Queue.offer(asked, { n: n + 1 })),
          Stream.take(20),
          Stream.runCollect,
        )
        assert.deepEqual(
          points.map(({ n }) => n),
          Array.from({ length: 20 }, (_, index) => index + 1),
        )
      }))

    test("programs see the metadata that the client sends, and who it is", () =>
      Effect.gen(function* () {
        const seen: Array<CallInfo> = []
        const look = Effect.flatMap(Call, (call) => Effect.sync(() => void seen.push(call)))
        const service = serviceOf({
          calc: () => Effect.as(look, {}),
          calcRange: () => Stream.fromEffect(Effect.as(look, {})),
          calcStream: () => Stream.fromEffect(Effect.as(look, {})),
          summarize: () => Effect.as(look, {}),
        })
        const sent = Metadata.of([
          ["x-one", "plain, with a comma"],
          ["x-two-bin", new Uint8Array([0, 255])],
          ["x-two-bin", new Uint8Array()],
          ["x-two-bin", new Uint8Array([7])],
        ])
        const client = yield* dial(yield* start(service), { protocol }, metadata(sent))
        yield* client.calc({})
        yield* Stream.runDrain(client.calcRange({}))
        yield* Stream.runDrain(client.calcStream(numbers(1)))
        yield* client.summarize(numbers(1))
        assert.deepEqual(
          seen.map(({ method }) => method.name),
          ["Calc", "CalcRange", "CalcStream", "Summarize"],
        )
        for (const { metadata, peer, deadline } of seen) {
          assert.deepEqual(
            metadata.filter(([key]) => sent.some(([name]) => name === key)),
            sent,
          )
          assert.match(peer.address ?? "", /^127\.0\.0\.1:\d+$/)
          assert.equal(deadline, undefined)
          assert.deepEqual(
            metadata.filter(([key]) => Metadata.isReserved(key)),
            [],
          )
        }
      }))

    test("metadata before the answer and after it reaches the client", () =>
      Effect.gen(function* () {
        const service = serviceOf({
          calc: () => Effect.as(send, {}),
          calcRange: () => Stream.concat(Stream.fromEffect(Effect.as(send, { n: 1 })), Stream.succeed({ n: 2 })),
          calcStream: () => Stream.fromEffectDrain(send),
          summarize: () => Effect.as(send, {}),
        })
        const { seen, layer } = watch()
        const client = yield* dial(yield* start(service), { protocol }, layer)
        const calls: Readonly<Record<string, Effect.Effect<unknown, RpcError>>> = {
          calc: client.calc({}),
          calcRange: Stream.runDrain(client.calcRange({})),
          calcStream: Stream.runDrain(client.calcStream(numbers(1))),
          summarize: client.summarize(numbers(1)),
        }
        for (const [name, call] of Object.entries(calls)) {
          yield* call
          const { header = [], trailer = [] } = seen.call?.response ?? {}
          assert.equal(Metadata.get(header, "x-head"), "of the answer", name)
          assert.deepEqual(Metadata.getAll(header, "x-head-bin"), headBytes, name)
          assert.deepEqual(
            trailer.filter(([key]) => !key.startsWith("x-head")),
            [
              ["x-tail", "after it"],
              ["x-tail-bin", new Uint8Array([2])],
            ],
            name,
          )
        }
      }))

    test("an error arrives whole, with all metadata that came before it, whichever kind of method failed", () =>
      Effect.gen(function* () {
        const fails = Effect.andThen(send, Effect.fail(refusal))
        const service = serviceOf({
          calc: () => fails,
          calcRange: () => Stream.fromEffect(fails),
          calcStream: () => Stream.concat(Stream.succeed({ n: 1 }), Stream.fromEffect(fails)),
          summarize: () => fails,
        })
        const client = yield* dial(yield* start(service), { protocol })
        const calls: Readonly<Record<string, Effect.Effect<unknown, RpcError>>> = {
          calc: client.calc({}),
          calcRange: Stream.runDrain(client.calcRange({})),
          calcStream: Stream.runDrain(client.calcStream(numbers(1))),
          summarize: client.summarize(numbers(1)),
        }
        for (const [name, call] of Object.entries(calls)) {
          const error = yield* Effect.flip(call)
          assert.deepEqual([error.code, error.message], [refusal.code, refusal.message], name)
          assert.equal(error.method?.toLowerCase(), `pi.picalculator/${name.toLowerCase()}`)
          assert.deepEqual(error.details, refusal.details, name)
          assert.equal(Metadata.get(error.metadata, "x-error"), "yes", name)
          assert.deepEqual(Metadata.getAll(error.metadata, "x-error-bin"), [new Uint8Array([9])], name)
          assert.equal(Metadata.get(error.metadata, "x-tail"), "after it", name)
          // What the program sends behind a stream's first message comes too late to be in front.
          const late = name === "calcStream"
          // What Connect-ES says of a call that failed at once tells nothing apart.
          const leading = [...error.header, ...error.metadata]
          assert.equal(Metadata.get(leading, "x-head"), late ? undefined : "of the answer", name)
          assert.ok(!JSON.stringify(error).includes("secret"), name)
        }
      }))

    test("answers before an error are delivered", () =>
      Effect.gen(function* () {
        const client = yield* dial(yield* start(pi), { protocol })
        const got: Array<number> = []
        const error = yield* client.calcStream(numbers(3, 1, 0, 5)).pipe(
          Stream.runForEach(({ n }) => Effect.sync(() => void got.push(n))),
          Effect.flip,
        )
        assert.deepEqual([got, error.code], [[3, 1], "invalid_argument"])
      }))

    test("a client whose own requests fail hears why, and its server's program ends", () =>
      Effect.gen(function* () {
        const ended = yield* Deferred.make<void>()
        const service = serviceOf({
          summarize: (requests) =>
            Effect.ensuring(Effect.as(Stream.runDrain(requests), {}), Deferred.succeed(ended, undefined)),
        })
        const client = yield* dial(yield* start(service), { protocol })
        const mine = new RpcError({ code: "data_loss", message: "mine" })
        assert.equal(yield* Effect.flip(client.summarize(Stream.concat(numbers(1), Stream.fail(mine)))), mine)
        yield* Deferred.await(ended)
      }))

    test("the server is told the deadline, no later than it is", () =>
      Effect.gen(function* () {
        const left: Array<number> = []
        const look = Effect.flatMap(Call, ({ deadline = 0 }) =>
          Effect.map(Deadline.remaining(deadline), (millis) => void left.push(millis)),
        )
        const service = serviceOf({
          calc: () => Effect.as(look, {}),
          calcStream: () => Stream.fromEffectDrain(look),
        })
        const client = yield* dial(yield* start(service), { protocol }, deadline("1 minute"))
        yield* client.calc({})
        yield* Stream.runDrain(client.calcStream(numbers(1)))
        assert.equal(left.length, 2)
        for (const millis of left) assert.ok(0 < millis && millis <= 60_000, `${millis}`)
      }))

    for (const kind of ["calc", "calcRange", "calcStream", "summarize"] as const) {
      const all = (never: Effect.Effect<never, never, Call>) => ({
        calc: () => never,
        calcRange: () => Stream.concat(Stream.succeed({ n: 1 }), Stream.fromEffect(never)),
        calcStream: () => Stream.fromEffect(never),
        summarize: () => never,
      })
      const callOf = (client: Client.Client<typeof PiCalculator>): Effect.Effect<unknown, RpcError> =>
        ({
          calc: client.calc({}),
          calcRange: Stream.runDrain(client.calcRange({})),
          calcStream: Stream.runDrain(client.calcStream(openEnded(1))),
          summarize: client.summarize(openEnded(1)),
        })[kind]

      test(`the deadline ends ${kind} on both sides`, () =>
        Effect.gen(function* () {
          const { ended, never } = yield* endless
          const client = yield* dial(yield* start(serviceOf(all(never))), { protocol }, deadline("100 millis"))
          assert.equal((yield* Effect.flip(callOf(client))).code, "deadline_exceeded")
          yield* ended
        }))

      test(`interrupting ${kind} interrupts its program on the server and runs its finalizers`, () =>
        Effect.gen(function* () {
          const { begun, ended, never } = yield* endless
          const client = yield* dial(yield* start(serviceOf(all(never))), { protocol })
          const fiber = yield* Effect.forkChild(callOf(client))
          yield* begun
          yield* Fiber.interrupt(fiber)
          yield* ended
        }))

      test(`a connection lost under ${kind} is unavailable, and the program ends`, () =>
        Effect.gen(function* () {
          const { begun, ended, never } = yield* endless
          const middle = yield* between(yield* start(serviceOf(all(never))))
          const client = yield* dial(middle, { protocol })
          const fiber = yield* Effect.forkChild(Effect.flip(callOf(client)))
          yield* begun
          yield* middle.cut
          assert.equal((yield* Fiber.join(fiber)).code, "unavailable")
          yield* ended
        }))
    }

    test("leaving a stream early ends the producer, and the requests of one's own", () =>
      Effect.gen(function* () {
        const ended = yield* Deferred.make<void>()
        const unbounded = Stream.ensuring(points(), Deferred.succeed(ended, undefined))
        const client = yield* dial(yield* start(serviceOf({ calcRange: () => unbounded })), { protocol })
        const taken = yield* Stream.runCollect(Stream.take(client.calcRange({}), 10))
        assert.deepEqual(
          taken.map(({ n }) => n),
          [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
        )
        yield* Deferred.await(ended)

        const requestsEnded = yield* Deferred.make<void>()
        const finalizer = Effect.andThen(
          Effect.promise(() => new Promise((resolve) => setImmediate(resolve))),
          Deferred.succeed(requestsEnded, undefined),
        )
        const requests = Stream.ensuring(openEnded(1, 2), finalizer)
        assert.equal((yield* Stream.runCollect(Stream.take(client.calcStream(requests), 2))).length, 2)
        assert.equal(yield* Deferred.isDone(requestsEnded), true)
      }))

    test("a server that makes answers without end waits for a client that doesn't read them", () =>
      Effect.gen(function* () {
        let produced = 0
        const unbounded = () => points(() => ++produced)
        const client = yield* dial(yield* start(serviceOf({ calcRange: unbounded })), { protocol })
        const stalled = yield* client.calcRange({}).pipe(
          Stream.mapEffect(() => stall(() => produced)),
          Stream.take(1),
          Stream.runCollect,
        )
        assert.ok((stalled[0] ?? 0) < maxLead, `${stalled[0]}`)
      }))

    test("a client that makes requests without end waits for a server that doesn't read them", () =>
      Effect.gen(function* () {
        let produced = 0
        const requests = Stream.map(
          points(() => ++produced),
          ({ n }) => padded(create(PiRequestSchema, { n })),
        )
        const service = serviceOf({
          summarize: (requests) =>
            Stream.runHead(requests).pipe(
              Effect.andThen(stall(() => produced)),
              Effect.map((count) => ({ count })),
            ),
        })
        const client = yield* dial(yield* start(service), { protocol })
        const { count } = yield* client.summarize(requests)
        assert.ok(0 < count && count < maxLead, `${count}`)
      }))

    test("200 calls, 50 at a time, each get the answer to their own question", () =>
      Effect.gen(function* () {
        const client = yield* dial(yield* start(pi), { protocol })
        const asked = Array.from({ length: 200 }, (_, index) => index + 1)
        const answers = yield* Effect.forEach(asked, (n) => client.calc({ n }), { concurrency: 50 })
        assert.deepEqual(
          answers.map(({ value }) => value),
          asked.map(piClosedForm),
        )
        const streams = yield* Effect.forEach(
          asked,
          (n) => Stream.runCollect(client.calcStream(numbers(n, n + 1, n + 2))),
          { concurrency: 50 },
        )
        assert.deepEqual(
          streams.map((points) => points.map(({ n }) => n)),
          asked.map((n) => [n, n + 1, n + 2]),
        )
      }))

    test("a server that stops gives the answers that it owes, and then the channel finds the next one", () =>
      Effect.gen(function* () {
        const scope = yield* ownScope
        const begun = yield* Deferred.make<void>()
        const go = yield* Deferred.make<void>()
        const held = serviceOf({
          calc: ({ n }) =>
            Effect.as(Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(go)), { value: n }),
        })
        const server = yield* Scope.provide(start(held), scope)
        const client = yield* dial(server, { protocol })
        const running = yield* Effect.forkChild(client.calc({ n: 42 }))
        yield* Deferred.await(begun)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* Effect.yieldNow
        yield* Deferred.succeed(go, undefined)
        assert.equal((yield* Fiber.join(running)).value, 42)
        yield* Fiber.join(closing)
        const refused = yield* Effect.flip(client.calc({ n: 1 }))
        assert.equal(refused.code, "unavailable")
        yield* start(pi, { port: server.port })
        assert.equal((yield* Effect.eventually(client.calc({ n: 999 }))).value, piClosedForm(999))
      }))

    test("a call that outlives the server's grace is unavailable, and its program's finalizers have run", () =>
      Effect.gen(function* () {
        const scope = yield* ownScope
        let finalized = 0
        const begun = yield* Queue.make<void>()
        const never = Effect.ensuring(
          Effect.andThen(Queue.offer(begun, undefined), Effect.never),
          Effect.sync(() => ++finalized),
        )
        const service = serviceOf({ calc: () => never, calcStream: () => Stream.fromEffect(never) })
        const server = yield* Scope.provide(start(service, { grace: "10 millis" }), scope)
        const client = yield* dial(server, { protocol })
        const calls = yield* Effect.forkChild(
          Effect.all([Effect.flip(client.calc({})), Effect.flip(Stream.runDrain(client.calcStream(openEnded(1))))], {
            concurrency: "unbounded",
          }),
        )
        yield* Effect.all([Queue.take(begun), Queue.take(begun)])
        yield* Scope.close(scope, Exit.void)
        assert.equal(finalized, 2)
        for (const { code, message } of yield* Fiber.join(calls)) {
          assert.deepEqual([code, message], ["unavailable", "the server is shutting down"])
        }
      }))

    test("messages over a limit of the client fail with resource_exhausted, and the next call is none the worse", () =>
      Effect.gen(function* () {
        const client = yield* dial(yield* start(pi), { protocol, maxReceiveBytes: 20, maxSendBytes: 100 })
        // An answer of 29 bytes, a request of more than 100, and an answer of 9.
        assert.equal((yield* Effect.flip(client.summarize(numbers(1)))).code, "resource_exhausted")
        assert.equal((yield* Effect.flip(client.report({ text: "t".repeat(200) }))).code, "resource_exhausted")
        yield* client.calc({ n: 999 })
      }))

    test("a message that can't be sent fails on the side that made it", () =>
      withLog(() =>
        Effect.gen(function* () {
          const client = yield* dial(yield* start(serviceOf({ calcRange: () => Stream.succeed({ n: 0.5 }) })), {
            protocol,
          })
          assert.equal((yield* Effect.flip(client.calc({ n: 2 ** 31 }))).code, "internal")
          assert.equal((yield* Effect.flip(Stream.runDrain(client.calcRange({})))).code, "internal")
          assert.equal((yield* client.calc({ n: 999 })).value, piClosedForm(999))
        }),
      ))
  })
}

/** Points of 4 KiB without end. */
const points = (made = () => {}) =>
  Stream.iterate(1, (n) => n + 1).pipe(
    Stream.tap(() => Effect.sync(made)),
    Stream.map((n) => padded(create(PiPointSchema, { n }))),
  )

// 2 MiB: the window of a stream is 1 MiB, and the sockets have buffers before it and behind.
const maxLead = 512

/** Waits until a count has stopped growing for many turns of the event loop, and gives it. */
const stall = (count: () => number) =>
  Effect.promise(async () => {
    for (let still = 0, last = count(); still < 100; ) {
      await new Promise((resolve) => setImmediate(resolve))
      still = count() === last ? still + 1 : 0
      last = count()
      assert.ok(last < 1_000_000, "it doesn't stop")
    }
    return count()
  })

describe("connect", () => {
  test("refuses what is no address, and says what one looks like", () =>
    Effect.gen(function* () {
      const expected = {
        "": /^"" is not an address: give a URL, such as http:\/\/127\.0\.0\.1:8080, /,
        "127.0.0.1:8080": /^"127\.0\.0\.1:8080" is not an address: give a URL, such as/,
        "localhost:8080": /^"localhost:8080" begins with none of "http:", "https:" and "unix:": give a URL, such as/,
        "ftp://127.0.0.1:8080": /^"ftp:\/\/127\.0\.0\.1:8080" begins with none of "http:"/,
        "unix:": /^"unix:" names no socket: give a path/,
        "http://127.0.0.1:99999": /^"http:\/\/127\.0\.0\.1:99999" is not an address/,
        "http://": /^"http:\/\/" is not an address/,
      }
      for (const [address, message] of Object.entries(expected)) {
        const error = yield* Effect.flip(Effect.scoped(connect(address)))
        assert.ok(error instanceof AddressError)
        assert.equal(error.address, address)
        assert.match(error.message, message)
      }
    }))

  test("doesn't wait for a server: without one, calls are unavailable until there is", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const { url, port } = yield* Scope.provide(start(pi), scope)
      yield* Scope.close(scope, Exit.void)
      const backoff = { initial: 0, multiplier: 1, max: 0, jitter: 0 }
      const client = yield* dial({ url }, { backoff })
      const error = yield* Effect.flip(client.calc({ n: 1 }))
      assert.equal(error.code, "unavailable")
      assert.match(error.message, /nothing listens there/)
      yield* start(pi, { port })
      assert.equal((yield* Effect.eventually(client.calc({ n: 999 }))).value, piClosedForm(999))
    }))

  test("has calls wait for a server that isn't there yet, if it is told to", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const { url, port } = yield* Scope.provide(start(pi), scope)
      yield* Scope.close(scope, Exit.void)
      const backoff = { initial: 10, multiplier: 1, max: 10, jitter: 0 }
      for (const protocol of protocols) {
        const channel = yield* connect(url, { backoff, protocol, waitForReady: true })
        const call = yield* Effect.forkChild(Client.make(PiCalculator, channel).calc({ n: 999 }))
        const { changes } = channel.connector.connectivity
        yield* Stream.runDrain(Stream.takeUntil(changes, (state) => state === "transient_failure"))
        assert.equal(call.pollUnsafe(), undefined)
        const there = yield* ownScope
        yield* Scope.provide(start(pi, { port }), there)
        assert.equal((yield* Fiber.join(call)).value, piClosedForm(999))
        assert.equal(yield* channel.connector.connectivity.state, "ready")
        yield* Scope.close(there, Exit.void)
      }
    }))

  test("tells a deadline that passed before there was a server from one that passed on the server", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const server = yield* Scope.provide(start(serviceOf({ calc: () => Effect.never })), scope)
      const client = yield* dial(server, { waitForReady: true }, deadline("100 millis"))
      assert.match((yield* Effect.flip(client.calc({ n: 1 }))).message, /before the call ended/)
      yield* Scope.close(scope, Exit.void)
      const { code, message } = yield* Effect.flip(client.calc({ n: 1 }))
      assert.equal(code, "deadline_exceeded")
      assert.match(message, /^the deadline passed before the call could be sent: cannot connect to http:/)
    }))

  test("takes the first of several addresses that it can reach, and the next one when that is lost", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const first = yield* Scope.provide(start(serviceOf({ calc: () => Effect.succeed({ value: 1 }) })), scope)
      const second = yield* start(serviceOf({ calc: () => Effect.succeed({ value: 2 }) }))
      const gone = yield* ownScope
      const { url: nobody } = yield* Scope.provide(start(pi), gone)
      yield* Scope.close(gone, Exit.void)
      const client = Client.make(PiCalculator, yield* connect([nobody, first.url, second.url]))
      assert.equal((yield* client.calc({})).value, 1)
      yield* Scope.close(scope, Exit.void)
      assert.equal((yield* Effect.eventually(client.calc({}))).value, 2)
      const error = yield* Effect.flip(Effect.scoped(connect([])))
      assert.match(error.message, /give at least one/)
    }))

  test("fails a call whose metadata is more than its server takes, and that call alone", () =>
    Effect.gen(function* () {
      const server = yield* start(pi)
      const channel = yield* connect(server.url)
      const plain = Client.make(PiCalculator, channel)
      const other = yield* Effect.forkChild(plain.calcStream(Stream.never).pipe(Stream.runDrain))
      for (const size of [66_000, 100_000]) {
        const wide = Client.make(PiCalculator, channel.pipe(metadata({ "x-wide": "w".repeat(size) })))
        const { code, message } = yield* Effect.flip(wide.calc({ n: 1 }))
        assert.equal(code, "resource_exhausted")
        assert.match(message, /metadata.*over the 65536 bytes that the server takes/)
      }
      assert.ok((yield* plain.calc({ n: 1 })).value > 2)
      assert.equal(other.pollUnsafe(), undefined)
    }))

  test("shares one connection among all calls, and closes it with its scope", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const peers = new Set<string | undefined>()
      const service = serviceOf({
        calc: ({ n }) => Effect.map(Call, ({ peer }) => ({ value: peers.add(peer.address) && n })),
      })
      const middle = yield* between(yield* start(service))
      const client = Client.make(PiCalculator, yield* Scope.provide(connect(middle.url), scope))
      yield* Effect.forEach([1, 2, 3, 4, 5], (n) => client.calc({ n }), { concurrency: "unbounded" })
      assert.equal(peers.size, 1)
      yield* Scope.close(scope, Exit.void)
      yield* middle.idle
      assert.equal((yield* Effect.flip(client.calc({ n: 1 }))).code, "cancelled")
      assert.equal(peers.size, 1)
    }))

  test("speaks Connect as it is told: in which version of HTTP, in which codec, and with GET where that may be", () =>
    Effect.gen(function* () {
      const asked: Array<string> = []
      const server = http.createServer((request, answer) => {
        const { searchParams } = new URL(request.url ?? "", "http://127.0.0.1")
        const codec = searchParams.get("encoding") ?? request.headers["content-type"]
        asked.push(`${request.httpVersion} ${request.method} ${codec}`)
        const [type, body] = `${codec}`.endsWith("json") ? ["json", '{"value":3}'] : ["proto", ""]
        answer.writeHead(200, { "content-type": `application/${type}` }).end(body)
      })
      yield* Effect.acquireRelease(
        Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
        () => Effect.promise(() => new Promise((resolve) => server.close(resolve))),
      )
      const address = server.address()
      assert.ok(typeof address === "object" && address !== null)
      const url = `http://127.0.0.1:${address.port}`
      const answers: Array<number> = []
      for (const options of [{}, { codec: "json" }, { httpGet: true }, { codec: "json", httpGet: true }] as const) {
        const client = yield* dial({ url }, { protocol: "connect", httpVersion: "1.1", ...options })
        answers.push((yield* client.calc({ n: 1 })).value)
      }
      assert.deepEqual(asked, [
        "1.1 POST application/proto",
        "1.1 POST application/json",
        "1.1 GET proto",
        "1.1 GET json",
      ])
      assert.deepEqual(answers, [0, 3, 0, 3])
    }))

  test("connects again when the connection was lost between calls", () =>
    Effect.gen(function* () {
      const middle = yield* between(yield* start(pi))
      const client = yield* dial(middle)
      yield* client.calc({ n: 1 })
      yield* middle.cut
      assert.equal((yield* Effect.eventually(client.calc({ n: 999 }))).value, piClosedForm(999))
    }))
})
