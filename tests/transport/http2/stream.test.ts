import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { Stream } from "../../../src/transport/http2/stream.ts"

const stream = (expected: number, ...lengths: ReadonlyArray<number>): Stream<never> => {
  const made = new Stream<never>(1, 65_535, 65_535)
  made.expected = expected
  for (const length of lengths) made.count(length)
  return made
}

describe("a stream", () => {
  test("has a body of any length if its head gave none", () => {
    for (const lengths of [[], [0], [5, 1_000_000]]) {
      const { tooLong, wrongLength } = stream(-1, ...lengths)
      assert.deepEqual({ tooLong, wrongLength }, { tooLong: false, wrongLength: false })
    }
  })

  test("knows whether its body is as long as its head said", () => {
    for (const [lengths, tooLong, wrongLength] of [
      [[], false, true],
      [[4], false, true],
      [[5], false, false],
      [[2, 0, 3], false, false],
      [[6], true, true],
      [[5, 1, 1], true, true],
    ] as const) {
      const made = stream(5, ...lengths)
      assert.deepEqual([made.tooLong, made.wrongLength], [tooLong, wrongLength])
    }
  })
})
