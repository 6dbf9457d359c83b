import assert from "node:assert/strict"
import { Effect, Exit, Fiber, Latch, Scope } from "effect"
import fc from "fast-check"
import { type Entry, type Journal, open } from "../../../src/core/pi/journal.ts"
import { test } from "../../effect.ts"
import { type Logged, logInto, property, settle } from "../support.ts"

const entry = (text: string): Entry => ({ time: undefined, level: "info", text })

const report = (journal: Journal, texts: ReadonlyArray<string>) =>
  Effect.forEach(texts, (text) => journal.report(entry(text)))

/** A journal whose entries are kept once a gate is open. */
const gated = Effect.fnUntraced(function* (capacity?: number) {
  const gate = yield* Latch.make()
  const kept: Array<string> = []
  const scope = yield* Scope.make()
  const keep = ({ text }: Entry) =>
    Effect.andThen(
      gate.await,
      Effect.sync(() => kept.push(text)),
    )
  const journal = yield* Scope.provide(open(keep, capacity === undefined ? {} : { capacity }), scope)
  return { gate, kept, journal, scope }
})

const close = (scope: Scope.Closeable) => Scope.close(scope, Exit.void)

test("an entry is taken at once and kept in the background, whole", () =>
  Effect.gen(function* () {
    const kept: Array<Entry> = []
    const journal = yield* open((one) => Effect.sync(() => kept.push(one)))
    const reported = { time: 1_500.5, level: "warning", text: "hot" } as const
    assert.equal(yield* journal.report(reported), true)
    assert.deepEqual(kept, [])
    yield* settle
    assert.deepEqual(kept, [reported])
  }))

test("entries are kept one after another, in the order of their reports", () =>
  property(fc.array(fc.string(), { maxLength: 50 }), (texts) =>
    Effect.gen(function* () {
      const kept: Array<string> = []
      let keeping = 0
      const keep = ({ text }: Entry) =>
        Effect.gen(function* () {
          keeping += 1
          assert.equal(keeping, 1)
          yield* Effect.yieldNow
          kept.push(text)
          keeping -= 1
        })
      const reports = yield* Effect.scoped(Effect.flatMap(open(keep), (journal) => report(journal, texts)))
      assert.ok(reports.every((taken) => taken))
      assert.deepEqual(kept, texts)
    }),
  ))

test("a full journal loses what comes, says so, and has not lost the rest", () =>
  Effect.gen(function* () {
    const { gate, kept, journal, scope } = yield* gated(3)
    // One is in keep's hands, three wait.
    yield* report(journal, ["1"])
    yield* settle
    assert.deepEqual(yield* report(journal, ["2", "3", "4", "5", "6"]), [true, true, true, false, false])
    yield* gate.open
    yield* settle
    assert.deepEqual(yield* report(journal, ["7"]), [true])
    yield* close(scope)
    assert.deepEqual(kept, ["1", "2", "3", "4", "7"])
  }))

test("1024 entries may wait unless another number is given", () =>
  Effect.gen(function* () {
    const { gate, journal, scope } = yield* gated()
    yield* report(journal, ["in hand"])
    yield* settle
    const taken = yield* report(journal, Array.from({ length: 1_030 }, String))
    assert.equal(taken.filter(Boolean).length, 1_024)
    yield* gate.open
    yield* close(scope)
  }))

test("what waits while an entry is kept counts, however it came to wait", () =>
  Effect.gen(function* () {
    const { gate, kept, journal, scope } = yield* gated(3)
    yield* report(journal, ["1", "2", "3"])
    yield* settle
    assert.deepEqual(yield* report(journal, ["4", "5", "6", "7"]), [true, false, false, false])
    yield* gate.open
    yield* close(scope)
    assert.deepEqual(kept, ["1", "2", "3", "4"])
  }))

test("a journal that closes keeps what waits before it has closed, and takes no more", () =>
  Effect.gen(function* () {
    const { gate, kept, journal, scope } = yield* gated(10)
    yield* report(journal, ["1", "2", "3"])
    const closing = yield* Effect.forkChild(close(scope))
    yield* settle
    assert.equal(closing.pollUnsafe(), undefined)
    assert.deepEqual(yield* report(journal, ["late"]), [false])
    yield* gate.open
    yield* Fiber.join(closing)
    assert.deepEqual(kept, ["1", "2", "3"])
    assert.deepEqual(yield* report(journal, ["later"]), [false])
  }))

test("an entry that keep dies of is logged, and the next ones are kept", () =>
  Effect.gen(function* () {
    const logged: Array<Logged> = []
    const kept: Array<string> = []
    const keep = ({ text }: Entry) => {
      if (text === "dies") return Effect.die(new Error("disk full"))
      if (text === "interrupts") return Effect.interrupt
      if (text === "throws") throw new Error("no disk")
      return Effect.sync(() => kept.push(text))
    }
    yield* Effect.flatMap(open(keep), (journal) =>
      report(journal, ["1", "dies", "2", "interrupts", "3", "throws", "4"]),
    ).pipe(Effect.scoped, Effect.provide(logInto(logged)))
    assert.deepEqual(kept, ["1", "2", "3", "4"])
    assert.deepEqual(
      logged.map(({ level, text }) => [level, text]),
      Array.from({ length: 3 }, () => ["Error", "a journal entry was not kept"]),
    )
    assert.match(logged[0]?.cause ?? "", /disk full/)
    assert.match(logged[2]?.cause ?? "", /no disk/)
  }))
