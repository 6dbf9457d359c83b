import assert from "node:assert/strict"
import { describe, test as nodeTest } from "node:test"
import { Deferred, Effect } from "effect"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { frameType } from "../../../src/transport/http2/frames.ts"
import { Keepalive, keepaliveTimes } from "../../../src/transport/net/keepalive.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { pi, request999, start } from "../support.ts"
import { call, endOf, isPing, ofType, peer } from "./support.ts"

describe("keepalive", () => {
  nodeTest("asks a peer that was silent for the time, and gives it up after the timeout", () => {
    const keepalive = new Keepalive({ time: 100, timeout: 20 })
    assert.equal(keepalive.next(1000, 1000), 1100)
    assert.equal(keepalive.due(1099, 1000), "nothing")
    assert.equal(keepalive.due(1100, 1000), "ping")
    assert.equal(keepalive.next(1100, 1000), 1120)
    assert.equal(keepalive.due(1119, 1000), "nothing")
    assert.equal(keepalive.due(1120, 1000), "close")
  })

  nodeTest("takes any byte for an answer, and asks again when there was none for the time", () => {
    const keepalive = new Keepalive({ time: 100, timeout: 20 })
    assert.equal(keepalive.due(1100, 1000), "ping")
    assert.equal(keepalive.due(1120, 1119), "nothing")
    assert.equal(keepalive.next(1120, 1119), 1219)
    assert.equal(keepalive.due(1219, 1119), "ping")
    assert.equal(keepalive.due(1239, 1119), "close")
  })

  nodeTest("doesn't wait out a timeout longer than the time before it asks again", () => {
    const keepalive = new Keepalive({ time: 100, timeout: 1000 })
    assert.equal(keepalive.due(100, 0), "ping")
    assert.equal(keepalive.next(100, 0), 200)
    assert.equal(keepalive.next(200, 101), 201)
    assert.equal(keepalive.due(201, 101), "ping")
    assert.equal(keepalive.due(1200, 101), "nothing")
    assert.equal(keepalive.due(1201, 101), "close")
  })

  nodeTest("asks nothing of a peer that speaks", () => {
    const keepalive = new Keepalive({ time: 100, timeout: 20 })
    for (let now = 0; now < 1000; now += 50) assert.equal(keepalive.due(now, now), "nothing")
  })

  nodeTest("that comes late asks first: a machine that slept doesn't know of its peer's silence", () => {
    const keepalive = new Keepalive({ time: 100, timeout: 20 })
    assert.equal(keepalive.due(1_000_000, 0), "ping")
    assert.equal(keepalive.due(1_000_020, 0), "close")
  })

  nodeTest("asks a peer at once that is doubted, and gives it five seconds, or the timeout if that is shorter", () => {
    for (const [timeout, patience] of [
      [20_000, 5_000],
      [100, 100],
    ] as const) {
      const keepalive = new Keepalive({ time: 600_000, timeout })
      assert.equal(keepalive.doubt(1_000, 0), "ping")
      assert.equal(keepalive.doubt(1_001, 0), "nothing")
      assert.equal(keepalive.next(1_001, 0), 1_000 + patience)
      assert.equal(keepalive.due(1_000 + patience - 1, 0), "nothing")
      assert.equal(keepalive.due(1_000 + patience, 0), "close")
    }
  })

  nodeTest("asks a peer that only answers PINGs less and less often, and one that says more soon again", () => {
    const keepalive = new Keepalive({ time: Number.POSITIVE_INFINITY, timeout: 20_000 })
    const pings: Array<number> = []
    let heardAt = 0
    // It is doubted each second, and answers at once.
    for (let second = 1; second <= 3600; second++) {
      if (keepalive.doubt(second * 1000, heardAt) !== "ping") continue
      pings.push(second)
      heardAt = second * 1000
    }
    assert.deepEqual(pings.slice(0, 6), [1, 6, 16, 36, 76, 156])
    assert.ok(
      pings.slice(7).every((at, i) => at - (pings[i + 6] ?? 0) === 300),
      `${pings}`,
    )
    heardAt = 3_700_000
    assert.equal(keepalive.doubt(4_000_000, heardAt), "ping")
    heardAt = 4_000_001
    assert.equal(keepalive.doubt(4_009_999, heardAt), "nothing")
    assert.equal(keepalive.doubt(4_010_000, heardAt), "ping")
  })

  nodeTest("waits once more for a peer's answer when the process itself has stood still", () => {
    const keepalive = new Keepalive({ time: 100, timeout: 20 })
    assert.equal(keepalive.due(100, 0), "ping")
    assert.equal(keepalive.due(5_000, 0), "nothing")
    assert.equal(keepalive.due(5_999, 0), "nothing")
    assert.equal(keepalive.due(6_000, 0), "close")
    // What it reads then was there before.
    assert.equal(keepalive.due(6_000, 5_950), "nothing")
  })

  nodeTest("waits two hours and then 20 seconds if nothing is said, and for ever if that is", () => {
    assert.deepEqual(keepaliveTimes({}), { time: 7_200_000, timeout: 20_000 })
    const never = new Keepalive(keepaliveTimes({ time: "Infinity" }))
    assert.equal(never.next(0, 0), Number.POSITIVE_INFINITY)
    assert.equal(never.due(Number.MAX_SAFE_INTEGER, 0), "nothing")
  })
})

describe("a client of a server with keepalive", () => {
  test("that answers PINGs and says nothing else stays, and is served", () =>
    Effect.gen(function* () {
      const server = yield* start(pi, { keepalive: { time: "10 millis", timeout: "1 minute" } })
      const { frame, frames, send } = yield* peer(server)
      yield* frames(5, isPing)
      yield* send(call(1, "Calc", request999))
      yield* frame(endOf(1))
    }))

  test("that is silent is asked once, then closed, and its call is interrupted", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const service = Service.partial(PiCalculator, {
        calc: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)),
      })
      const server = yield* start(service, { keepalive: { time: "50 millis", timeout: "50 millis" } })
      const { send, closed } = yield* peer(server, false)
      yield* send(call(1, "Calc", request999))
      const all = yield* closed
      assert.equal(all.filter(isPing).length, 1)
      assert.equal(all.filter(ofType(frameType.goaway)).length, 0)
      yield* Deferred.await(interrupted)
    }))
})
