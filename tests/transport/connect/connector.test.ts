import assert from "node:assert/strict"
import { describe } from "node:test"
import { create } from "@bufbuild/protobuf"
import { Code, ConnectError, type Transport } from "@connectrpc/connect"
import { Deferred, Effect, Stream } from "effect"
import { type CallInfo, noResponse } from "../../../src/core/rpc/call.ts"
import { always } from "../../../src/core/rpc/connectivity.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { unlayered } from "../../../src/core/rpc/interceptor.ts"
import * as Metadata from "../../../src/core/rpc/metadata.ts"
import * as Monotonic from "../../../src/core/rpc/monotonic.ts"
import { connector } from "../../../src/transport/connect/connector.ts"
import { PiCalculator, PiPointSchema, PiRequestSchema, PiResponseSchema } from "../../../src/transport/gen/pi_pb.ts"
import { type DescMethod, protoMethod } from "../../../src/transport/method.ts"
import { test } from "../../effect.ts"

const { calc, calcStream } = PiCalculator.method

const callOf = (desc: DescMethod, deadline?: number): CallInfo => ({
  method: protoMethod(desc),
  metadata: Metadata.of({ "x-asked": "yes" }),
  deadline,
  peer: { address: undefined },
  response: noResponse(),
})

type Unary = (timeout: number | undefined, headers: Headers, signal: AbortSignal | undefined) => Promise<object>
type Streamed = (requests: AsyncIterable<unknown>, signal: AbortSignal | undefined) => AsyncIterable<unknown>

/** A connector over a transport that is a function. */
const over = (unary: Unary, stream: Streamed = () => assert.fail("no stream"), head: HeadersInit = { "x-h": "1" }) => {
  const response = { service: PiCalculator, header: new Headers(head), trailer: new Headers({ "x-t": "2" }) }
  const transport: { readonly [K in keyof Transport]: (...args: Parameters<Transport[K]>) => Promise<unknown> } = {
    unary: async (method, signal, timeout, header) => ({
      ...response,
      stream: false,
      method,
      message: await unary(timeout, new Headers(header), signal),
    }),
    stream: async (method, signal, _timeout, _header, requests) => ({
      ...response,
      stream: true,
      method,
      message: stream(requests, signal),
    }),
  }
  // A function can't promise the type of any method's answer, which a transport does.
  return connector(() => transport as Transport, always("ready"))
}

const streamOf = (stream: Streamed, head?: HeadersInit) => over(() => assert.fail("not unary"), stream, head)

const request = create(PiRequestSchema)
const value3 = create(PiResponseSchema, { value: 3 })
const point = create(PiPointSchema, { n: 1 })

