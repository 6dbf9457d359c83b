import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Stream } from "effect"
import { protocols } from "../../src/transport/channel.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { calculator, dial, pi, start, withLog } from "./support.ts"

// What a program may say that gets round the types.
const number = (value: unknown) => value as number
const message = <M>(value: unknown) => value as M

describe("a response that can't be encoded", () => {
  for (const codec of ["proto", "json"] as const) {
    test(`is an internal error to the client in ${codec}, and the log alone says why`, () =>
      withLog((lines) =>
        Effect.gen(function* () {
          const value = number("hunter2")
          const service = Service.make(PiCalculator, {
            ...calculator,
            calc: ({ n }) => Effect.succeed(n === 1 ? { value } : message<{ value: number }>(undefined)),
            calcRange: () => Stream.make({ n: 1, value: 1 }, { n: 2, value }),
          })
          const client = yield* dial(yield* start(service), { codec })
          for (const n of [1, 2]) {
            const error = yield* Effect.flip(client.calc({ n }))
            assert.deepEqual([error.code, error.message], ["internal", "internal error"])
          }
          assert.match(`${lines[0]}`, /the field pi.PiResponse.value must be a number, and is of the type string/)
          assert.match(`${lines[1]}`, /a pi.PiResponse must be an object, and is undefined/)
          const got: Array<number> = []
          const each = Stream.runForEach(client.calcRange({ first: 1, last: 2 }), (point) =>
            Effect.sync(() => got.push(point.n)),
          )
          const error = yield* Effect.flip(each)
          assert.deepEqual([error.code, error.message, got], ["internal", "internal error", [1]])
          assert.match(`${lines[2]}`, /the field pi.PiPoint.value must be a number/)
          assert.equal(lines.length, 3)
        }),
      ))
  }
})

describe("a request that can't be encoded", () => {
  for (const protocol of protocols) {
    test(`fails its call over ${protocol}, a single one before anything is sent, and says which field is wrong`, () =>
      Effect.gen(function* () {
        const client = yield* dial({ url: "http://127.0.0.1:1" }, { protocol })
        const served = yield* dial(yield* start(pi), { protocol })
        for (const n of [1.5, "hunter2", undefined, 2 ** 31]) {
          const calls = [
            client.calc({ n: number(n ?? Number.NaN) }),
            Stream.runDrain(served.calcRange({ first: number(n ?? null), last: number(n ?? Number.NaN) })),
          ]
          for (const call of calls) {
            const error = yield* Effect.flip(call)
            assert.equal(error.code, "internal", error.message)
            assert.match(
              error.message,
              /^the request is no pi\.\w+: the field pi\.\w+\.(n|first|last) must be a whole number/,
            )
          }
        }
        const error = yield* Effect.flip(client.calc(message(undefined)))
        assert.equal(
          error.message,
          "the request is no pi.PiRequest: a pi.PiRequest must be an object, and is undefined",
        )
      }))
  }

  test("ends a stream of requests with the field that is wrong, and a defect of the stream with what it was", () =>
    Effect.gen(function* () {
      const client = yield* dial(yield* start(pi))
      const wrong = yield* Effect.flip(client.summarize(Stream.make({ n: 1 }, { n: number(1.5) })))
      assert.deepEqual(
        [wrong.code, wrong.message],
        [
          "internal",
          "the request is no pi.PiRequest: the field pi.PiRequest.n must be a whole number of 32 bits, and is another number",
        ],
      )
      const died = yield* Effect.flip(
        client.summarize(Stream.concat(Stream.make({ n: 1 }), Stream.die(new Error("boom")))),
      )
      assert.deepEqual(
        [died.code, died.message],
        ["internal", "the stream of requests that /pi.PiCalculator/Summarize was called with died: Error: boom"],
      )
    }))
})
