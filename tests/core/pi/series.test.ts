import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { Cause, Effect, Exit, Fiber } from "effect"
import fc from "fast-check"
import { closedForm, piClosedForm, type Series, summation } from "../../../src/core/pi/series.ts"

const MAX = 2147483647

/** As many small numbers as large ones: uniform in the number of bits, then in the number. */
const terms = (max = MAX): fc.Arbitrary<number> =>
  fc
    .integer({ min: 0, max: Math.floor(Math.log2(max)) })
    .chain((bits) => fc.integer({ min: 2 ** bits, max: Math.min(2 ** (bits + 1) - 1, max) }))

const magnitudes = [
  ...Array.from({ length: 31 }, (_, k) => 2 ** k),
  ...Array.from({ length: 10 }, (_, k) => 10 ** k),
  MAX,
].flatMap((n) => [n - 1, n, n + 1].filter((m) => m >= 1 && m <= MAX))

describe("closedForm", () => {
  test("is within 0.6 ulp of pi(n) for each n up to 5000", () => {
    let sum = 0n
    for (let n = 1; n <= 5000; n++) {
      sum += term(n - 1)
      assertUlps(n, piOfSum(sum), 0.6)
    }
  })

  test("is within 0.51 ulp of pi(n) around the powers of 2 and of 10, where its series alone gives the answer", () => {
    for (const n of magnitudes.filter((n) => n >= 1000)) assertUlps(n, piOfTail(n), 0.51)
  })

  test("is within 0.51 ulp of pi(n) for any n", () => {
    fc.assert(
      fc.property(
        terms().filter((n) => n >= 1000),
        (n) => assertUlps(n, piOfTail(n), 0.51),
      ),
      { numRuns: 2000 },
    )
  })

  test("grows with n and stays below π", () => {
    fc.assert(
      fc.property(terms(), terms(), (a, b) => {
        assert.ok(piClosedForm(Math.min(a, b)) <= piClosedForm(Math.max(a, b)))
        assert.ok(piClosedForm(a) < Math.PI)
      }),
      { numRuns: 1000 },
    )
    // Beyond, neighbours are closer than the doubles are.
    fc.assert(fc.property(terms(10_000_000), (n) => assert.ok(piClosedForm(n) < piClosedForm(n + 1))))
  })

  test("is piClosedForm as an effect", () => {
    fc.assert(fc.property(terms(), (n) => assert.equal(Effect.runSync(closedForm(n)), piClosedForm(n))))
  })
})

describe("summation", () => {
  test("gives the tutorial's doubles for each n up to 2000", () => {
    for (let n = 1; n <= 2000; n++) assert.equal(Effect.runSync(summation(n)), tutorial(n))
  })

  test("gives the tutorial's doubles on both sides of each slice", async () => {
    const slices = [1, 2, 3, 100].flatMap((k) => [8192 * k - 1, 8192 * k, 8192 * k + 1])
    for (const n of [...slices, 1_000_000, 3_000_000]) {
      assert.equal(await Effect.runPromise(summation(n)), tutorial(n), `n = ${n}`)
    }
  })

  test("starts anew each time it is run", async () => {
    const twice = summation(20_000)
    assert.equal(await Effect.runPromise(twice), await Effect.runPromise(twice))
  })

  test("ends a short sum in the turn it began in, and only a short one", async () => {
    assert.deepEqual(Effect.runFork(summation(8192)).pollUnsafe(), Exit.succeed(tutorial(8192)))
    const long = Effect.runFork(summation(8193))
    assert.equal(long.pollUnsafe(), undefined)
    assert.equal(await Effect.runPromise(Fiber.join(long)), tutorial(8193))
  })

  test("is interrupted while it runs", async () => {
    const exit = await Effect.runPromise(
      Effect.gen(function* () {
        const fiber = yield* Effect.forkChild(summation(MAX))
        for (let turn = 0; turn < 5; turn++) yield* Effect.yieldNow
        assert.equal(fiber.pollUnsafe(), undefined)
        yield* Fiber.interrupt(fiber)
        return yield* Fiber.await(fiber)
      }),
    )
    assert.ok(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause))
  })

  test("ends at a deadline", async () => {
    const exit = await Effect.runPromiseExit(Effect.timeout(summation(MAX), "5 millis"))
    assert.ok(Exit.isFailure(exit) && Cause.isTimeoutError(Cause.squash(exit.cause)))
  })

  test("lets timers and other fibers run", async () => {
    const long = Effect.runFork(summation(MAX))
    await new Promise((resolve) => setTimeout(resolve, 0))
    assert.equal(await Effect.runPromise(summation(100_000)), tutorial(100_000))
    assert.equal(long.pollUnsafe(), undefined)
    await Effect.runPromise(Fiber.interrupt(long))
  })
})

