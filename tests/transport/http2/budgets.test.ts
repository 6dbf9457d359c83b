import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { Budget, Budgets } from "../../../src/transport/http2/budgets.ts"
import { ConnectionError, errorCode } from "../../../src/transport/http2/frames.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"

describe("a budget", () => {
  test("gives its size at once, and then so many a second, never more than its size", () => {
    const budget = new Budget(3, 2, 0)
    const takes = (now: number, count: number) => Array.from({ length: count }, () => budget.take(now))
    assert.deepEqual(takes(0, 4), [true, true, true, false])
    assert.deepEqual(takes(499, 1), [false])
    assert.deepEqual(takes(500, 2), [true, false])
    assert.deepEqual(takes(1_000_000, 4), [true, true, true, false])
    budget.give(2)
    assert.deepEqual(takes(1_000_000, 3), [true, true, false])
    budget.give(10)
    assert.deepEqual(takes(1_000_000, 4), [true, true, true, false])
  })
})

describe("the budgets of a connection", () => {
  const limits = limitsOf({
    ...{ maxResets: 2, maxResetsPerSecond: 1 },
    ...{ maxIdleFrames: 3, maxIdleFramesPerSecond: 1 },
    ...{ maxDroppedHeaderBytes: 1000, maxDroppedHeaderBytesPerSecond: 10 },
  })
  const make = (role: "server" | "client") => {
    const clock = { now: 0 }
    return { clock, budgets: new Budgets(role, limits, () => clock.now) }
  }
  const isTooMuch = (error: unknown) => error instanceof ConnectionError && error.code === errorCode.enhanceYourCalm

  test("are each spent alone, and fill up again with time", () => {
    const { clock, budgets } = make("server")
    for (let i = 0; i < 2; i++) budgets.reset()
    assert.throws(() => budgets.reset(), isTooMuch)
    for (let i = 0; i < 3; i++) budgets.idleFrame()
    assert.throws(() => budgets.idleFrame(), isTooMuch)
    clock.now = 1000
    budgets.reset()
    budgets.idleFrame()
    assert.throws(() => budgets.reset(), isTooMuch)
    assert.throws(() => budgets.idleFrame(), isTooMuch)
  })

  test("make up for a reset with a response, and never for more than there were", () => {
    const { budgets } = make("server")
    for (let i = 0; i < 10; i++) {
      budgets.reset()
      budgets.responded()
    }
    budgets.responded()
    for (let i = 0; i < 2; i++) budgets.reset()
    assert.throws(() => budgets.reset(), isTooMuch)
  })

  test("count the bytes of heads that are dropped", () => {
    const { clock, budgets } = make("server")
    budgets.dropHeaders(999)
    budgets.dropHeaders(1)
    assert.throws(() => budgets.dropHeaders(1), isTooMuch)
    clock.now = 1000
    budgets.dropHeaders(10)
    assert.throws(() => budgets.dropHeaders(1), isTooMuch)
  })

  test("make up for some idle frames with what is of use, for more by its bytes, and not for resets", () => {
    const { budgets } = make("server")
    for (let i = 0; i < 10; i++) {
      for (let j = 0; j < 3; j++) budgets.idleFrame()
      budgets.useful()
    }
    const many = new Budgets("server", limitsOf({ maxIdleFrames: 100, maxIdleFramesPerSecond: 0 }), () => 0)
    for (let i = 0; i < 100; i++) many.idleFrame()
    many.useful()
    for (let i = 0; i < 8; i++) many.idleFrame()
    assert.throws(() => many.idleFrame(), isTooMuch)
    many.useful(16_384)
    for (let i = 0; i < 24; i++) many.idleFrame()
    assert.throws(() => many.idleFrame(), isTooMuch)
    for (let i = 0; i < 2; i++) budgets.reset()
    budgets.useful()
    assert.throws(() => budgets.reset(), isTooMuch)
  })

  test("let a server reset its client's streams as often as it likes", () => {
    const { budgets } = make("client")
    for (let i = 0; i < 10_000; i++) budgets.reset()
  })
})
