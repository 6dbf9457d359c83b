import assert from "node:assert/strict"
import { Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { memory } from "../../../src/core/cache/memory.ts"
import { prefixed } from "../../../src/core/cache/prefixed.ts"
import { testWithClock } from "../../effect.ts"
import { storeContract } from "./storeContract.ts"

storeContract({
  name: "that is a part of another",
  make: Effect.gen(function* () {
    const store = yield* memory({ sweepEvery: "100 millis" })
    for (const key of ["", "a", "part", "part;a"]) yield* store.set(key, new Uint8Array(1))
    return prefixed(store, "part:")
  }),
  wait: (millis) => TestClock.adjust(millis),
  test: testWithClock,
})

testWithClock("parts of one store know nothing of each other", () =>
  Effect.gen(function* () {
    const store = yield* memory()
    const [one, two] = [prefixed(store, "1:"), prefixed(store, "2:")]
    yield* one.set("a", new Uint8Array(1))
    yield* two.set("b", new Uint8Array(2))
    assert.equal(yield* two.get("a"), undefined)
    assert.deepEqual([one.peek?.("a"), two.peek?.("a")], [yield* one.get("a"), undefined])
    assert.equal(one.peek?.("a")?.value[0] ?? "nothing", 0)
    assert.deepEqual(yield* Stream.runCollect(two.scan("")), ["b"])
    assert.deepEqual((yield* Stream.runCollect(store.scan(""))).toSorted(), ["1:a", "2:b"])
  }),
)
