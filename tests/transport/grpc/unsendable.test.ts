import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Stream } from "effect"
import { intercept } from "../../../src/core/layers/intercept.ts"
import { Call } from "../../../src/core/rpc/call.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import type { Metadata } from "../../../src/core/rpc/metadata.ts"
import { connect } from "../../../src/transport/channel.ts"
import * as Client from "../../../src/transport/client.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { scripted } from "../scripted.ts"
import { type Answer, dial, envelope, http2Session, pi, request999, requests2, start, withLog } from "../support.ts"

const evil: ReadonlyArray<Metadata> = [
  [["x-a", "b\r\nx-evil: 1"]],
  [["x-a", "\0"]],
  [["X-A", "b"]],
  [["connection", "close"]],
  [["te", "trailers"]],
  [["grpc-status", "0"]],
]

const setHeader = (metadata: Metadata) =>
  Effect.map(Call, ({ response }) => {
    response.header = metadata
  })
const setTrailer = (metadata: Metadata) =>
  Effect.map(Call, ({ response }) => {
    response.trailer = metadata
  })
const failing = (metadata: Metadata) => Effect.fail(new RpcError({ code: "not_found", message: "no", metadata }))

const places: Readonly<Record<string, (metadata: Metadata) => Effect.Effect<void, RpcError, Call>>> = {
  "its header": setHeader,
  "its trailer": setTrailer,
  "its error": failing,
  "the header before an error": (metadata) => Effect.andThen(setHeader(metadata), failing([])),
  "the trailer of an error": (metadata) => Effect.andThen(setTrailer(metadata), failing([])),
}

const said = ({ headers, trailers }: Answer) => {
  const all = { ...headers, ...trailers }
  return [all["grpc-status"], all["grpc-message"]]
}

describe("a gRPC response with metadata that can't be sent", () => {
  for (const [place, put] of Object.entries(places)) {
    test(`has none of it and is internal, and the log names the key: ${place}`, () =>
      withLog((lines) =>
        Effect.gen(function* () {
          for (const metadata of evil) {
            const service = Service.partial(PiCalculator, {
              calc: () => Effect.as(put(metadata), { value: 3 }),
              calcStream: () => Stream.fromEffect(Effect.as(put(metadata), { n: 1, value: 3 })),
            })
            const request = requests2(yield* http2Session(yield* start(service)))
            for (const path of ["Calc", "CalcStream"]) {
              lines.length = 0
              const answer = yield* request(
                { "content-type": "application/grpc", ":path": `/pi.PiCalculator/${path}` },
                envelope(request999),
              )
              assert.deepEqual(said(answer), ["13", "internal error"])
              const key = metadata[0]?.[0] ?? ""
              for (const fields of [answer.headers, answer.trailers]) {
                assert.equal(Object.hasOwn(fields, key) && key !== "grpc-status", false)
                assert.equal(Object.hasOwn(fields, "x-evil"), false)
              }
              assert.equal(lines.length, 1, lines.join("\n"))
              assert.ok(lines[0]?.includes(`pi.PiCalculator/${path} has a response that can't be sent`), lines.join())
              assert.ok(lines[0]?.includes(JSON.stringify(key)), lines.join())
              assert.doesNotMatch(lines[0] ?? "", /evil/)
            }
          }
        }),
      ))
  }
})

describe("a gRPC call with metadata that can't be sent", () => {
  test("opens no stream, and fails with internal", () =>
    Effect.gen(function* () {
      const server = yield* scripted()
      for (const metadata of evil) {
        const { calc, calcRange } = yield* dial(
          server,
          {},
          intercept((call, next) => next({ ...call, metadata })),
        )
        for (const call of [calc({ n: 1 }), Stream.runDrain(calcRange({ first: 1, last: 2 }))]) {
          const error = yield* Effect.flip(call as Effect.Effect<unknown, RpcError>)
          assert.equal(error.code, "internal")
          assert.ok(error.message.includes(JSON.stringify(metadata[0]?.[0])), error.message)
        }
      }
      assert.equal(server.peers.length, 0)
    }))

  test("reaches no server over Connect and gRPC-Web either", () =>
    Effect.gen(function* () {
      const server = yield* start(pi)
      for (const protocol of ["connect", "grpc-web"] as const) {
        for (const metadata of evil) {
          const channel = (yield* connect(server.url, { protocol })).pipe(
            intercept((call, next) => next({ ...call, metadata })),
          )
          const error = yield* Effect.flip(Client.make(PiCalculator, channel).calc({ n: 1 }))
          assert.equal(error.code, "internal")
          assert.ok(error.message.includes(JSON.stringify(metadata[0]?.[0])), error.message)
        }
      }
    }))
})
