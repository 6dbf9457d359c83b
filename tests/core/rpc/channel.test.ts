import assert from "node:assert/strict"
import { type Cause, Context, Deferred, Effect, Fiber, Queue, Schema, Stream } from "effect"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { Call, type CallInfo, type ResponseMetadata, sendHeader, sendTrailer } from "../../../src/core/rpc/call.ts"
import { callStream, callUnary, inMemory, only } from "../../../src/core/rpc/channel.ts"
import { badRequest, errorInfo } from "../../../src/core/rpc/details.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { clientOf, echo, kinds, method, serving, testEachKind } from "../support.ts"

const aborted = new RpcError({
  code: "aborted",
  message: "again",
  details: [badRequest([{ field: "n", description: "odd" }]), errorInfo({ reason: "ODD", domain: "example.org" })],
  metadata: Metadata.of({ "x-why": "odd", "why-bin": new Uint8Array([1, 2]) }),
})

testEachKind("a service in memory answers", ({ ask, answers }) =>
  Effect.gen(function* () {
    assert.deepEqual(yield* ask(yield* clientOf(echo)), answers)
  }),
)

testEachKind("nothing happens before a call runs, and each run is a call", ({ ask, answers }) =>
  Effect.gen(function* () {
    let calls = 0
    const client = yield* clientOf(serving(Effect.sync(() => calls++)))
    const call = ask(client)
    assert.equal(calls, 0)
    assert.deepEqual([yield* call, yield* call], [answers, answers])
    assert.equal(calls, 2)
  }),
)

testEachKind("a program sees what is called, with what metadata, and no peer", ({ ask, kind, name }) =>
  Effect.gen(function* () {
    const calls: Array<CallInfo> = []
    const client = yield* clientOf(
      serving(Effect.map(Call, (call) => calls.push(call))),
      intercept((call, next) => next({ ...call, metadata: Metadata.of({ a: "1" }) })),
    )
    yield* ask(client)
    const [call] = calls
    const { service, name: called, kind: calledKind, idempotency } = call?.method ?? method
    assert.deepEqual(
      { service, called, calledKind, idempotency },
      {
        service: "pi.PiCalculator",
        called: name,
        calledKind: kind,
        idempotency: "no_side_effects",
      },
    )
    assert.deepEqual(call?.metadata, [["a", "1"]])
    assert.deepEqual(call?.deadline, undefined)
    assert.deepEqual(call?.peer, { address: undefined })
  }),
)

testEachKind("an error arrives whole: code, message, details and metadata", ({ ask }) =>
  Effect.gen(function* () {
    const { code, message, details, metadata } = yield* Effect.flip(ask(yield* clientOf(serving(aborted))))
    assert.deepEqual(
      { code, message, details, metadata },
      { code: aborted.code, message: "again", details: aborted.details, metadata: aborted.metadata },
    )
  }),
)

type Sent = Pick<ResponseMetadata, "header" | "trailer">

/** What a channel's layer finds in the response metadata when its call has ended, either way. */
const responses = (into: Array<Sent>) =>
  intercept((call, next) =>
    Effect.ensuring(
      next(call),
      Effect.sync(() => {
        const { header, trailer } = call.response
        into.push({ header, trailer })
      }),
    ),
  )

const send = Effect.andThen(
  sendHeader({ "x-first": "1", "first-bin": new Uint8Array([1]) }),
  sendTrailer({ "x-last": "2" }),
)
const sent = {
  header: [
    ["x-first", "1"],
    ["first-bin", new Uint8Array([1])],
  ],
  trailer: [["x-last", "2"]],
}

testEachKind("header and trailer arrive in the call's response", ({ ask, answers }) =>
  Effect.gen(function* () {
    const got: Array<Sent> = []
    assert.deepEqual(yield* ask(yield* clientOf(serving(send), responses(got))), answers)
    assert.deepEqual(got, [sent])
  }),
)

testEachKind("header and trailer that were sent before a failure arrive, and stand in the error too", ({ ask }) =>
  Effect.gen(function* () {
    const got: Array<Sent> = []
    const failing = serving(Effect.andThen(send, aborted))
    const error = yield* Effect.flip(ask(yield* clientOf(failing, responses(got))))
    assert.deepEqual(got, [sent])
    assert.deepEqual(error.header, sent.header)
    assert.deepEqual(error.metadata, [...sent.trailer, ...aborted.metadata])
    assert.deepEqual([error.code, error.message, error.details], [aborted.code, aborted.message, aborted.details])
  }),
)

testEachKind("interrupting a call interrupts its program and runs the finalizers", ({ ask }) =>
  Effect.gen(function* () {
    const begun = yield* Deferred.make<void>()
    let interrupted = false
    const client = yield* clientOf(
      serving(
        Deferred.succeed(begun, undefined).pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() =>
            Effect.sync(() => {
              interrupted = true
            }),
          ),
        ),
      ),
    )
    const fiber = yield* Effect.forkChild(ask(client))
    yield* Deferred.await(begun)
    yield* Fiber.interrupt(fiber)
    assert.equal(interrupted, true)
  }),
)

test("leaving a stream of answers early ends its program and runs the finalizers", () =>
  Effect.gen(function* () {
    let finalized = 0
    const endless = <A>(answers: Stream.Stream<A>) =>
      Stream.ensuring(
        Stream.forever(answers),
        Effect.sync(() => finalized++),
      )
    const { calcRange, calcStream } = yield* clientOf(
      Service.partial(PiCalculator, {
        calcRange: () => endless(Stream.make({ n: 1 })),
        calcStream: () => endless(Stream.make({ n: 1 })),
      }),
    )
    yield* Stream.runDrain(Stream.take(calcRange({}), 3))
    assert.equal(finalized, 1)
    yield* Stream.runDrain(Stream.take(calcStream(Stream.never), 3))
    assert.equal(finalized, 2)
  }))

