/**
 * Whatever a server says, each call of a client comes to one end, and leaves nothing behind.
 */
import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe } from "node:test"
import { Effect, Fiber, Stream } from "effect"
import fc from "fast-check"
import { fromConnector } from "../../../src/core/rpc/channel.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import * as Client from "../../../src/transport/client.ts"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import * as GrpcClient from "../../../src/transport/grpc/client.ts"
import { property, settle } from "../../core/support.ts"
import { test } from "../../effect.ts"
import { block, fields } from "../http2/support.ts"
import { memoryLine } from "../net/memoryLine.ts"
import { envelope, frame } from "../support.ts"

const some = (pairs: Readonly<Record<string, string>>) => block(fields(pairs))

const ok = some({ ":status": "200", "content-type": "application/grpc" })
const end = some({ "grpc-status": "0" })
const payloads: ReadonlyArray<Uint8Array> = [
  ok,
  ok,
  ok,
  end,
  end,
  some({ ":status": "200", "content-type": "application/grpc", "grpc-status": "3" }),
  some({ ":status": "200", "content-type": "application/grpc", "grpc-encoding": "gzip" }),
  some({ ":status": "502", "content-type": "text/html" }),
  some({ ":status": "103" }),
  some({ "grpc-status": "zero", "grpc-message": "%", "grpc-status-details-bin": "?" }),
  // A number, what is no message, two of them, one that is cut off, one that is compressed, one that is too long.
  envelope(Buffer.from([0x09, 0, 0, 0, 0, 0, 0, 0, 0])),
  envelope(Buffer.of(0xff)),
  Buffer.concat([envelope(new Uint8Array()), envelope(new Uint8Array())]),
  Buffer.of(0, 0, 0),
  envelope(Buffer.of(1), 1),
  Buffer.of(0, 0xff, 0xff, 0xff, 0xff),
  Buffer.of(0, 0, 0, 7),
  Buffer.of(0, 0, 0, 8),
  Buffer.of(0, 0, 0, 1, 0, 0, 0, 0),
  Buffer.alloc(8),
  new Uint8Array(),
]

const someFrame = fc
  .tuple(
    fc.oneof({ weight: 8, arbitrary: fc.constantFrom(0, 0, 1, 1, 1, 3) }, { weight: 1, arbitrary: fc.nat(10) }),
    fc.constantFrom(4, 4, 5, 0, 1),
    fc.constantFrom(1, 3, 5, 7, 9, 0, 2),
    fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...payloads) }, { weight: 1, arbitrary: fc.uint8Array() }),
  )
  .map(([type, flags, id, payload]) => frame(type, flags, id, payload))

const lives = Effect.fnUntraced(function* (said: ReadonlyArray<Uint8Array>, which: number) {
  const { line, tries, sessions } = yield* memoryLine()
  const connector = yield* GrpcClient.make(line, {
    codec: "proto",
    waitForReady: false,
    connectivity: line.connectivity,
  })
  const client = Client.make(PiCalculator, fromConnector(connector))
  const requests = Stream.make({ n: 1 }, { n: 2 })
  const calls: ReadonlyArray<Effect.Effect<unknown, RpcError>> = [
    client.calc({ n: 1 }),
    Stream.runDrain(client.calcRange({ first: 1, last: 2 })),
    Stream.runDrain(client.calcStream(requests)),
    client.summarize(Stream.concat(requests, Stream.never)),
  ]
  const fibers = yield* Effect.forEach(calls, (call) => Effect.forkChild(Effect.result(call)))
  yield* settle
  const session = tries[0]?.succeed()
  assert.ok(session)
  yield* settle
  for (const [i, one] of said.entries()) {
    session.says(one)
    if (i % 5 === 0) yield* settle
    const leaver = fibers[which]
    if (i === 7 && leaver !== undefined) yield* Fiber.interrupt(leaver)
  }
  // In the end the connection breaks, and no other can be had.
  for (let turn = 0; turn < 8; turn++) {
    for (const open of sessions) if (open.lost === undefined || !open.connection.over) open.break()
    yield* settle
    for (const one of tries) if (!one.over) one.fail()
    yield* settle
  }
  for (const fiber of fibers) {
    const exit = fiber.pollUnsafe()
    assert.ok(exit !== undefined, "a call has no end")
    if (exit._tag === "Success" && exit.value._tag === "Failure") assert.ok(exit.value.failure instanceof RpcError)
    else if (exit._tag === "Failure") assert.equal(fibers.indexOf(fiber), which, String(exit.cause))
  }
  for (const { connection } of sessions) assert.equal(connection.openStreams, 0)
})

describe("whatever a server says", () => {
  test("each call of a client comes to one end", () =>
    property(
      fc.tuple(fc.array(someFrame, { maxLength: 25 }), fc.nat(6)),
      ([said, which]) => Effect.scoped(lives(said, which)),
      { numRuns: Math.ceil(400 * Number(process.env.FUZZ_RUNS ?? 1)) },
    ))
})
