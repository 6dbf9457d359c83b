import assert from "node:assert/strict"
import { Effect, Fiber, Latch, Option, Stream, type Tracer } from "effect"
import { TestClock } from "effect/testing"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { metadata } from "../../../src/core/layers/metadata.ts"
import { tracing } from "../../../src/core/layers/tracing.ts"
import { Call } from "../../../src/core/rpc/call.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { unlayered } from "../../../src/core/rpc/interceptor.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test, testWithClock } from "../../effect.ts"
import {
  callWith,
  clientOf,
  echo,
  kinds,
  type Logged,
  logInto,
  piped,
  serving,
  settle,
  testEachKind,
  testEachSide,
  traceInto,
} from "../support.ts"

const traceId = "0af7651916cd43dd8448eb211c80319c"
const spanId = "b7ad6b7169203331"

const aborted = new RpcError({ code: "aborted", message: "again" })

const parentOf = (span: Tracer.Span | undefined): Tracer.AnySpan | undefined =>
  span && Option.getOrUndefined(span.parent)

testEachSide(
  "a call is a span with the method's name, the side's kind and OpenTelemetry's attributes",
  ({ ask, put, answers, name, side }) =>
    Effect.gen(function* () {
      const spans: Array<Tracer.NativeSpan> = []
      const client = yield* put(echo, tracing())
      assert.deepEqual(yield* Effect.provide(ask(client), traceInto(spans)), answers)
      // A stream's span ends once its last message was taken, which may be a turn later.
      yield* settle
      assert.deepEqual(
        spans.map(({ name, kind, attributes, status }) => [name, kind, Object.fromEntries(attributes), status._tag]),
        [
          [
            `pi.PiCalculator/${name}`,
            side === "service" ? "server" : "client",
            {
              "rpc.system.name": "grpc",
              "rpc.method": `pi.PiCalculator/${name}`,
              "rpc.response.status_code": "OK",
            },
            "Ended",
          ],
        ],
      )
    }),
)

testEachSide("a call that fails has its code for a status and for the error's type", ({ ask, put }) =>
  Effect.gen(function* () {
    for (const [ending, code] of [
      [Effect.fail(aborted), "ABORTED"],
      [Effect.die("broken"), "INTERNAL"],
    ] as const) {
      const spans: Array<Tracer.NativeSpan> = []
      const client = yield* put(serving(ending), tracing())
      yield* ask(client).pipe(Effect.exit, Effect.provide(traceInto(spans)))
      const [span] = spans
      assert.equal(span?.attributes.get("rpc.response.status_code"), code)
      assert.equal(span?.attributes.get("error.type"), code)
      assert.ok(span?.status._tag === "Ended" && span.status.exit._tag === "Failure")
    }
  }).pipe(Effect.provide(logInto([]))),
)

testEachSide("a call that is interrupted is cancelled", ({ ask, put }) =>
  Effect.gen(function* () {
    const spans: Array<Tracer.NativeSpan> = []
    const client = yield* put(serving(Effect.never), tracing())
    const fiber = yield* ask(client).pipe(Effect.provide(traceInto(spans)), Effect.forkChild)
    yield* settle
    yield* Fiber.interrupt(fiber)
    assert.equal(spans[0]?.attributes.get("rpc.response.status_code"), "CANCELLED")
    assert.equal(spans[0]?.status._tag, "Ended")
  }),
)

testWithClock("a call that its own deadline interrupts has exceeded it, as its client is told", () =>
  Effect.gen(function* () {
    const spans: Array<Tracer.NativeSpan> = []
    const client = yield* clientOf(serving(Effect.never).pipe(tracing()))
    const fiber = yield* client
      .calc({ n: 1 })
      .pipe(Deadline.within("1 second"), Effect.exit, Effect.provide(traceInto(spans)), Effect.forkChild)
    yield* TestClock.adjust("1 second")
    yield* Fiber.await(fiber)
    assert.equal(spans[0]?.attributes.get("rpc.response.status_code"), "DEADLINE_EXCEEDED")
  }),
)

test("a span names the client's address where the peer has one", () =>
  Effect.gen(function* () {
    const spans: Array<Tracer.NativeSpan> = []
    const { around } = tracing()(unlayered)
    yield* around(callWith({ peer: { address: "[::1]:50051" } }), () => Effect.void).pipe(
      Effect.provide(traceInto(spans)),
    )
    assert.equal(spans[0]?.attributes.get("client.address"), "[::1]:50051")
  }))

testEachKind("a service's span is a child of the one that traceparent names, sampled as that one is", ({ ask }) =>
  Effect.gen(function* () {
    for (const [flags, sampled] of [
      ["00", false],
      ["01", true],
    ] as const) {
      const spans: Array<Tracer.NativeSpan> = []
      const sent = metadata({ traceparent: `00-${traceId}-${spanId}-${flags}` })
      const client = yield* clientOf(echo.pipe(tracing()), sent)
      yield* Effect.provide(ask(client), traceInto(spans))
      const parent = parentOf(spans[0])
      assert.deepEqual([parent?.traceId, parent?.spanId, spans[0]?.traceId], [traceId, spanId, traceId])
      assert.equal(spans[0]?.sampled, sampled)
    }
  }),
)

testEachKind("a traceparent that is none is passed over", ({ ask, answers }) =>
  Effect.gen(function* () {
    const zeros = `00-${"0".repeat(32)}-${spanId}-01`
    for (const traceparent of ["", "nonsense", `ff-${traceId}-${spanId}-01`, `00-${traceId}-${spanId}`, zeros]) {
      const spans: Array<Tracer.NativeSpan> = []
      const client = yield* clientOf(echo.pipe(tracing()), metadata({ traceparent }))
      assert.deepEqual(yield* Effect.provide(ask(client), traceInto(spans)), answers)
      assert.equal(spans.length, 1)
      assert.equal(parentOf(spans[0]), undefined)
    }
  }),
)

