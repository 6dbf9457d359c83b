/**
 * The tutorial's Python programs, and others in their manner, as clients of our server.
 */
import assert from "node:assert/strict"
import { Effect } from "effect"
import { Call, sendHeader, sendTrailer } from "../../src/core/rpc/call.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { serve } from "../../src/transport/server.ts"
import * as Service from "../../src/transport/service.ts"
import { grpcio, grpcioServed } from "./grpcio.ts"
import { assertNear, numbersOf, pi, upTo } from "./numbers.ts"
import { served } from "./programs.ts"
import { test } from "./support.ts"
import { hasGzip, wiretap } from "./wiretap.ts"

// As the tutorial prints them; Python 2 printed 12 digits.
const figures = `
pi(990) = 3.14127111202
pi(991) = 3.1412714365
pi(992) = 3.14127176033
pi(993) = 3.1412720835
pi(994) = 3.14127240602
pi(995) = 3.14127272789
pi(996) = 3.14127304912
pi(997) = 3.1412733697
pi(998) = 3.14127368964
pi(999) = 3.14127400894
`

const asInPython2 = (line: string) => line.replace(/[\d.]+$/, (value) => `${Number(Number(value).toPrecision(12))}`)

for (const runtime of ["bun", "deno"] as const) {
  test(`the tutorial's client gets the tutorial's figures from our server on ${runtime}`, () =>
    Effect.gen(function* () {
      const { host } = yield* served([], runtime)
      const printed = yield* grpcio("client.py", host)
      assert.deepEqual(numbersOf(printed), upTo(999))
      assert.deepEqual(printed.slice(-10).map(asInPython2), figures.trim().split("\n"))
    }))

  test(`all four kinds of calls work from grpcio to our server on ${runtime}`, () =>
    Effect.gen(function* () {
      const { host, said } = yield* served([], runtime)
      const printed = yield* grpcio("kinds_client.py", host)
      const of = (method: string) => printed.filter((line) => line.startsWith(`${method} `))
      assert.deepEqual(numbersOf(of("Calc")), [999])
      assert.deepEqual(numbersOf(of("CalcRange")), upTo(999))
      const [count, min, max, meanError] = of("Summarize").join().split(" ").slice(1).map(Number)
      assert.equal(count, 999)
      assertNear(min ?? 0, pi(1))
      assertNear(max ?? 0, pi(999))
      assertNear(meanError ?? 0, upTo(999).reduce((sum, n) => sum + Math.PI - pi(n), 0) / 999)
      assertHalfOf999(numbersOf(of("CalcStream")))
      assert.deepEqual(of("Report"), ["Report Empty"])
      yield* said(/ report \{"level":"warning","text":"π is near","time":1528070400000\}/)
      assert.deepEqual(of("failed"), ["failed StatusCode.INVALID_ARGUMENT request number should be positive"])
    }))
}

/** Some of 1 to 999, in order. Fewer than 350 or more than 650 are nine standard deviations away. */
const assertHalfOf999 = (numbers: ReadonlyArray<number>): void => {
  assert.deepEqual(
    upTo(999).filter((n) => numbers.includes(n)),
    numbers,
  )
  assert.ok(numbers.length > 350 && numbers.length < 650, `${numbers.length} of 999 answered`)
}

test("with --summation the tutorial's client can't tell our server from the tutorial's", () =>
  Effect.gen(function* () {
    const servers = yield* Effect.all([served(["--summation"]), grpcioServed("server.py")], { concurrency: 2 })
    const [ours, theirs] = yield* Effect.all(
      servers.map(({ host }) => grpcio("client.py", host)),
      { concurrency: 2 },
    )
    assert.deepEqual(ours, theirs)
  }))

test("a client with many threads gets each its own answer", () =>
  Effect.gen(function* () {
    const { host } = yield* served(["--summation"])
    const printed = yield* grpcio("multithread_client.py", host)
    assert.deepEqual(
      printed,
      upTo(999).map((n) => `${n} ${pi(n)}`),
    )
  }))

test("the tutorial's streaming client gets about half of the answers, each with the n of its request", () =>
  Effect.gen(function* () {
    const { host } = yield* served(["--streaming"])
    const first = yield* grpcio("streaming_client.py", host)
    assertHalfOf999(numbersOf(first))
    assert.notDeepEqual(yield* grpcio("streaming_client.py", host), first)
  }))

test("a seed decides which answers a streaming client gets", () =>
  Effect.gen(function* () {
    const { host } = yield* served(["--streaming", "--seed", "7"])
    const first = yield* grpcio("streaming_client.py", host)
    assertHalfOf999(numbersOf(first))
    assert.deepEqual(yield* grpcio("streaming_client.py", host), first)
    const other = yield* served(["--streaming", "--seed", "8"])
    assert.notDeepEqual(yield* grpcio("streaming_client.py", other.host), first)
  }))

