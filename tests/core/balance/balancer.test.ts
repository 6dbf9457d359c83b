import assert from "node:assert/strict"
import { describe } from "node:test"
import { Deferred, Effect, Exit, Fiber, Scheduler, Stream } from "effect"
import { TestClock } from "effect/testing"
import { deadline } from "../../../src/core/layers/deadline.ts"
import { pickFirst } from "../../../src/core/layers/pickFirst.ts"
import { roundRobin } from "../../../src/core/layers/roundRobin.ts"
import type { Kind, Method } from "../../../src/core/rpc/call.ts"
import { type Channel, callStream, inMemory } from "../../../src/core/rpc/channel.ts"
import type { State } from "../../../src/core/rpc/connectivity.ts"
import type { RpcError } from "../../../src/core/rpc/error.ts"
import { untaken } from "../../../src/core/rpc/untaken.ts"
import { test, testWithClock } from "../../effect.ts"
import { echo, type Logged, logInto, method, settle } from "../support.ts"
import { ask, counts, fleet, linger, unavailable } from "./fleet.ts"
import { waitForReady } from "./waitForReady.ts"

const of = (kind: Kind): Method => ({ ...method, kind })

/** Makes a call of a kind, and gives its answers. */
const askOf = (channel: Channel, kind: Kind): Effect.Effect<ReadonlyArray<unknown>, RpcError> =>
  kind === "unary"
    ? Effect.map(ask(channel), (answer) => [answer])
    : Stream.runCollect(
        callStream(channel, of(kind), kind === "server_streaming" ? Stream.make(1) : Stream.make(1, 2, 3)),
      )

const said = ({ code, message }: RpcError) => `${code}: ${message}`

/** A call that runs by itself. */
const asking = (channel: Channel) => Effect.forkChild(Effect.exit(ask(channel)))

/** Lets it connect. */
const connected = (channel: Channel) =>
  Effect.as(Effect.andThen(channel.connector.connectivity.connect, settle), channel)

const waits = (fiber: Fiber.Fiber<unknown, unknown>) => fiber.pollUnsafe() === undefined