describe("a call over a Connect-ES transport", () => {
  test("sends its metadata, gives the answer, and fills in what came with it", () =>
    Effect.gen(function* () {
      const call = callOf(calc)
      const seen: Array<string | null | number | undefined> = []
      const connected = over(async (timeout, headers) => {
        seen.push(timeout, headers.get("x-asked"))
        return value3
      })
      assert.equal(yield* connected.unary(call, request, unlayered), value3)
      assert.deepEqual(seen, [undefined, "yes"])
      assert.deepEqual([call.response.header, call.response.trailer], [[["x-h", "1"]], [["x-t", "2"]]])
    }))

  test("tells the server what is left until its deadline, in as many milliseconds as grpc-timeout can say", () =>
    Effect.gen(function* () {
      const timeouts: Array<number | undefined> = []
      const connected = over(async (timeout) => {
        timeouts.push(timeout)
        return value3
      })
      const now = yield* Monotonic.now
      for (const deadline of [now - 1000, now + 60_000, now + 1e12]) {
        yield* connected.unary(callOf(calc, deadline), request, unlayered)
      }
      const [past, near = 0, far] = timeouts
      assert.deepEqual([past, far], [1, 99_999_999])
      assert.ok(0 < near && near <= 60_000 && Number.isInteger(near), `${near}`)
    }))

  test("is aborted when it is interrupted", () =>
    Effect.gen(function* () {
      const begun = yield* Deferred.make<AbortSignal | undefined>()
      const connected = over((_timeout, _headers, signal) => {
        Deferred.doneUnsafe(begun, Effect.succeed(signal))
        return new Promise(() => {})
      })
      const fiber = yield* Effect.forkChild(connected.unary(callOf(calc), request, unlayered))
      const signal = yield* Deferred.await(begun)
      fiber.interruptUnsafe()
      yield* Effect.yieldNow
      assert.equal(signal?.aborted, true)
    }))

  test("fails with the error its own requests failed with, whatever the transport makes of it", () =>
    Effect.gen(function* () {
      const connected = streamOf(async function* (requests) {
        try {
          yield* requests
        } catch {
          throw new ConnectError("hidden", Code.Aborted)
        }
      })
      const mine = new RpcError({ code: "data_loss", message: "mine" })
      const requests = Stream.concat(Stream.succeed(point), Stream.fail(mine))
      const answers = connected.stream(callOf(calcStream), requests, unlayered)
      assert.equal(yield* Effect.flip(Stream.runDrain(answers)), mine)
    }))

  test("that is left early is aborted, and its requests end with it", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      let aborted: AbortSignal | undefined
      const connected = streamOf((requests, signal) => {
        aborted = signal
        return requests
      })
      const requests = Stream.ensuring(
        Stream.concat(Stream.succeed(point), Stream.never),
        Deferred.succeed(ended, undefined),
      )
      const answers = connected.stream(callOf(calcStream), requests, unlayered)
      assert.deepEqual(yield* Stream.runCollect(Stream.take(answers, 1)), [point])
      assert.equal(yield* Deferred.isDone(ended), true)
      assert.equal(aborted?.aborted, true)
    }))

  test("whose answer came before its requests ended, ends them", () =>
    Effect.gen(function* () {
      const ended = yield* Deferred.make<void>()
      const connected = streamOf(async function* (requests) {
        for await (const request of requests) {
          yield request
          return
        }
      })
      const call = callOf(calcStream)
      const requests = Stream.ensuring(
        Stream.concat(Stream.succeed(point), Stream.never),
        Deferred.succeed(ended, undefined),
      )
      assert.deepEqual(yield* Stream.runCollect(connected.stream(call, requests, unlayered)), [point])
      assert.equal(yield* Deferred.isDone(ended), true)
      assert.deepEqual([call.response.header, call.response.trailer], [[["x-h", "1"]], [["x-t", "2"]]])
    }))

  test("finds the trailers of a response without a body among its headers", () =>
    Effect.gen(function* () {
      const call = callOf(calcStream)
      const connected = streamOf(async function* () {}, { "grpc-status": "0", "x-all": "here" })
      assert.deepEqual(yield* Stream.runCollect(connected.stream(call, Stream.empty, unlayered)), [])
      assert.deepEqual(call.response.trailer, [["x-all", "here"]])
    }))

  test("that fails has in its error what came first, or all metadata where nothing tells which did", () =>
    Effect.gen(function* () {
      const refused = new ConnectError("no", Code.Aborted, { "x-all": "here" })
      const fail = async function* () {
        yield* []
        throw refused
      }
      const late = yield* Effect.flip(
        Stream.runDrain(streamOf(fail).stream(callOf(calcStream), Stream.empty, unlayered)),
      )
      assert.deepEqual([late.header, late.metadata], [[["x-h", "1"]], [["x-all", "here"]]])
      const early = yield* Effect.flip(over(() => Promise.reject(refused)).unary(callOf(calc), request, unlayered))
      assert.deepEqual([early.header, early.metadata], [[], [["x-all", "here"]]])
    }))

  test("that the server cancelled stays cancelled", () =>
    Effect.gen(function* () {
      const connected = over(() => Promise.reject(new ConnectError("by policy", Code.Canceled)))
      assert.equal((yield* Effect.flip(connected.unary(callOf(calc), request, unlayered))).code, "cancelled")
    }))
})
