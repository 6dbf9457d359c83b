import assert from "node:assert/strict"
import * as http2 from "node:http2"
import { describe } from "node:test"
import { Deferred, Effect, Stream } from "effect"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { intercept } from "../../../src/core/layers/intercept.ts"
import * as Monotonic from "../../../src/core/rpc/monotonic.ts"
import { statusOf } from "../../../src/core/rpc/outcome.ts"
import type { Status } from "../../../src/core/rpc/status.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { envelope, grpcStatus, http2Session, request999, requests2, start } from "../support.ts"

const grpc = { "content-type": "application/grpc" }
const deadlineExceeded = 4

const limits = [
  { whose: "its service's limit", layer: deadline("30 millis"), headers: grpc },
  { whose: "the client's timeout", layer: deadline("1 hour"), headers: { ...grpc, "grpc-timeout": "30m" } },
] as const

describe("a gRPC call at a server", () => {
  for (const { whose, layer, headers } of limits) {
    test(`ends at ${whose}: its program is interrupted, and its layers see that the deadline has passed`, () =>
      Effect.gen(function* () {
        const ended = yield* Deferred.make<void>()
        const never = Effect.ensuring(Effect.never, Deferred.succeed(ended, undefined))
        const seen = yield* Deferred.make<Status>()
        const watch = intercept((call, next) =>
          Effect.onExit(next(call), (exit) =>
            Effect.flatMap(Monotonic.now, (now) => Deferred.succeed(seen, statusOf(exit, call, now))),
          ),
        )
        const service = Service.partial(PiCalculator, {
          calc: () => never,
          calcStream: () => Stream.fromEffect(never),
        }).pipe(layer, watch)
        const request = requests2(yield* http2Session(yield* start(service)))
        for (const path of ["Calc", "CalcStream"]) {
          const answer = yield* request({ ...headers, ":path": `/pi.PiCalculator/${path}` }, envelope(request999))
          assert.equal(grpcStatus(answer), deadlineExceeded)
          yield* Deferred.await(ended)
          assert.equal(yield* Deferred.await(seen), "deadline_exceeded")
        }
      }))

    test(`ends at ${whose} when its request has not come by then, and runs no program`, () =>
      Effect.gen(function* () {
        let ran = false
        const calc = () =>
          Effect.sync(() => {
            ran = true
            return { value: 3 }
          })
        const session = yield* http2Session(yield* start(Service.partial(PiCalculator, { calc }).pipe(layer)))
        const stream = session.request(
          { ":method": "POST", ":path": "/pi.PiCalculator/Calc", te: "trailers", ...headers },
          { endStream: false },
        )
        const answered = yield* Effect.callback<http2.IncomingHttpHeaders, Error>((resume) => {
          stream.on("response", (answer) => resume(Effect.succeed(answer)))
          stream.on("error", (error) => resume(Effect.fail(error)))
        })
        stream.close(http2.constants.NGHTTP2_CANCEL)
        assert.equal(answered["grpc-status"], String(deadlineExceeded))
        assert.equal(ran, false)
      }))
  }

  test("isn't begun when its deadline has passed as it comes", () =>
    Effect.gen(function* () {
      let ran = 0
      const calc = () => Effect.sync(() => ({ value: ran++ }))
      const calcStream = () => Stream.fromEffect(Effect.sync(() => ({ value: ran++ })))
      const service = Service.partial(PiCalculator, { calc, calcStream })
      const request = requests2(yield* http2Session(yield* start(service)))
      for (const path of ["Calc", "CalcStream"]) {
        const headers = { ...grpc, "grpc-timeout": "0n", ":path": `/pi.PiCalculator/${path}` }
        assert.equal(grpcStatus(yield* request(headers, envelope(request999))), deadlineExceeded)
      }
      assert.equal(ran, 0)
    }))
})