test("both series print the tutorial's figures", () => {
  const printed = [
    [990, 3.14127111202],
    [991, 3.1412714365],
    [992, 3.14127176033],
    [993, 3.1412720835],
    [994, 3.14127240602],
    [995, 3.14127272789],
    [996, 3.14127304912],
    [997, 3.1412733697],
    [998, 3.14127368964],
    [999, 3.14127400894],
  ] as const
  const print = (series: Series, n: number) => Number(Effect.runSync(series(n)).toPrecision(12))
  for (const [n, figure] of printed) {
    assert.equal(print(summation, n), figure)
    assert.equal(print(closedForm, n), figure)
  }
})

test("the two references agree to 60 digits", () => {
  let sum = 0n
  for (let n = 1; n <= 5000; n++) {
    sum += term(n - 1)
    // Of its 77 digits a sum of n rounded terms loses the last few.
    if (n >= 1000) assert.ok(abs(piOfSum(sum) - piOfTail(n)) < ONE / 10n ** 60n, `n = ${n}`)
  }
  assert.equal(((PI * 10n ** 60n) / ONE).toString(), "3141592653589793238462643383279502884197169399375105820974944")
})

/** The loop as the tutorial has it. */
const tutorial = (n: number): number => {
  let s = 0
  for (let i = 0; i < n; i++) s += 1 / (2 * i + 1) / (2 * i + 1)
  return Math.sqrt(8 * s)
}

// The reference: numbers of 256 bits after the point, as BigInts. Every function below works on these.
const BITS = 256n
const ONE = 1n << BITS

const abs = (x: bigint): bigint => (x < 0n ? -x : x)

/** Machin: π = 16·arctan(1/5) − 4·arctan(1/239). */
const PI = 16n * arctanOfInverse(5n) - 4n * arctanOfInverse(239n)

function arctanOfInverse(x: bigint): bigint {
  let sum = 0n
  let sign = 1n
  for (let k = 1n, power = ONE / x; power > 0n; k += 2n, power /= x * x, sign = -sign) sum += (sign * power) / k
  return sum
}

const term = (i: number): bigint => ONE / BigInt(2 * i + 1) ** 2n

/** √(8·S), where S is the sum of the terms. */
const piOfSum = (sum: bigint): bigint => sqrt(8n * sum)

/** √(π² − 2·ψ₁(n + ½)), ψ₁(n + ½) ~ Σ B₂ₖ(½)/n²ᵏ⁺¹ (DLMF 5.11.8): for n ≥ 1000 the terms left out are below 10⁻⁸⁸. */
const piOfTail = (n: number): bigint => {
  const m = BigInt(n)
  let trigamma = 0n
  let power = m
  for (const [numerator, denominator] of BERNOULLI_AT_HALF) {
    trigamma += (ONE * numerator) / (denominator * power)
    power *= m * m
  }
  return sqrt(((PI * PI) >> BITS) - 2n * trigamma)
}

/** B₂ₖ(½) = (2^(1−2k) − 1)·B₂ₖ for k = 0 … 15, as fractions. */
const BERNOULLI_AT_HALF = ((): ReadonlyArray<readonly [bigint, bigint]> => {
  // Akiyama and Tanigawa's table is made of 1, 1/2, … 1/31 by whole multiples: in units of 1/31! it needs no fractions.
  let unit = 1n
  for (let k = 2n; k <= 31n; k++) unit *= k
  const row: Array<bigint> = []
  const bernoulli: Array<bigint> = []
  for (let m = 0; m <= 30; m++) {
    row[m] = unit / BigInt(m + 1)
    for (let j = m; j >= 1; j--) row[j - 1] = BigInt(j) * ((row[j - 1] ?? 0n) - (row[j] ?? 0n))
    bernoulli[m] = row[0] ?? 0n
  }
  return Array.from({ length: 16 }, (_, k) => {
    const power = 4n ** BigInt(k)
    return [(2n - power) * (bernoulli[2 * k] ?? 0n), power * unit] as const
  })
})()

/** Newton's method from π, which is above every root we ask for, down to where it no longer falls. */
const sqrt = (x: bigint): bigint => {
  for (let root = PI; ; ) {
    const next = (root + (x << BITS) / root) >> 1n
    if (next >= root) return root
    root = next
  }
}

/** √8 ≤ pi(n) < 4, where doubles are 2⁻⁵¹ apart. */
const assertUlps = (n: number, exact: bigint, atMost: number): void => {
  const double = BigInt(piClosedForm(n) * 2 ** 51) << (BITS - 51n)
  const ulps = Number(abs(double - exact)) / 2 ** Number(BITS - 51n)
  assert.ok(ulps <= atMost, `pi(${n}) is ${ulps} ulp off`)
}