test("a program that answers before it has read all requests ends their stream", () =>
  Effect.gen(function* () {
    let finalized = 0
    const requests = Stream.ensuring(
      Stream.forever(Stream.make({ n: 1 })),
      Effect.sync(() => finalized++),
    )
    const { summarize, calcStream } = yield* clientOf(
      Service.partial(PiCalculator, {
        summarize: (requests) => Effect.map(Stream.runCount(Stream.take(requests, 2)), (count) => ({ count })),
        calcStream: (requests) => Stream.map(Stream.take(requests, 2), ({ n }) => ({ n })),
      }),
    )
    assert.equal((yield* summarize(requests)).count, 2)
    assert.equal(finalized, 1)
    assert.equal((yield* Stream.runCollect(calcStream(requests))).length, 2)
    assert.equal(finalized, 2)
  }))

test("requests that fail fail the call the same way", () =>
  Effect.gen(function* () {
    const { summarize, calcStream } = yield* clientOf(echo)
    const requests = Stream.concat(Stream.make({ n: 1 }), Stream.fail(aborted))
    assert.equal(yield* Effect.flip(summarize(requests)), aborted)
    assert.equal(yield* Effect.flip(Stream.runDrain(calcStream(requests))), aborted)
  }))

test("requests may need services, which are those of where the call is made", () =>
  Effect.gen(function* () {
    class First extends Context.Service<First, number>()("test/First") {}
    const { summarize, calcStream } = yield* Effect.provideService(clientOf(echo), First, 1)
    const asked: Array<number> = []
    const requests = Stream.fromEffect(Effect.map(First, (n) => asked.push(n)).pipe(Effect.as({ n: 3 })))
    const calls = Effect.andThen(summarize(requests), Stream.runDrain(calcStream(requests)))
    yield* Effect.provideService(calls, First, 7)
    assert.deepEqual(asked, [7, 7])
  }))

test("a request of a stream can wait for the answer to the one before", () =>
  Effect.gen(function* () {
    const { calcStream } = yield* clientOf(echo)
    const asked = yield* Queue.make<{ n: number }, Cause.Done>()
    yield* Queue.offer(asked, { n: 1 })
    const answers = Stream.tap(calcStream(Stream.fromQueue(asked)), ({ n }) =>
      n < 5 ? Queue.offer(asked, { n: n + 1 }) : Queue.end(asked),
    )
    assert.deepEqual(
      (yield* Stream.runCollect(answers)).map(({ n }) => n),
      [1, 2, 3, 4, 5],
    )
  }))

test("only gives the one message of a stream, and fails where there are none or more", () =>
  Effect.gen(function* () {
    assert.equal(yield* only(Stream.make(1), method), 1)
    const none = yield* Effect.flip(only(Stream.empty, method))
    const more = yield* Effect.flip(only(Stream.make(1, 2), method))
    assert.deepEqual([none.code, more.code], ["unimplemented", "unimplemented"])
    assert.equal(none.message, "/pi.PiCalculator/Calc must have one message here, and has none")
    assert.equal(more.message, "/pi.PiCalculator/Calc must have one message here, and has more")
    assert.equal(yield* Effect.flip(only(Stream.concat(Stream.make(1), Stream.fail(aborted)), method)), aborted)
    // It doesn't wait for an end that never comes.
    assert.equal((yield* Effect.flip(only(Stream.forever(Stream.make(1)), method))).code, "unimplemented")
  }))

test("a call of another kind than its method's program is unimplemented", () =>
  Effect.gen(function* () {
    const channel = yield* inMemory(echo)
    for (const { kind, name } of kinds) {
      const called = { ...method, name, kind }
      const error = yield* Effect.flip(
        kind === "unary"
          ? Stream.runDrain(callStream(channel, called, Stream.make({ n: 1 })))
          : callUnary(channel, called, { n: 1 }),
      )
      assert.equal(error.code, "unimplemented")
    }
    const range = { ...method, name: "CalcRange", kind: "server_streaming" } as const
    for (const requests of [Stream.empty, Stream.make({ first: 1, last: 1 }, { first: 1, last: 1 })]) {
      assert.equal((yield* Effect.flip(Stream.runDrain(callStream(channel, range, requests)))).code, "unimplemented")
    }
  }))

// The tutorial's two ways for errors of one's own.

const bizError = { biz_err_code: 10086, msg: "something happened" }

test("an error of one's own can travel as JSON in the message", () =>
  Effect.gen(function* () {
    const BizError = Schema.fromJsonString(Schema.Struct({ biz_err_code: Schema.Number, msg: Schema.String }))
    const failing = new RpcError({ code: "internal", message: JSON.stringify(bizError) })
    const { calc } = yield* clientOf(serving(failing))
    const error = yield* Effect.flip(calc({ n: 1 }))
    assert.deepEqual(yield* Schema.decodeEffect(BizError)(error.message), bizError)
  }))

test("an error of one's own can travel as values in the initial metadata", () =>
  Effect.gen(function* () {
    const values = { "x-biz-err-code": "10086", "msg-bin": new TextEncoder().encode("something happened – 出错了") }
    const failing = Effect.andThen(sendHeader(values), new RpcError({ code: "internal", message: "see metadata" }))
    const got: Array<Sent> = []
    const { calc } = yield* clientOf(serving(failing), responses(got))
    const error = yield* Effect.flip(calc({ n: 1 }))
    for (const metadata of [error.header, got[0]?.header ?? []]) {
      assert.equal(Metadata.getText(metadata, "X-Biz-Err-Code"), "10086")
      assert.deepEqual(Metadata.get(metadata, "msg-bin"), values["msg-bin"])
    }
  }))