test("a client sees an error's code and message, and the call after it succeeds", () =>
  Effect.gen(function* () {
    const { host } = yield* served()
    const [error, ...answers] = yield* grpcio("error_client.py", host)
    assert.equal(error, "StatusCode.INVALID_ARGUMENT request number should be positive")
    assert.deepEqual(numbersOf(answers), [1])
  }))

test("a client may compress what it sends", () =>
  Effect.gen(function* () {
    const server = yield* served()
    const { host, sent } = yield* wiretap(server)
    assert.deepEqual(numbersOf(yield* grpcio("gzip_client.py", host)), [999])
    yield* server.said(/ report \{"level":"info","text":"(pi){1000}"\}/)
    assert.ok(hasGzip(sent()))
  }))

test("a client's timeout ends a call to a slow server", () =>
  Effect.gen(function* () {
    const { host } = yield* served(["--delay", "2s"])
    const [timedOut = ""] = yield* grpcio("timeout_client.py", host, 999, 0.2)
    assert.match(timedOut, /^StatusCode.DEADLINE_EXCEEDED /)
  }))

test("a client's timeout ends a long sum, on the server too, which then answers others", () =>
  Effect.gen(function* () {
    const { host, said } = yield* served(["--summation", "--log"])
    const [timedOut = ""] = yield* grpcio("timeout_client.py", host, 2_000_000_000, 0.5)
    assert.match(timedOut, /^StatusCode.DEADLINE_EXCEEDED /)
    yield* said(/Calc (deadline_exceeded|cancelled) /)
    assert.deepEqual(numbersOf(yield* grpcio("timeout_client.py", host, 999, 5)), [999])
  }))

test("a client leaves an endless stream, and its other calls are answered meanwhile", () =>
  Effect.gen(function* () {
    const { host, said } = yield* served(["--log"])
    const printed = yield* grpcio("cancel_client.py", host)
    assert.deepEqual(numbersOf(printed.slice(0, -1)), upTo(4))
    assert.equal(printed.at(-1), "StatusCode.CANCELLED")
    yield* said(/CalcRange cancelled /)
  }))

test("an error's details are google.rpc's to a client", () =>
  Effect.gen(function* () {
    const { host } = yield* served()
    const printed = yield* grpcio("metadata_client.py", host, 0)
    const message = "request number should be positive"
    assert.deepEqual(printed.slice(0, 3), [
      `StatusCode.INVALID_ARGUMENT ${message}`,
      `detail BadRequest field_violations { field: "n" description: "${message}" reason: "NUMBER_NOT_POSITIVE" }`,
      'detail ErrorInfo reason: "NUMBER_NOT_POSITIVE" domain: "pi.PiCalculator"',
    ])
    assert.ok(printed.some((line) => line.startsWith("trailing grpc-status-details-bin ")))
  }))

const echo = Service.partial(PiCalculator, {
  calc: ({ n }) =>
    Effect.gen(function* () {
      const { metadata } = yield* Call
      const sent = metadata.filter(([key]) => key.startsWith("x-"))
      yield* sendHeader(sent)
      yield* sendTrailer(sent)
      return { value: n }
    }),
})

/** What comes back, before the answer and after it, of metadata sent to `echo`: the values of each key, joined. */
const echoed = Effect.fnUntraced(function* (...sent: ReadonlyArray<string>) {
  const { host, port } = yield* serve(echo, { port: 0 })
  const printed = yield* grpcio("metadata_client.py", `${host}:${port}`, 5, ...sent)
  assert.equal(printed[0], "5.0")
  return ["initial", "trailing"].map((kind) => {
    const values: Record<string, string> = {}
    for (const line of printed) {
      const [, key = "", value] = new RegExp(`^${kind} (x-\\S+) (.*)$`).exec(line) ?? []
      if (value !== undefined) values[key] = values[key] === undefined ? value : `${values[key]}, ${value}`
    }
    return values
  })
})

test("metadata reaches our programs and comes back, before the answer and after it, bytes too", () =>
  Effect.gen(function* () {
    const metadata = { "x-user": "ada, countess", "x-token-bin": "00ff2c", "x-none-bin": "" }
    const sent = Object.entries(metadata).map(([key, value]) => `${key}=${value}`)
    assert.deepEqual(yield* echoed(...sent), [metadata, metadata])
  }))

test("metadata with repeated keys keeps their values in order", () =>
  Effect.gen(function* () {
    const metadata = { "x-user": "ada, grace" }
    assert.deepEqual(yield* echoed("x-user=ada", "x-user=grace"), [metadata, metadata])
  }))

test("metadata with repeated keys keeps their bytes apart", () =>
  Effect.gen(function* () {
    const metadata = { "x-token-bin": "00ff, 2c" }
    assert.deepEqual(yield* echoed("x-token-bin=00ff", "x-token-bin=2c"), [metadata, metadata])
  }))
