import assert from "node:assert/strict"
import { describe, test as nodeTest } from "node:test"
import { Deferred, Effect, Fiber } from "effect"
import { PiCalculator } from "../../../src/transport/gen/pi_pb.ts"
import { errorCode, frameType, maxInt31 } from "../../../src/transport/http2/frames.ts"
import { Lifetime, lifetimeTimes } from "../../../src/transport/net/lifetime.ts"
import * as Service from "../../../src/transport/service.ts"
import { test } from "../../effect.ts"
import { between, dial, pi, request999, start } from "../support.ts"
import { call, endOf, goaway, isPing, ofType, peer, pong } from "./support.ts"

const never = Number.POSITIVE_INFINITY

describe("a lifetime", () => {
  nodeTest("ends when no call has run for the idle time, counted from the last one's end", () => {
    const lifetime = new Lifetime({ idle: 100, age: never, ageGrace: never }, 0, 0.5)
    assert.equal(lifetime.next(0), 100)
    lifetime.begin()
    assert.equal(lifetime.due(100), "nothing")
    assert.equal(lifetime.due(100_000), "nothing")
    lifetime.rest(100_050)
    assert.equal(lifetime.next(100_060), 100_150)
    assert.equal(lifetime.due(100_149), "nothing")
    assert.equal(lifetime.due(100_150), "drain")
    assert.equal(lifetime.due(200_000), "nothing", "once")
  })

  nodeTest("is asked again while a call runs, as early as idleness could end it and no earlier", () => {
    const lifetime = new Lifetime({ idle: 100, age: never, ageGrace: never }, 0, 0.5)
    lifetime.begin()
    assert.equal(lifetime.next(1000), 1100)
    lifetime.rest(1001)
    assert.equal(lifetime.due(1100), "nothing")
    assert.equal(lifetime.next(1100), 1101)
  })

  nodeTest("ends at its age, calls or not, and is cut after the grace", () => {
    const lifetime = new Lifetime({ idle: never, age: 1000, ageGrace: 100 }, 50, 0.5)
    lifetime.begin()
    assert.equal(lifetime.due(1049), "nothing")
    assert.equal(lifetime.due(1050), "drain")
    assert.equal(lifetime.next(1050), 1150)
    assert.equal(lifetime.due(1149), "nothing")
    assert.equal(lifetime.due(1150), "close")
  })

  nodeTest("has an age of up to a tenth more or less, by chance", () => {
    const ends = [0, 0.5, 1].map((chance) =>
      Math.round(new Lifetime({ idle: never, age: 1000, ageGrace: never }, 0, chance).next(0)),
    )
    assert.deepEqual(ends, [900, 1000, 1100])
  })

  nodeTest("has no end if none is given", () => {
    const lifetime = new Lifetime(lifetimeTimes({}), 0, Math.random())
    assert.equal(lifetime.next(0), never)
    assert.equal(lifetime.due(Number.MAX_SAFE_INTEGER), "nothing")
  })
})

/** A service whose calls wait until they are let go. */
const held = Effect.gen(function* () {
  const arrived = yield* Deferred.make<void>()
  const go = yield* Deferred.make<void>()
  const service = Service.partial(PiCalculator, {
    calc: () => Effect.as(Effect.andThen(Deferred.succeed(arrived, undefined), Deferred.await(go)), { value: 3 }),
  })
  return { service, arrived: Deferred.await(arrived), letGo: Deferred.succeed(go, undefined) }
})

describe("a connection that may be idle for a time", () => {
  test("is told to go away when it was, twice as RFC 9113 has it, and then closed", () =>
    Effect.gen(function* () {
      const { send, frame, closed } = yield* peer(yield* start(pi, { connection: { maxIdle: "50 millis" } }))
      yield* send(call(1, "Calc", request999))
      yield* frame(endOf(1))
      assert.deepEqual((yield* closed).filter(ofType(frameType.goaway)).map(goaway), [
        [maxInt31, errorCode.noError],
        [1, errorCode.noError],
      ])
    }))

  test("stays while a call runs", () =>
    Effect.gen(function* () {
      const { service, arrived, letGo } = yield* held
      const { send, closed } = yield* peer(yield* start(service, { connection: { maxIdle: "20 millis" } }))
      yield* send(call(1, "Calc", request999))
      yield* arrived
      yield* Effect.sleep("200 millis")
      yield* letGo
      const all = yield* closed
      assert.ok(all.findIndex(endOf(1)) < all.findIndex(ofType(frameType.goaway)))
    }))

  test("takes the call that was under way when it was told to go", () =>
    Effect.gen(function* () {
      const server = yield* start(pi, { connection: { maxIdle: "50 millis" } })
      const { send, frame, closed } = yield* peer(server, false)
      yield* frame(ofType(frameType.goaway))
      const asked = yield* frame(isPing)
      yield* send(call(1, "Calc", request999), pong(asked))
      const all = yield* closed
      assert.ok(all.some(endOf(1)) && !all.some(ofType(frameType.rstStream)))
      assert.deepEqual(all.filter(ofType(frameType.goaway)).map(goaway), [
        [maxInt31, errorCode.noError],
        [1, errorCode.noError],
      ])
    }))

  test("is closed though the client answers nothing", () =>
    Effect.gen(function* () {
      const { closed } = yield* peer(yield* start(pi, { connection: { maxIdle: "50 millis" } }), false)
      assert.equal((yield* closed).filter(ofType(frameType.goaway)).length, 2)
    }))
})

describe("a connection that has its age", () => {
  test("lets its calls end, and a client of ours makes its next ones on another", () =>
    Effect.gen(function* () {
      const { service, arrived, letGo } = yield* held
      const server = yield* start(service, { connection: { maxAge: "100 millis" } })
      const middle = yield* between(server)
      const client = yield* dial(middle)
      const running = yield* Effect.forkChild(client.calc({ n: 1 }))
      yield* arrived
      const { closed } = yield* peer(server)
      yield* closed
      const connections = () => `${middle.sent()}`.split("PRI * HTTP/2.0").length - 1
      assert.equal(connections(), 1)
      yield* letGo
      assert.equal((yield* Fiber.join(running)).value, 3)
      yield* middle.idle
      // The next one may just have its age, too.
      const again = yield* Effect.retry(client.calc({ n: 1 }), { while: ({ code }) => code === "unavailable" })
      assert.equal(again.value, 3)
      assert.ok(connections() > 1)
    }))

  test("is cut after the grace, and what still runs on it is interrupted", () =>
    Effect.gen(function* () {
      const interrupted = yield* Deferred.make<void>()
      const service = Service.partial(PiCalculator, {
        calc: () => Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)),
      })
      const server = yield* start(service, { connection: { maxAge: "50 millis", maxAgeGrace: "50 millis" } })
      const client = yield* dial(server)
      const error = yield* Effect.flip(client.calc({ n: 1 }))
      assert.equal(error.code, "unavailable")
      yield* Deferred.await(interrupted)
    }))
})