describe("a balanced channel", () => {
  test("opens and connects nothing before the first call", () =>
    Effect.gen(function* () {
      const { channel, servers } = yield* fleet({ listed: ["a", "b"] })
      assert.equal(servers.length, 0)
      assert.equal(yield* channel.connector.connectivity.state, "idle")
      yield* ask(channel.pipe(roundRobin()))
      assert.deepEqual(
        servers.map(({ tries }) => tries),
        [1, 1],
      )
    }))

  for (const [kind, answers] of [
    ["unary", 1],
    ["server_streaming", 3],
    ["client_streaming", 1],
    ["bidi_streaming", 3],
  ] as const) {
    test(`carries calls of all kinds (${kind}), those too that came before an endpoint was ready`, () =>
      Effect.gen(function* () {
        const { channel, list, servers } = yield* fleet()
        const early = yield* Effect.forkChild(askOf(channel, kind))
        yield* settle
        assert.ok(waits(early))
        yield* list("a")
        assert.deepEqual(
          yield* Fiber.join(early),
          Array.from({ length: answers }, () => "a"),
        )
        assert.deepEqual(
          yield* askOf(channel, kind),
          Array.from({ length: answers }, () => "a"),
        )
        yield* settle
        yield* list()
        // Nothing counts as running any more.
        assert.deepEqual(
          servers.map(({ closed }) => closed),
          [true],
        )
      }))
  }

  test("fails calls while no endpoint is known, but for those that wait for the server", () =>
    Effect.gen(function* () {
      const { channel, list } = yield* fleet({ listed: [] })
      const patient = yield* asking(channel.pipe(waitForReady))
      const error = yield* Effect.flip(ask(channel))
      assert.equal(said(error), 'unavailable: no endpoint of "pi" is known: is a server of it registered?')
      yield* settle
      assert.ok(waits(patient))
      yield* list("a")
      assert.deepEqual(yield* Fiber.join(patient), Exit.succeed("a"))
    }))

  test("fails calls while nobody knows which endpoints there are, but for those that wait for the server", () =>
    Effect.gen(function* () {
      const { channel, fail, list } = yield* fleet()
      const before = yield* asking(channel)
      const waiting = yield* asking(waitForReady(channel))
      yield* settle
      assert.ok(waits(before))
      yield* fail(unavailable("the registry is away"))
      const reason = 'unavailable: the endpoints of "pi" can\'t be found: the registry is away'
      assert.equal(said(yield* Effect.flip(Effect.flatten(Fiber.join(before)))), reason)
      assert.equal(said(yield* Effect.flip(ask(channel))), reason)
      assert.equal(yield* channel.connector.connectivity.state, "transient_failure")
      assert.ok(waits(waiting))
      yield* list("a")
      assert.equal(yield* Effect.flatten(Fiber.join(waiting)), "a")
      assert.equal(yield* ask(channel), "a")
      // What was known stands.
      yield* fail(unavailable("the registry is away"))
      assert.equal(yield* ask(channel), "a")
    }))

  test("lets calls wait while endpoints connect, and fails them with the last reason when none can be had", () =>
    Effect.gen(function* () {
      const { channel, at } = yield* fleet({ listed: ["a", "b"], connect: linger })
      const balanced = channel.pipe(roundRobin())
      const [call, patient] = [yield* asking(balanced), yield* asking(balanced.pipe(waitForReady))]
      yield* settle
      yield* at("a").set("transient_failure")
      assert.ok(waits(call))
      yield* at("b").set("transient_failure")
      assert.ok(waits(patient))
      const exit = yield* Fiber.join(call)
      assert.ok(Exit.isFailure(exit))
      assert.match(said(yield* Effect.flip(exit)), /^unavailable: no way to [ab]$/)
      // It tries again by itself; to those who don't wait it has failed until it succeeds.
      yield* at("a").set("idle")
      assert.deepEqual([at("a").tries, at("b").tries], [2, 1])
      assert.equal(said(yield* Effect.flip(ask(balanced))), "unavailable: no way to b")
      yield* at("a").set("ready")
      assert.deepEqual(yield* Fiber.join(patient), Exit.succeed("a"))
    }))

  test("wakes calls that are just about to wait when an endpoint is ready", () =>
    Effect.gen(function* () {
      for (let steps = 3; steps <= 12; steps++) {
        for (let turns = 0; turns <= 12; turns++) {
          const { channel, at, close } = yield* fleet({ listed: ["a"], connect: linger })
          yield* connected(channel)
          // After so many steps it lets others run, wherever it is.
          const asked = Effect.provideService(ask(channel), Scheduler.MaxOpsBeforeYield, steps)
          const call = yield* Effect.forkChild(asked)
          for (let i = 0; i < turns; i++) yield* Effect.yieldNow
          at("a").connectivity.set("ready")
          yield* settle
          assert.equal(call.pollUnsafe()?._tag, "Success", `after ${steps} steps and ${turns} turns`)
          yield* close
        }
      }
    }))

  testWithClock("ends calls that wait at their deadlines, and keeps nothing of those that ended or were left", () =>
    Effect.gen(function* () {
      const { channel, list, at } = yield* fleet()
      const call = yield* asking(channel.pipe(deadline("5 seconds")))
      const left = yield* asking(channel)
      yield* settle
      yield* TestClock.adjust("4999 millis")
      assert.ok(waits(call))
      yield* TestClock.adjust("1 millis")
      const exit = yield* Fiber.join(call)
      assert.ok(Exit.isFailure(exit))
      assert.equal((yield* Effect.flip(exit)).code, "deadline_exceeded")
      yield* Fiber.interrupt(left)
      yield* list("a")
      yield* ask(channel)
      assert.equal(at("a").taken, 1)
    }),
  )

  test("leaves an endpoint that can't be opened out, and says so once", () => {
    const lines: Array<Logged> = []
    return Effect.gen(function* () {
      const { channel } = yield* fleet({ listed: ["bad", "a"], broken: ["bad"] })
      assert.deepEqual(yield* counts(channel.pipe(roundRobin()), 10), new Map([["a", 10]]))
      assert.deepEqual(yield* counts(channel.pipe(pickFirst({ shuffle: false })), 10), new Map([["a", 10]]))
      assert.deepEqual(
        lines.map(({ level, text }) => [level, text]),
        [["Warn", 'no call can be sent to the endpoint "bad" of "pi", which is left out: bad is broken']],
      )
    }).pipe(Effect.provide(logInto(lines)))
  })

  test("says what is wrong with its only endpoint", () =>
    Effect.gen(function* () {
      const { channel } = yield* fleet({ listed: ["bad"], broken: ["bad"] })
      const error = yield* Effect.flip(ask(channel))
      assert.equal(said(error), 'unavailable: no call can be sent to the endpoint "bad" of "pi": bad is broken')
    }).pipe(Effect.provide(logInto([]))))

  test("fails what waits when it is closed, closes all that it opened, and takes no more calls", () =>
    Effect.gen(function* () {
      const { channel, servers, close } = yield* fleet({ listed: ["a", "b"], connect: linger })
      const balanced = channel.pipe(roundRobin())
      const call = yield* asking(balanced)
      yield* settle
      yield* close
      const exit = yield* Fiber.join(call)
      assert.ok(Exit.isFailure(exit))
      assert.equal(said(yield* Effect.flip(exit)), "cancelled: the channel is closed")
      assert.deepEqual(
        servers.map(({ closed }) => closed),
        [true, true],
      )
      assert.equal((yield* Effect.flip(ask(balanced))).code, "cancelled")
      assert.equal(yield* balanced.connector.connectivity.state, "shutdown")
    }))

  test("is left alone by no layer but those that choose how it is balanced; other channels are", () =>
    Effect.gen(function* () {
      const plain = yield* inMemory(echo)
      assert.equal(plain.pipe(roundRobin()), plain)
      const { channel } = yield* fleet()
      assert.notEqual(channel.pipe(roundRobin()).connector, channel.connector)
    }))
})

