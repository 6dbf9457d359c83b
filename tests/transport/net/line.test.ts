import assert from "node:assert/strict"
import * as net from "node:net"
import { describe } from "node:test"
import { Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import fc from "fast-check"
import type { RpcError } from "../../../src/core/rpc/error.ts"
import { resetError } from "../../../src/transport/grpc/reset.ts"
import type { Caller, Carrier, ClientStream, Opener } from "../../../src/transport/http2/client.ts"
import { errorCode } from "../../../src/transport/http2/frames.ts"
import { type Handlers, listen } from "../../../src/transport/net/listen.ts"
import { notFound } from "../../../src/transport/refusal.ts"
import { property, settle } from "../../core/support.ts"
import { test, testWithClock } from "../../effect.ts"
import { between, ownScope } from "../support.ts"
import { Asking, type MemorySession, memoryLine, takes } from "./memoryLine.ts"
import { lineTo } from "./support.ts"

const dialed = ({ port }: { readonly port: number }) => lineTo(`http://127.0.0.1:${port}`)

/** A server that gives each request the same answer; with `stingy`, to one stream at a time. */
const server = (answer: Uint8Array = Buffer.from("ok"), port = 0, maxConcurrentStreams = 250) => {
  const handlers: Handlers = {
    http1: notFound,
    http2: (connection, stream) => {
      stream.context = {
        data: (_, start, end) => connection.taken(stream, end - start),
        end: () => {
          connection.sendHeaders(stream, [{ name: ":status", value: "200" }], false)
          connection.sendData(stream, answer)
          connection.sendEnd(stream)
        },
        reset: () => {},
        drained: () => {},
        stop: () => {},
      }
    },
    interrupt: () => {},
  }
  return listen(handlers, { port, grace: 0, limits: { maxConcurrentStreams } })
}

const fields = [
  { name: ":method", value: "POST" },
  { name: ":scheme", value: "http" },
  { name: ":path", value: "/" },
  { name: ":authority", value: "localhost" },
]

/** Makes a request and gives the whole body of its answer. */
const ask = (line: Opener): Effect.Effect<Buffer, RpcError> =>
  Effect.callback((resume) => {
    const parts: Array<Uint8Array> = []
    let opened: readonly [Carrier, ClientStream] | undefined
    const caller: Caller = {
      waitForReady: false,
      fields: () => fields,
      opened: (carrier, stream) => {
        opened = [carrier, stream]
        carrier.connection.sendEnd(stream)
      },
      unopened: (error) => resume(Effect.fail(error)),
      head: () => {},
      data: (bytes, start, end) => {
        parts.push(bytes.slice(start, end))
        if (opened !== undefined) opened[0].connection.taken(opened[1], end - start)
      },
      end: () => resume(Effect.succeed(Buffer.concat(parts))),
      reset: (code) => resume(Effect.fail(opened?.[0].lost ?? resetError(code))),
      drained: () => {},
    }
    line.open(caller)
  })

describe("a line over sockets", () => {
  test("carries many requests on one connection", () =>
    Effect.gen(function* () {
      const middle = yield* between(yield* server())
      const line = yield* dialed(middle)
      const answers = yield* Effect.all(
        Array.from({ length: 50 }, () => ask(line)),
        { concurrency: "unbounded" },
      )
      assert.deepEqual(new Set(answers.map(String)), new Set(["ok"]))
      assert.equal(`${middle.sent()}`.split("PRI * HTTP/2.0").length - 1, 1)
    }))

  test("opens no more streams at once than the server takes, and all of them in the end", () =>
    Effect.gen(function* () {
      const line = yield* dialed(yield* server(Buffer.alloc(100_000, "x"), 0, 2))
      const ask1 = Effect.map(ask(line), ({ length }) => length)
      // The server's settings come with its first answer.
      yield* ask1
      const lengths = yield* Effect.all(
        Array.from({ length: 20 }, () => ask1),
        { concurrency: "unbounded" },
      )
      assert.deepEqual(new Set(lengths), new Set([100_000]))
    }))

  test("is opened again after it was lost, and after the server went away and came back", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const first = yield* Scope.provide(server(), scope)
      const middle = yield* between(first)
      const [direct, cut] = [yield* dialed(first), yield* dialed(middle)]
      yield* ask(direct)
      yield* ask(cut)
      yield* middle.cut
      yield* Effect.eventually(ask(cut))
      yield* Scope.close(scope, Exit.void)
      yield* server(Buffer.from("again"), first.port)
      assert.equal(`${yield* Effect.eventually(ask(direct))}`, "again")
    }))

  test("gives all of an answer that is larger than every window", () =>
    Effect.gen(function* () {
      const answer = Buffer.alloc(10_000_000, "x")
      const line = yield* dialed(yield* server(answer))
      assert.equal((yield* ask(line)).length, answer.length)
    }))

  test("to who closes it at once fails, each time, and nothing else does", () =>
    Effect.gen(function* () {
      const rude = net.createServer((socket) => {
        socket.on("error", () => {})
        socket.destroy()
      })
      yield* Effect.callback<void>((resume) => {
        rude.listen(0, "127.0.0.1", () => resume(Effect.void))
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => rude.close()))
      const bound = rude.address()
      const line = yield* dialed({ port: typeof bound === "object" && bound !== null ? bound.port : 0 })
      for (let attempt = 0; attempt < 5; attempt++) assert.ok(Exit.isFailure(yield* Effect.exit(ask(line))))
    }))

  test("to nobody says so", () =>
    Effect.gen(function* () {
      const scope = yield* ownScope
      const gone = yield* Scope.provide(server(), scope)
      yield* Scope.close(scope, Exit.void)
      const error = yield* Effect.flip(ask(yield* dialed(gone)))
      assert.equal(error.code, "unavailable")
      assert.match(error.message, /nothing listens there/)
    }))

  test("that is closed takes no more requests, and opens no other connection", () =>
    Effect.gen(function* () {
      const middle = yield* between(yield* server())
      const line = yield* dialed(middle)
      yield* ask(line)
      yield* line.close
      const before = middle.sent().length
      assert.equal((yield* Effect.flip(ask(line))).code, "cancelled")
      assert.equal(middle.sent().length, before)
    }))
})

