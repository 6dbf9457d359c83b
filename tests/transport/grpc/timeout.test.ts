import assert from "node:assert/strict"
import { describe, test } from "node:test"
import fc from "fast-check"
import { formatTimeout, parseTimeout } from "../../../src/transport/grpc/timeout.ts"

describe("grpc-timeout", () => {
  test("has six units", () => {
    for (const [text, millis] of [
      ["1H", 3_600_000],
      ["2M", 120_000],
      ["3S", 3000],
      ["4m", 4],
      ["5000u", 5],
      ["6000000n", 6],
      ["99999999H", 99_999_999 * 3_600_000],
      ["0S", 0],
      ["007m", 7],
    ] as const) {
      assert.ok(Math.abs((parseTimeout(text) ?? -1) - millis) < 1e-9, text)
    }
  })

  test("is nothing else", () => {
    for (const text of [
      "",
      "1",
      "S",
      "1s",
      "1h",
      "123456789m",
      "-1S",
      "+1S",
      "1.5S",
      " 1S",
      "1S ",
      "1 S",
      "1SS",
      "1S\n",
      "٣S",
      "0x1S",
      "1e3m",
      "NaNm",
    ]) {
      assert.equal(parseTimeout(text), undefined, JSON.stringify(text))
    }
  })

  test("is never shorter than what it was made of, nor longer by more than the eighth digit", () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-3, max: 99_999_999 * 3_600_000, noNaN: true }), (millis) => {
        const text = formatTimeout(millis)
        assert.match(text, /^[1-9]\d{0,7}[HMSmu]$/)
        const parsed = parseTimeout(text) ?? 0
        assert.ok(parsed >= millis * (1 - 1e-12), `${text} is shorter than ${millis}`)
        assert.ok(parsed <= millis * (1 + 1e-5) + 1e-3, `${text} is longer than ${millis}`)
      }),
      { numRuns: 2000 },
    )
  })

  test("leaves a call a moment even where no time is left, and has an end for what has none", () => {
    assert.deepEqual([0, -5, 1e-9].map(formatTimeout), ["1u", "1u", "1u"])
    assert.deepEqual([1e300, Number.POSITIVE_INFINITY].map(formatTimeout), ["99999999H", "99999999H"])
  })
})