describe("an endpoint that is no longer listed", () => {
  test("gets no further calls at once, and is closed when those that run there have ended", () =>
    Effect.gen(function* () {
      const go = yield* Deferred.make<void>()
      const { channel, list, at } = yield* fleet({
        listed: ["a"],
        program: ({ address }) => (address === "a" ? Effect.as(Deferred.await(go), address) : Effect.succeed(address)),
      })
      const balanced = channel.pipe(roundRobin())
      const running = yield* asking(balanced)
      yield* settle
      yield* list("b")
      assert.deepEqual(yield* counts(balanced, 5), new Map([["b", 5]]))
      assert.deepEqual([at("a").running, at("a").closed], [1, false])
      yield* Deferred.succeed(go, undefined)
      assert.deepEqual(yield* Fiber.join(running), Exit.succeed("a"))
      yield* settle
      assert.ok(at("a").closed)
    }))

  testWithClock("is closed after the grace, whatever runs there", () =>
    Effect.gen(function* () {
      const { channel, list, at } = yield* fleet({ listed: ["a"], grace: "10 seconds", program: () => Effect.never })
      const running = yield* asking(channel)
      yield* settle
      yield* list("b")
      yield* TestClock.adjust("9 seconds")
      assert.equal(at("a").closed, false)
      yield* TestClock.adjust("1 second")
      assert.equal(at("a").closed, true)
      yield* Fiber.interrupt(running)
    }),
  )

  test("leaves those alone that stay", () =>
    Effect.gen(function* () {
      const { channel, list, servers } = yield* fleet({ listed: ["a", "b"] })
      const balanced = channel.pipe(roundRobin())
      yield* counts(balanced, 4)
      yield* list("b", "c", "c")
      assert.deepEqual(
        yield* counts(balanced, 4),
        new Map([
          ["b", 2],
          ["c", 2],
        ]),
      )
      assert.deepEqual(
        servers.map(({ address, tries, closed }) => [address, tries, closed]),
        [
          ["a", 1, true],
          ["b", 1, false],
          ["c", 1, false],
        ],
      )
    }))
})

