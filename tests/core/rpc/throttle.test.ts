import assert from "node:assert/strict"
import { Effect } from "effect"
import { throttle } from "../../../src/core/rpc/throttle.ts"
import { test } from "../../effect.ts"

const times = (count: number, act: () => void) => Array.from({ length: count }).forEach(act)

test("calls are sent again while more than half of the tokens are left", () =>
  Effect.sync(() => {
    const { failed, succeeded, allows } = throttle({ maxTokens: 4, tokenRatio: 0.1 })
    assert.equal(allows(), true)
    failed()
    assert.equal(allows(), true)
    failed()
    assert.equal(allows(), false)
    succeeded()
    assert.equal(allows(), true)
  }))

test("successes add no more than the most, failures take no more than there are", () =>
  Effect.sync(() => {
    const { failed, succeeded, allows } = throttle({ maxTokens: 4, tokenRatio: 1 })
    times(10, succeeded)
    times(2, failed)
    assert.equal(allows(), false)
    times(10, failed)
    times(3, succeeded)
    assert.equal(allows(), true)
  }))

test("three decimal places of the ratio count, and exactly", () =>
  Effect.sync(() => {
    const successesFor = (tokenRatio: number) => {
      const { failed, succeeded, allows } = throttle({ maxTokens: 2, tokenRatio })
      times(2, failed)
      let successes = 0
      for (; !allows(); successes++) succeeded()
      return successes
    }
    // One token and a thousandth are needed.
    assert.equal(successesFor(0.5006), 3)
    assert.equal(successesFor(0.501), 2)
    assert.equal(successesFor(0.143), 7)
    // In binary, a thousand times this is a little less than 1001.
    assert.equal(successesFor(1.001), 1)
  }))
