import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import { Expiring } from "../../../src/core/cache/expiring.ts"

const all = Number.POSITIVE_INFINITY

test("what is due is taken once, and nothing before it is due", () => {
  const expiring = new Expiring<string>(100)
  expiring.add("a", 50)
  expiring.add("b", 100)
  expiring.add("c", 101)
  expiring.add("never", Number.POSITIVE_INFINITY)
  assert.deepEqual(expiring.take(99, all), [])
  assert.deepEqual(expiring.take(100, all), ["a", "b"])
  assert.deepEqual(expiring.take(199, all), [])
  assert.deepEqual(expiring.take(1e15, all), ["c"])
  assert.deepEqual(expiring.take(1e16, all), [])
})

test("what is due may be taken in parts", () => {
  const expiring = new Expiring<number>(10)
  for (let n = 0; n < 25; n += 1) expiring.add(n, 10 * (n % 3) + 5)
  const taken = [expiring.take(100, 10), expiring.take(100, 10), expiring.take(100, 10), expiring.take(100, 10)]
  assert.deepEqual(
    taken.map(({ length }) => length),
    [10, 10, 5, 0],
  )
  assert.equal(new Set(taken.flat()).size, 25)
})

test("all that is due is found, whatever comes and goes and however the clock moves", () => {
  const step = fc.oneof(
    fc.record({ add: fc.integer({ min: 1, max: 2000 }) }),
    fc.record({ remove: fc.nat(30) }),
    fc.record({ now: fc.integer({ min: -500, max: 3000 }) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 90 }), (steps, millis) => {
      const expiring = new Expiring<{ readonly at: number }>(millis)
      const there: Array<{ readonly at: number }> = []
      let now = 10_000
      for (const one of steps) {
        if ("add" in one) {
          const added = { at: now + one.add }
          there.push(added)
          expiring.add(added, added.at)
        } else if ("remove" in one) {
          const [removed] = there.splice(one.remove, 1)
          if (removed !== undefined) expiring.remove(removed, removed.at)
        } else {
          now += one.now
          const taken = expiring.take(now, all)
          for (const { at } of taken) assert.ok(at <= now)
          for (const due of taken) there.splice(there.indexOf(due), 1)
          for (const { at } of there) assert.ok(at > now - millis, "it has been due for a step")
        }
      }
    }),
  )
})