describe("a call that its endpoint hasn't taken", () => {
  const refusing = ["a", "b"]
  const program: Parameters<typeof fleet>[0] = {
    listed: ["a", "b", "c"],
    program: ({ address }) =>
      refusing.includes(address) ? Effect.fail(untaken(unavailable(`${address} is full`))) : Effect.succeed(address),
  }

  for (const kind of ["unary", "server_streaming"] as const) {
    test(`goes to another one, whatever its method (${kind})`, () =>
      Effect.gen(function* () {
        const { channel } = yield* fleet(program)
        const balanced = yield* connected(channel.pipe(roundRobin()))
        for (let i = 0; i < 10; i++) assert.equal((yield* askOf(balanced, kind))[0], "c")
      }))

    test(`goes to each once, and then fails (${kind})`, () =>
      Effect.gen(function* () {
        const { channel, servers } = yield* fleet({ ...program, listed: refusing })
        const error = yield* Effect.flip(askOf(yield* connected(channel.pipe(roundRobin())), kind))
        assert.match(said(error), /^unavailable: [ab] is full$/)
        assert.deepEqual(
          servers.map(({ taken }) => taken),
          [1, 1],
        )
      }))
  }

  for (const kind of ["client_streaming", "bidi_streaming"] as const) {
    test(`fails where its requests may be gone (${kind})`, () =>
      Effect.gen(function* () {
        const { channel } = yield* fleet({ ...program, listed: refusing })
        assert.equal((yield* Effect.flip(askOf(channel.pipe(roundRobin()), kind))).code, "unavailable")
      }))
  }

  test("fails at once where it was taken", () =>
    Effect.gen(function* () {
      const { channel, servers } = yield* fleet({
        listed: ["a", "b"],
        program: () => Effect.fail(unavailable("the server stumbled")),
      })
      assert.equal(said(yield* Effect.flip(ask(channel.pipe(roundRobin())))), "unavailable: the server stumbled")
      assert.equal(
        servers.reduce((sum, { taken }) => sum + taken, 0),
        1,
      )
    }))

  testWithClock("waits where its endpoint was lost and tries again, and no other is there", () =>
    Effect.gen(function* () {
      const { channel, at } = yield* fleet({ listed: ["a"] })
      yield* ask(channel)
      yield* TestClock.adjust("1 hour")
      const server = at("a")
      // Nobody has heard of it when the call comes.
      server.connectivity.set("idle")
      assert.equal(yield* ask(channel), "a")
      assert.equal(server.tries, 2)
    }),
  )
})

describe("the connectivity of a balanced channel", () => {
  test("is ready if one endpoint is, connecting if one connects, and a failure if all have failed", () =>
    Effect.gen(function* () {
      const { channel, list, at } = yield* fleet({ connect: linger })
      const { connectivity } = channel.pipe(roundRobin()).connector
      const seen: Array<State> = []
      yield* Effect.forkScoped(
        Stream.runForEach(connectivity.changes, (state) => Effect.sync(() => void seen.push(state))),
      )
      yield* settle
      yield* connectivity.connect
      yield* settle
      yield* list("a", "b")
      yield* at("a").set("transient_failure")
      assert.deepEqual(seen, ["idle", "connecting"])
      yield* at("b").set("transient_failure")
      yield* at("b").set("idle")
      assert.deepEqual(seen, ["idle", "connecting", "transient_failure"])
      yield* at("b").set("ready")
      yield* at("a").set("idle", "ready")
      yield* at("b").set("idle")
      assert.deepEqual(seen, ["idle", "connecting", "transient_failure", "ready"])
      yield* list()
      assert.deepEqual(seen, ["idle", "connecting", "transient_failure", "ready", "transient_failure"])
    }))

  testWithClock("connects again at once what was lost, but not what was lost as soon as it was there", () =>
    Effect.gen(function* () {
      const { channel, at } = yield* fleet({ listed: ["a"] })
      yield* ask(channel.pipe(roundRobin()))
      yield* TestClock.adjust("1 hour")
      yield* at("a").set("idle")
      assert.equal(at("a").tries, 2)
      yield* TestClock.adjust("900 millis")
      yield* at("a").set("idle")
      assert.equal(at("a").tries, 2)
      yield* TestClock.adjust("100 millis")
      assert.equal(at("a").tries, 3)
    }),
  )
})