testEachKind("a channel sends its span on as the one traceparent, whatever else was to be sent", ({ ask }) =>
  Effect.gen(function* () {
    const spans: Array<Tracer.NativeSpan> = []
    const received: Array<ReadonlyArray<Metadata.Value>> = []
    const service = serving(Effect.map(Call, (call) => received.push(Metadata.getAll(call.metadata, "traceparent"))))
    const stale = metadata({ traceparent: `00-${traceId}-${spanId}-01`, "x-kept": "1" })
    yield* Effect.provide(ask(yield* clientOf(service, piped(tracing(), stale))), traceInto(spans))
    assert.deepEqual(received, [[`00-${spans[0]?.traceId}-${spans[0]?.spanId}-01`]])
    assert.equal(parentOf(spans[0]), undefined)
  }),
)

testEachKind("a trace runs from the caller's span through channel and service into the program", ({ ask }) =>
  Effect.gen(function* () {
    const spans: Array<Tracer.NativeSpan> = []
    const service = serving(Effect.withSpan(Effect.void, "program")).pipe(tracing())
    const client = yield* clientOf(service, tracing())
    yield* ask(client).pipe(Effect.withSpan("caller"), Effect.provide(traceInto(spans)))
    const [caller, onChannel, onService, program] = spans
    assert.deepEqual(
      spans.map(({ name, kind }) => (name === "caller" || name === "program" ? name : kind)),
      ["caller", "client", "server", "program"],
    )
    assert.equal(parentOf(onChannel), caller)
    // The service knows its parent by what was sent alone.
    assert.equal(parentOf(onService)?._tag, "ExternalSpan")
    assert.equal(parentOf(onService)?.spanId, onChannel?.spanId)
    assert.equal(parentOf(program), onService)
    assert.equal(new Set(spans.map(({ traceId }) => traceId)).size, 1)
  }),
)

test("what is not sampled stays so on its way through a program to the next service", () =>
  Effect.gen(function* () {
    const received: Array<unknown> = []
    const behind = serving(Effect.map(Call, (call) => received.push(Metadata.get(call.metadata, "traceparent"))))
    const next = yield* clientOf(behind, tracing())
    const front = serving(next.calc({ n: 1 })).pipe(tracing())
    const { calc } = yield* clientOf(front, metadata({ traceparent: `00-${traceId}-${spanId}-00` }))
    yield* Effect.provide(calc({ n: 1 }), traceInto([]))
    assert.match(String(received[0]), new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`))
  }))

test("a stream's span ends with its last message", () =>
  Effect.gen(function* () {
    const spans: Array<Tracer.NativeSpan> = []
    const points = Service.partial(PiCalculator, {
      calcRange: () => Stream.flatMap(Stream.range(1, 10), (n) => Stream.make({ n })),
    })
    for (const { calcRange } of [yield* clientOf(points.pipe(tracing())), yield* clientOf(points, tracing())]) {
      const holding = yield* Latch.make()
      const running = yield* Stream.runForEach(calcRange({}), () => holding.await).pipe(
        Effect.provide(traceInto(spans)),
        Effect.forkChild,
      )
      yield* settle
      assert.equal(spans.at(-1)?.status._tag, "Started")
      yield* holding.open
      yield* Fiber.join(running)
      yield* settle
      assert.equal(spans.at(-1)?.status._tag, "Ended")
    }
  }))

testEachSide(
  "each call's end is logged when asked, with its status and its cost",
  ({ ask, put, name }) =>
    Effect.gen(function* () {
      const lines: Array<Logged> = []
      for (const [ending, status] of [
        [Effect.void, "ok"],
        [Effect.fail(aborted), "aborted"],
      ] as const) {
        const service = serving(Effect.andThen(Effect.sleep("250 millis"), ending))
        const call = ask(yield* put(service, tracing({ log: true })))
        const fiber = yield* call.pipe(Effect.exit, Effect.provide(logInto(lines)), Effect.forkChild)
        yield* TestClock.adjust("250 millis")
        yield* Fiber.join(fiber)
        yield* settle
        const { level, text } = lines.pop() ?? {}
        assert.deepEqual([level, text], ["Info", `pi.PiCalculator/${name} ${status} 250.000ms`])
      }
      assert.equal(lines.length, 0)
    }),
  testWithClock,
)

test("nothing is logged unless asked", () =>
  Effect.gen(function* () {
    const lines: Array<Logged> = []
    for (const { ask } of kinds) {
      yield* Effect.provide(ask(yield* clientOf(echo.pipe(tracing()), tracing())), logInto(lines))
    }
    assert.deepEqual(lines, [])
  }))

testEachSide(
  "it measures what stands before it in the pipe",
  ({ ask, put }) =>
    Effect.gen(function* () {
      const spans: Array<Tracer.NativeSpan> = []
      const slow = (duration: number) => intercept((call, next) => Effect.delay(next(call), duration))
      const client = yield* put(echo, piped(slow(200), tracing(), slow(1_000)))
      const fiber = yield* ask(client).pipe(Effect.provide(traceInto(spans)), Effect.forkChild)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(fiber)
      yield* settle
      const status = spans[0]?.status
      assert.ok(status?._tag === "Ended")
      assert.equal(status.endTime - status.startTime, 200_000_000n)
    }),
  testWithClock,
)