const messages = ({ errors }: Asking) => errors.map(({ code, message }) => `${code}: ${message}`)

describe("a line", () => {
  testWithClock("does nothing before the first call, and connects for that", () =>
    Effect.gen(function* () {
      const { line, tries, states, ask, succeed } = yield* memoryLine()
      yield* TestClock.adjust("1 hour")
      assert.deepEqual([tries.length, line.connectivity.current], [0, "idle"])
      const callers = [ask(), ask(), ask()]
      yield* settle
      assert.equal(tries.length, 1)
      assert.ok(callers.every(({ waits }) => waits))
      const session = yield* succeed()
      assert.ok(callers.every(({ opens }) => opens.length === 1))
      assert.equal(session.uses, 3)
      // From now on at once.
      assert.equal(ask().opens.length, 1)
      assert.equal(tries.length, 1)
      assert.deepEqual(states, ["idle", "connecting", "ready"])
    }),
  )

  testWithClock("is idle when its connection has left, and the next call connects anew", () =>
    Effect.gen(function* () {
      const { tries, states, ask, succeed } = yield* memoryLine()
      ask()
      const first = yield* succeed()
      first.goaway()
      yield* settle
      assert.deepEqual([states.at(-1), tries.length], ["idle", 1])
      const next = ask()
      assert.ok(next.waits)
      const second = yield* succeed()
      assert.equal(next.opens[0]?.[0], second)
      second.break()
      yield* settle
      assert.deepEqual(states, ["idle", "connecting", "ready", "idle", "connecting", "ready", "idle"])
    }),
  )

  testWithClock(
    "fails calls with the reason while it waits for the next try, but for those that wait for the server",
    () =>
      Effect.gen(function* () {
        const { line, tries, states, ask, succeed, fail } = yield* memoryLine()
        const [fails, waits] = [ask(false), ask(true)]
        yield* fail("no luck")
        assert.deepEqual(messages(fails), ["unavailable: no luck"])
        assert.ok(waits.waits)
        assert.equal(line.connectivity.current, "transient_failure")
        assert.deepEqual(messages(ask(false)), ["unavailable: no luck"])
        const later = ask(true)
        yield* TestClock.adjust("999 millis")
        assert.equal(tries.length, 1)
        yield* TestClock.adjust("1 millis")
        yield* succeed()
        assert.equal(tries.length, 2)
        assert.deepEqual([waits.opens.length, later.opens.length], [1, 1])
        assert.deepEqual(
          states.filter((state) => state !== "idle"),
          ["connecting", "transient_failure", "connecting", "ready"],
        )
      }),
  )

  testWithClock("is idle after that wait, and tries again when there is a call", () =>
    Effect.gen(function* () {
      const { line, tries, ask, fail } = yield* memoryLine()
      ask()
      yield* fail()
      yield* TestClock.adjust("1 second")
      assert.equal(line.connectivity.current, "idle")
      yield* TestClock.adjust("1 hour")
      assert.equal(tries.length, 1)
      const next = ask()
      yield* settle
      assert.ok(next.waits)
      assert.equal(tries.length, 2)
    }),
  )

  testWithClock("connects unasked when it is idle, once, and calls find the connection there", () =>
    Effect.gen(function* () {
      const { line, tries, states, ask, succeed } = yield* memoryLine()
      const { connect } = line.connectivity
      yield* Effect.andThen(connect, connect)
      yield* settle
      yield* connect
      assert.deepEqual([tries.length, line.connectivity.current], [1, "connecting"])
      const session = yield* succeed()
      yield* connect
      yield* settle
      assert.equal(ask().opens[0]?.[0], session)
      assert.equal(tries.length, 1)
      assert.deepEqual(states, ["idle", "connecting", "ready"])
      // Nobody wants another one when it is lost, until somebody says so.
      session.break()
      yield* TestClock.adjust("1 hour")
      assert.deepEqual([tries.length, line.connectivity.current], [1, "idle"])
      yield* connect
      yield* succeed()
      assert.deepEqual([tries.length, line.connectivity.current], [2, "ready"])
    }),
  )

  testWithClock("tries once unasked where that fails, is idle after the wait, and then may be told to try again", () =>
    Effect.gen(function* () {
      const { line, tries, states, fail, succeed } = yield* memoryLine()
      const { connect } = line.connectivity
      yield* connect
      yield* fail()
      yield* connect
      yield* TestClock.adjust("999 millis")
      assert.deepEqual([tries.length, line.connectivity.current], [1, "transient_failure"])
      yield* TestClock.adjust("1 millis")
      assert.equal(line.connectivity.current, "idle")
      yield* TestClock.adjust("1 hour")
      assert.equal(tries.length, 1)
      yield* connect
      yield* succeed()
      assert.equal(tries.length, 2)
      assert.deepEqual(states, ["idle", "connecting", "transient_failure", "idle", "connecting", "ready"])
    }),
  )

  testWithClock("waits longer where it is told to try again and again, and does nothing once it is closed", () =>
    Effect.gen(function* () {
      const { line, tries, fail } = yield* memoryLine()
      const { connect } = line.connectivity
      for (const millis of [1_000, 1_600, 2_560]) {
        yield* connect
        yield* fail()
        yield* TestClock.adjust(millis - 1)
        assert.equal(line.connectivity.current, "transient_failure")
        yield* TestClock.adjust(1)
        assert.equal(line.connectivity.current, "idle")
      }
      yield* line.close
      yield* connect
      yield* settle
      assert.deepEqual([tries.length, line.connectivity.current], [3, "shutdown"])
    }),
  )

  testWithClock(
    "waits longer from try to try, from the beginning of one to that of the next, and two minutes at last",
    () =>
      Effect.gen(function* () {
        const { tries, ask, fail, succeed } = yield* memoryLine({
          onTry: (one, before) => {
            if (before !== 2 && before < 15) one.fail()
          },
        })
        ask(true)
        // The third takes up some of the wait that follows it.
        yield* TestClock.adjust("3 seconds")
        yield* TestClock.adjust("1 second")
        yield* fail()
        yield* TestClock.adjust("770 seconds")
        const waits = tries.slice(1).map(({ at }, i) => Math.round((at - (tries[i]?.at ?? 0)) / 10) / 100)
        assert.deepEqual(
          waits,
          [1, 1.6, 2.56, 4.1, 6.55, 10.49, 16.78, 26.84, 42.95, 68.72, 109.95, 120, 120, 120, 120],
        )
        // A success makes it forget all that.
        const session = yield* succeed()
        session.break()
        ask(true)
        yield* fail()
        const before = tries.length
        yield* TestClock.adjust("1 second")
        assert.equal(tries.length, before + 1)
      }),
  )

  testWithClock("tries again at once where a try has taken longer than the wait", () =>
    Effect.gen(function* () {
      const { tries, ask, fail } = yield* memoryLine()
      ask(true)
      yield* settle
      yield* TestClock.adjust("20 seconds")
      yield* fail()
      assert.equal(tries.length, 2)
    }),
  )

  for (const [draw, wait] of [
    [0, 800],
    [1, 1200],
  ] as const) {
    testWithClock(`waits ${wait} ms at the ${draw === 0 ? "least" : "most"} before the second try`, () =>
      Effect.gen(function* () {
        const { tries, ask, fail } = yield* memoryLine({ draw: () => draw })
        ask(true)
        yield* fail()
        yield* TestClock.adjust(wait - 1)
        assert.equal(tries.length, 1)
        yield* TestClock.adjust(1)
        assert.equal(tries.length, 2)
      }),
    )
  }

  testWithClock("waits before it tries again a server whose connections leave as soon as they are there", () =>
    Effect.gen(function* () {
      const { tries, ask } = yield* memoryLine()
      const [fails, waits] = [ask(false), ask(true)]
      yield* settle
      tries[0]?.succeed(1, true)
      yield* settle
      assert.equal(tries.length, 1)
      assert.deepEqual(
        fails.errors.map(({ code }) => code),
        ["unavailable"],
      )
      assert.ok(waits.waits)
      yield* TestClock.adjust("1 second")
      tries[1]?.succeed(1, true)
      yield* TestClock.adjust("1599 millis")
      assert.equal(tries.length, 2)
      yield* TestClock.adjust("1 millis")
      assert.equal(tries.length, 3)
    }),
  )

  testWithClock(
    "tries its addresses in order, takes the first that it can reach, and begins with the first again",
    () =>
      Effect.gen(function* () {
        const { tries, ask, fail, succeed } = yield* memoryLine({ targets: ["a", "b", "c"] })
        const caller = ask()
        yield* fail()
        assert.ok(caller.waits)
        const session = yield* succeed()
        assert.equal(caller.opens[0]?.[0], session)
        assert.equal(session.target, "b")
        session.break()
        const next = ask()
        for (let i = 0; i < 3; i++) yield* fail()
        assert.deepEqual(messages(next), ["unavailable: no c"])
        assert.equal(tries.map(({ target }) => target).join(""), "ababc")
      }),
  )

  testWithClock("connects once more where the peer takes no further stream, up to so many connections", () =>
    Effect.gen(function* () {
      const { tries, ask, succeed, sessions, states } = yield* memoryLine({ maxConnections: 3 })
      const callers = Array.from({ length: 10 }, () => ask())
      yield* succeed(2)
      yield* succeed(2)
      yield* succeed(2)
      yield* TestClock.adjust("1 hour")
      assert.equal(tries.length, 3)
      assert.deepEqual(
        callers.map(({ waits }) => waits),
        callers.map((_, i) => i >= 6),
      )
      // Who waits is served in order, wherever there is room first.
      const order: Array<number> = []
      for (const [i, caller] of callers.entries()) {
        caller.onOpened = () => order.push(i)
      }
      for (const session of [sessions[2], sessions[0], sessions[0], sessions[1]]) session?.answer()
      assert.deepEqual(order, [6, 7, 8, 9])
      // One that leaves makes room for another.
      ask()
      sessions[1]?.goaway()
      yield* succeed(2)
      assert.equal(tries.length, 4)
      assert.deepEqual(states, ["idle", "connecting", "ready"])
    }),
  )

  testWithClock("serves those who wait when the peer takes more streams than before", () =>
    Effect.gen(function* () {
      const { ask, succeed } = yield* memoryLine({ maxConnections: 1 })
      const callers = [ask(), ask(), ask()]
      const session = yield* succeed(1)
      assert.deepEqual(
        callers.map(({ waits }) => waits),
        [false, true, true],
      )
      session.says(takes(3))
      assert.ok(callers.every(({ opens }) => opens.length === 1))
    }),
  )

  testWithClock("lets nobody who comes later pass those who wait, even if there has just come to be room", () =>
    Effect.gen(function* () {
      const { ask, succeed } = yield* memoryLine({ maxConnections: 1 })
      const [runs, waits] = [ask(), ask()]
      const session = yield* succeed(1)
      const [opened] = runs.opens
      // Cut short here, which the line is told later.
      if (opened !== undefined) session.connection.reset(opened[1], errorCode.cancel)
      const late = ask()
      assert.ok(waits.waits && late.waits)
      session.says(takes(1))
      assert.deepEqual([waits.opens.length, late.opens.length], [1, 0])
    }),
  )

  testWithClock("fails nobody when one more connection can't be had: who waits is served by those there are", () =>
    Effect.gen(function* () {
      const { line, tries, ask, fail, succeed } = yield* memoryLine()
      const [first, second] = [ask(), ask()]
      const session = yield* succeed(1)
      yield* fail()
      const third = ask()
      assert.deepEqual([first.opens.length, second.waits, third.waits], [1, true, true])
      assert.equal(line.connectivity.current, "ready")
      session.answer()
      assert.equal(second.opens.length, 1)
      // It tries again, later.
      yield* TestClock.adjust("1 second")
      assert.equal(tries.length, 3)
      const other = yield* succeed(1)
      assert.equal(third.opens[0]?.[0], other)
    }),
  )

  testWithClock("doesn't wait before it connects when the last connection leaves those who wait", () =>
    Effect.gen(function* () {
      const { tries, ask, fail, succeed } = yield* memoryLine()
      ask()
      const waits = ask()
      const session = yield* succeed(1)
      yield* fail()
      session.goaway()
      yield* settle
      assert.equal(tries.length, 3)
      const next = yield* succeed(1)
      assert.equal(waits.opens[0]?.[0], next)
    }),
  )

  testWithClock("has those fail who wait, when the last connection has left and no other can be had", () =>
    Effect.gen(function* () {
      const { line, ask, fail, succeed } = yield* memoryLine()
      ask()
      const [fails, waits] = [ask(), ask(true)]
      const session = yield* succeed(1)
      yield* settle
      session.break()
      yield* fail("gone")
      assert.deepEqual(messages(fails), ["unavailable: gone"])
      assert.ok(waits.waits)
      assert.equal(line.connectivity.current, "transient_failure")
    }),
  )

  testWithClock(
    "moves those who wait to another connection when theirs leaves, and nothing of those that it took",
    () =>
      Effect.gen(function* () {
        const { ask, succeed } = yield* memoryLine({ maxConnections: 1 })
        const [runs, waits] = [ask(), ask()]
        const first = yield* succeed(1)
        first.goaway()
        const second = yield* succeed(1)
        assert.equal(waits.opens[0]?.[0], second)
        first.answer()
        assert.deepEqual([runs.ended, runs.opens.length, waits.ended], [1, 1, 0])
      }),
  )

  testWithClock("tells a caller that it has forgotten nothing, and connects for nobody", () =>
    Effect.gen(function* () {
      const { line, tries, ask, succeed, fail } = yield* memoryLine()
      const [stays, goes] = [ask(), ask()]
      line.forget(goes)
      yield* succeed(1)
      assert.deepEqual([stays.opens.length, goes.waits, tries.length], [1, true, 1])
      const waits = ask(true)
      yield* fail()
      line.forget(waits)
      yield* TestClock.adjust("1 hour")
      assert.deepEqual([waits.waits, tries.length], [true, 2])
    }),
  )

  testWithClock("keeps a connection that came for a caller who didn't wait for it", () =>
    Effect.gen(function* () {
      const { line, tries, ask, succeed } = yield* memoryLine()
      const gone = ask()
      yield* settle
      line.forget(gone)
      yield* succeed()
      assert.equal(line.connectivity.current, "ready")
      assert.equal(ask().opens.length, 1)
      assert.equal(tries.length, 1)
    }),
  )

  testWithClock("that is closed ends all that runs and waits, gives up its try to connect, and stays closed", () =>
    Effect.gen(function* () {
      const { line, tries, sessions, states, ask, succeed } = yield* memoryLine()
      const [runs, waits] = [ask(), ask(true)]
      yield* succeed(1)
      yield* settle
      assert.equal(tries.length, 2)
      yield* line.close
      assert.equal(runs.resets.length, 1)
      assert.deepEqual(messages(waits), ["cancelled: the channel is closed"])
      assert.ok(tries[1]?.interrupted)
      assert.equal(sessions[0]?.lost?.message, "the channel is closed")
      assert.deepEqual(messages(ask()), ["cancelled: the channel is closed"])
      yield* TestClock.adjust("1 hour")
      assert.equal(tries.length, 2)
      assert.deepEqual(states, ["idle", "connecting", "ready", "shutdown"])
    }),
  )

  testWithClock("that is closed while it waits for its next try makes none", () =>
    Effect.gen(function* () {
      const { line, tries, ask, fail } = yield* memoryLine()
      const waits = ask(true)
      yield* fail()
      yield* line.close
      yield* TestClock.adjust("1 hour")
      assert.equal(tries.length, 1)
      assert.deepEqual(messages(waits), ["cancelled: the channel is closed"])
    }),
  )

  testWithClock("ends the connection that it has just got when it is closed at that moment", () =>
    Effect.gen(function* () {
      const { line, tries, sessions, ask } = yield* memoryLine()
      const caller = ask()
      yield* settle
      tries[0]?.succeed()
      yield* line.close
      yield* settle
      assert.equal(caller.opens.length + caller.errors.length, 1)
      assert.ok(sessions.every(({ lost }) => lost !== undefined))
    }),
  )
})

