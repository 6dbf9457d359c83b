/**
 * The numbers that the tests expect of the calculator.
 */
import assert from "node:assert/strict"

/** pi(n) as the tutorial computes it. */
export const pi = (n: number): number => {
  let sum = 0
  for (let i = 0; i < n; i++) sum += 1 / (2 * i + 1) / (2 * i + 1)
  return Math.sqrt(8 * sum)
}

export const upTo = (last: number): ReadonlyArray<number> => Array.from({ length: last }, (_, i) => i + 1)

export const assertNear = (value: number, expected: number): void =>
  assert.ok(Math.abs(value - expected) < 1e-13, `${value} is not ${expected}`)

/** The numbers of lines such as `pi(999) = 3.1412740089419966`, whose values must be right up to their last digits. */
export const numbersOf = (printed: ReadonlyArray<string>): ReadonlyArray<number> =>
  printed.map((line) => {
    const [, n, value] = /(\d+)\D+(\d\.\d+)$/.exec(line) ?? assert.fail(`no point: ${line}`)
    assertNear(Number(value), pi(Number(n)))
    return Number(n)
  })
