import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { delay } from "../../../src/core/layers/delay.ts"
import { hedge } from "../../../src/core/layers/hedge.ts"
import { retry } from "../../../src/core/layers/retry.ts"
import { roundRobin } from "../../../src/core/layers/roundRobin.ts"
import type { Channel, ChannelLayer } from "../../../src/core/rpc/channel.ts"
import * as Deadline from "../../../src/core/rpc/deadline.ts"
import { RpcError } from "../../../src/core/rpc/error.ts"
import { testWithClock } from "../../effect.ts"
import { steady } from "../attempts.ts"
import { ask, fleet, linger, unavailable } from "../balance/fleet.ts"
import { clientOf, serving, testEachKind } from "../support.ts"

const refused = new RpcError({ code: "unavailable", message: "nothing listens on 10.0.0.1:80" })
const again = retry({ methods: "all", maxAttempts: 100, backoff: { initial: 300, multiplier: 1 } })
const piped =
  (...layers: ReadonlyArray<ChannelLayer>): ChannelLayer =>
  (channel) =>
    layers.reduce((inner, layer) => layer(inner), channel)

const why = "the deadline passed before the call ended"

describe("a call whose deadline passes says what its attempts met", () => {
  const ways: Readonly<Record<string, ChannelLayer>> = {
    "while it waits for the next": piped(again, deadline(1_000)),
    "behind a layer that takes time of its own": piped(again, delay(1), deadline(1_000)),
  }
  for (const [how, layer] of Object.entries(ways)) {
    testEachKind(
      how,
      ({ ask: asks }) =>
        Effect.gen(function* () {
          const client = yield* clientOf(serving(Effect.fail(refused)), layer)
          const call = yield* Effect.forkChild(Effect.flip(asks(client)))
          yield* TestClock.adjust(1_000)
          const { code, message, cause } = yield* Fiber.join(call)
          assert.equal(code, "deadline_exceeded")
          assert.equal(message, `${why} (4 attempts failed, the last with unavailable: ${refused.message})`)
          assert.equal(cause, refused)
        }).pipe(steady),
      testWithClock,
    )
  }

  testEachKind(
    "while the last of them runs, and with a deadline that it inherits",
    ({ ask: asks }) =>
      Effect.gen(function* () {
        let attempts = 0
        const program = Effect.suspend(() => (++attempts === 1 ? Effect.fail(refused) : Effect.never))
        const client = yield* clientOf(serving(program), again)
        const call = yield* Effect.forkChild(Effect.flip(Deadline.within("1 second")(asks(client))))
        yield* TestClock.adjust(1_000)
        const { message } = yield* Fiber.join(call)
        assert.equal(message, `${why} (an attempt failed with unavailable: ${refused.message})`)
      }).pipe(steady),
    testWithClock,
  )

  testWithClock("while others of them run beside it", () =>
    Effect.gen(function* () {
      let attempts = 0
      const program = Effect.suspend(() => (++attempts === 1 ? Effect.fail(refused) : Effect.never))
      const { calc } = yield* clientOf(serving(program), piped(hedge({ delay: 100, methods: "all" }), deadline(1_000)))
      const call = yield* Effect.forkChild(Effect.flip(calc({ n: 1 })))
      yield* TestClock.adjust(1_000)
      assert.equal((yield* Fiber.join(call)).message, `${why} (an attempt failed with unavailable: ${refused.message})`)
    }),
  )

  testWithClock("and leaves other errors as they are", () =>
    Effect.gen(function* () {
      let attempts = 0
      const wrong = new RpcError({ code: "not_found", message: "no such n" })
      const program = Effect.suspend(() => Effect.fail(++attempts === 1 ? refused : wrong))
      const { calc } = yield* clientOf(serving(program), piped(again, deadline("1 hour")))
      const call = yield* Effect.forkChild(Effect.flip(calc({ n: 1 })))
      yield* TestClock.adjust("1 second")
      const { code, message } = yield* Fiber.join(call)
      assert.deepEqual([code, message], ["not_found", "no such n"])
    }).pipe(steady),
  )
})

describe("a call that waits for an endpoint until its deadline says why there is none", () => {
  const late = Effect.fnUntraced(function* (channel: Channel) {
    const call = yield* Effect.forkChild(Effect.flip(Deadline.within("1 second")(ask(channel.pipe(roundRobin())))))
    yield* TestClock.adjust("1 second")
    const error = yield* Fiber.join(call)
    assert.ok(error instanceof RpcError)
    assert.equal(error.code, "deadline_exceeded")
    return error.message
  })
  const unsent = "the deadline passed before the call could be sent"

  testWithClock("the registry hasn't told them, or can't", () =>
    Effect.gen(function* () {
      const { channel, fail } = yield* fleet({ waitForReady: true })
      assert.equal(yield* late(channel), `${unsent}: the endpoints of "pi" aren't known yet`)
      yield* fail(unavailable("etcd is away"))
      assert.equal(yield* late(channel), `${unsent}: the endpoints of "pi" can't be found: etcd is away`)
    }),
  )

  testWithClock("the registry knows of none", () =>
    Effect.gen(function* () {
      const { channel } = yield* fleet({ waitForReady: true, listed: [] })
      assert.match(
        yield* late(channel),
        /^the deadline .*: no endpoint of "pi" is known: is a server of it registered\?$/,
      )
    }),
  )

  testWithClock("none is connected to yet, or the last that failed says why", () =>
    Effect.gen(function* () {
      const { channel, at } = yield* fleet({ waitForReady: true, listed: ["a", "b"], connect: linger })
      assert.equal(yield* late(channel), `${unsent}: none of the 2 endpoints of "pi" could be connected to yet`)
      at("b").connectivity.trouble = "cannot connect to b: nothing listens there"
      yield* at("b").set("transient_failure")
      assert.equal(yield* late(channel), `${unsent}: cannot connect to b: nothing listens there`)
    }),
  )
})