type Step =
  | { readonly kind: "ask"; readonly waitForReady: boolean }
  | { readonly kind: "forget" | "answer" | "goaway" | "break"; readonly which: number }
  | { readonly kind: "takes"; readonly which: number; readonly streams: number }
  | { readonly kind: "succeed"; readonly streams: number; readonly leaves: boolean }
  | { readonly kind: "fail" }
  | { readonly kind: "wait"; readonly millis: number }

const which = fc.nat(20)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("ask" as const), waitForReady: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("forget", "answer"), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("goaway", "break"), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("takes" as const), which, streams: fc.nat(3) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("succeed" as const), streams: fc.nat(3), leaves: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.constant({ kind: "fail" as const }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("wait" as const), millis: fc.nat(3000) }) },
)

const maxConnections = 2

/** Does all that, and sees after each step to what holds always. */
const lives = Effect.fnUntraced(function* (steps: ReadonlyArray<Step>) {
  const { line, tries, sessions } = yield* memoryLine({ maxConnections })
  const callers: Array<Asking> = []
  const forgotten = new Set<Asking>()
  const order: Array<number> = []
  const running = (session: MemorySession) => session.lost === undefined
  const pick = <A>(all: ReadonlyArray<A>, index: number): A | undefined => all[index % Math.max(1, all.length)]
  const under = () => tries.find(({ over }) => !over)
  for (const one of steps) {
    switch (one.kind) {
      case "ask": {
        const caller = new Asking(one.waitForReady)
        const index = callers.push(caller) - 1
        caller.onOpened = ({ leaving, connection }) => {
          assert.ok(!leaving && !connection.over, "a stream on a connection that has left")
          order.push(index)
        }
        line.open(caller)
        break
      }
      case "forget": {
        const caller = pick(
          callers.filter(({ waits }) => waits),
          one.which,
        )
        if (caller === undefined) break
        forgotten.add(caller)
        line.forget(caller)
        break
      }
      case "succeed": {
        under()?.succeed(one.streams, one.leaves)
        break
      }
      case "fail":
        under()?.fail()
        break
      case "wait":
        yield* TestClock.adjust(one.millis)
        break
      case "answer":
        pick(sessions.filter(running), one.which)?.answer()
        break
      case "goaway":
        pick(sessions.filter(running), one.which)?.goaway()
        break
      case "break":
        pick(sessions.filter(running), one.which)?.break()
        break
      case "takes":
        pick(sessions.filter(running), one.which)?.says(takes(one.streams))
        break
    }
    yield* settle
    assert.ok(sessions.filter(({ leaving }) => !leaving).length <= maxConnections, "too many connections")
    assert.ok(tries.filter(({ over }) => !over).length <= 1, "two tries at once")
    for (const caller of callers) {
      assert.ok(caller.opens.length + caller.errors.length <= 1, "told twice")
      assert.ok(!forgotten.has(caller) || caller.waits, "told after it was forgotten")
      assert.ok(caller.errors.length === 0 || !caller.waitForReady, "told of a failure that it wanted to wait for")
    }
  }
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
    "out of order",
  )
  // In the end the server is there: nobody waits for ever.
  for (let turn = 0; turn < 10; turn++) {
    for (const session of sessions.filter(running)) session.says(takes(1000))
    under()?.succeed(1000)
    yield* TestClock.adjust("150 seconds")
    yield* settle
  }
  assert.ok(
    callers.every((caller) => forgotten.has(caller) || !caller.waits),
    "somebody waits for ever",
  )
  yield* line.close
  assert.ok(
    sessions.every(({ leaving }) => leaving),
    "a connection is left behind",
  )
})

describe("whatever becomes of its connections, a line", () => {
  test("tells each caller one thing, in order, and gives no stream on a connection that has left", () =>
    property(
      fc.array(step, { maxLength: 40 }),
      (steps) => Effect.scoped(Effect.provide(lives(steps), TestClock.layer())),
      { numRuns: Math.ceil(300 * Number(process.env.FUZZ_RUNS ?? 1)) },
    ))
})
