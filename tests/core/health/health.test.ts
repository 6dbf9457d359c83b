import assert from "node:assert/strict"
import { Effect, Fiber, Queue, Stream } from "effect"
import * as Health from "../../../src/core/health/health.ts"
import { test } from "../../effect.ts"
import { settle } from "../support.ts"

const { serving, not_serving, service_unknown } = Health.numbers

/** What a watcher was told, one at a time. */
const watching = Effect.fnUntraced(function* (health: Health.Health, service: string) {
  const told = yield* Queue.unbounded<number>()
  const watch = yield* Effect.forkScoped(
    Stream.runForEach(health.watch({ service }), ({ status }) => Queue.offer(told, status)),
  )
  return { next: Queue.take(told), left: Queue.takeAll(told), ended: Fiber.join(watch) }
})

test("a service serves from the start, and so does the server as a whole", () =>
  Effect.gen(function* () {
    const { check } = Health.make(["pi.PiCalculator"])
    assert.deepEqual(yield* check({ service: "pi.PiCalculator" }), { status: serving })
    assert.deepEqual(yield* check({ service: "" }), { status: serving })
  }))

test("a status is of its service alone", () =>
  Effect.gen(function* () {
    const { check, set } = Health.make(["one", "other"])
    yield* set("one", "not_serving")
    assert.deepEqual(yield* check({ service: "one" }), { status: not_serving })
    assert.deepEqual(yield* check({ service: "other" }), { status: serving })
  }))

test("a service that isn't known is not found, until somebody says how it is", () =>
  Effect.gen(function* () {
    const { check, set } = Health.make([])
    const { code, message } = yield* Effect.flip(check({ service: "later" }))
    assert.deepEqual([code, message], ["not_found", 'there is no service "later" here'])
    yield* set("later", "serving")
    assert.deepEqual(yield* check({ service: "later" }), { status: serving })
  }))

test("a watch tells the status now and each that it changes to, not those that are the same", () =>
  Effect.gen(function* () {
    const health = Health.make(["one"])
    const { next, left } = yield* watching(health, "one")
    assert.equal(yield* next, serving)
    yield* health.set("one", "not_serving")
    assert.equal(yield* next, not_serving)
    yield* health.set("one", "not_serving")
    yield* health.set("other", "serving")
    yield* health.set("one", "serving")
    assert.deepEqual(yield* left, [serving])
  }))

test("a watch of a service that isn't known says so, and tells when it comes", () =>
  Effect.gen(function* () {
    const health = Health.make([])
    const { next } = yield* watching(health, "later")
    assert.equal(yield* next, service_unknown)
    yield* health.set("later", "serving")
    assert.equal(yield* next, serving)
  }))

test("who watches slowly misses statuses in between, never the last", () =>
  Effect.gen(function* () {
    const health = Health.make(["one"])
    const told: Array<number> = []
    const gate = yield* Queue.unbounded<void>()
    yield* Effect.forkScoped(
      Stream.runForEach(health.watch({ service: "one" }), ({ status }) =>
        Effect.andThen(
          Effect.sync(() => told.push(status)),
          Queue.take(gate),
        ),
      ),
    )
    yield* settle
    for (let i = 0; i < 100; i++) yield* health.set("one", i % 2 === 0 ? "not_serving" : "serving")
    yield* health.set("one", "not_serving")
    yield* Queue.offerAll(gate, Array.from({ length: 100 }))
    yield* settle
    assert.equal(told.at(-1), not_serving)
    assert.ok(told.length < 5, `${told.length} were kept`)
  }))

test("after a shutdown nothing serves, whatever is said, and who watches is told so and left", () =>
  Effect.gen(function* () {
    const health = Health.make(["one"])
    const early = yield* watching(health, "one")
    const strange = yield* watching(health, "none")
    assert.deepEqual([yield* early.next, yield* strange.next], [serving, service_unknown])
    yield* health.shutdown
    yield* health.set("one", "serving")
    yield* early.ended
    yield* strange.ended
    assert.deepEqual([yield* early.left, yield* strange.left], [[not_serving], [service_unknown]])
    assert.deepEqual(yield* health.check({ service: "one" }), { status: not_serving })
    assert.deepEqual(yield* health.check({ service: "" }), { status: not_serving })
    const late = yield* Stream.runCollect(health.watch({ service: "one" }))
    assert.deepEqual(late, [{ status: not_serving }])
  }))
