import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Fiber, Queue, Stream } from "effect"
import { always, Moving, type State } from "../../../src/core/rpc/connectivity.ts"
import { test } from "../../effect.ts"
import { settle } from "../support.ts"

/** Watches a channel; gives the states that it has seen so far, and how the watching ended. */
const watching = (moving: Moving) =>
  Effect.gen(function* () {
    const seen: Array<State> = []
    const watch = Stream.runForEach(moving.changes, (state) => Effect.sync(() => void seen.push(state)))
    const fiber = yield* Effect.forkScoped(watch)
    yield* settle
    return { seen, fiber }
  })

/** How many watch; nobody else has to know. */
const watchers = (moving: Moving): number => (moving as unknown as { readonly watchers: Set<unknown> }).watchers.size

describe("the connectivity of a channel that moves", () => {
  test("is idle at first, then what it was last set to", () =>
    Effect.gen(function* () {
      const moving = new Moving(() => {})
      assert.deepEqual([yield* moving.state, moving.current], ["idle", "idle"])
      moving.set("connecting")
      moving.set("ready")
      assert.deepEqual([yield* moving.state, moving.current], ["ready", "ready"])
    }))

  test("is told to who watches it: where it stands, and then each change, to all of them", () =>
    Effect.gen(function* () {
      const moving = new Moving(() => {})
      moving.set("connecting")
      const [first, second] = [yield* watching(moving), yield* watching(moving)]
      for (const state of ["ready", "idle", "idle", "connecting"] as const) moving.set(state)
      yield* settle
      const late = yield* watching(moving)
      moving.set("transient_failure")
      yield* settle
      const all = ["connecting", "ready", "idle", "connecting", "transient_failure"]
      assert.deepEqual([first.seen, second.seen, late.seen], [all, all, ["connecting", "transient_failure"]])
    }))

  test("ends with shutdown, for those who watch and for those who come later", () =>
    Effect.gen(function* () {
      const moving = new Moving(() => {})
      const { seen, fiber } = yield* watching(moving)
      moving.set("shutdown")
      moving.set("ready")
      yield* Fiber.join(fiber)
      assert.deepEqual(seen, ["idle", "shutdown"])
      assert.deepEqual(yield* Stream.runCollect(moving.changes), ["shutdown"])
      assert.equal(yield* moving.state, "shutdown")
    }))

  test("is kept for a slow watcher up to a bound: the oldest are dropped, never the last", () =>
    Effect.gen(function* () {
      const moving = new Moving(() => {})
      const go = yield* Queue.make<void>()
      const seen: Array<State> = []
      const slow = Stream.runForEach(moving.changes, (state) => {
        seen.push(state)
        return Queue.take(go)
      })
      const fiber = yield* Effect.forkScoped(slow)
      yield* settle
      for (let i = 0; i < 1000; i++) moving.set(i % 2 === 0 ? "connecting" : "idle")
      moving.set("shutdown")
      yield* Queue.offerAll(go, new Array<void>(1000))
      yield* Fiber.join(fiber)
      assert.ok(seen.length < 100, `${seen.length} were kept`)
      assert.deepEqual([seen[0], seen.at(-1)], ["idle", "shutdown"])
    }))

  test("is no business any more of a watcher that has left", () =>
    Effect.gen(function* () {
      const moving = new Moving(() => {})
      const { fiber } = yield* watching(moving)
      assert.equal(watchers(moving), 1)
      yield* Fiber.interrupt(fiber)
      yield* Stream.runDrain(Stream.take(moving.changes, 1))
      assert.equal(watchers(moving), 0)
    }))
})

describe("the connectivity of a channel that stays where it is", () => {
  test("is always the same, and never ends", () =>
    Effect.gen(function* () {
      const { state, changes } = always("ready")
      assert.equal(yield* state, "ready")
      const seen: Array<State> = []
      const watch = Stream.runForEach(changes, (one) => Effect.sync(() => void seen.push(one)))
      const fiber = yield* Effect.forkScoped(watch)
      yield* settle
      assert.deepEqual(seen, ["ready"])
      assert.equal(fiber.pollUnsafe(), undefined)
    }))
})
