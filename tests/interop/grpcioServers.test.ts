/**
 * Our command and our client against Python servers: the tutorial's, and one of the methods that it only tells of.
 */
import assert from "node:assert/strict"
import { type Cause, Effect, Queue, Stream } from "effect"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { PiCalculator as StreamingPiCalculator } from "../../src/transport/gen/streaming/pi_pb.ts"
import { grpcio, grpcioServed } from "./grpcio.ts"
import { assertNear, numbersOf, pi, upTo } from "./numbers.ts"
import { lines } from "./processes.ts"
import { basel } from "./programs.ts"
import { test } from "./support.ts"
import { hasGzip, wiretap } from "./wiretap.ts"

for (const runtime of ["bun", "deno"] as const) {
  test(`calc on ${runtime} prints what the tutorial's client prints`, () =>
    Effect.gen(function* () {
      const { host, url } = yield* grpcioServed("server.py")
      const printed = lines(yield* basel(["calc", "1..999", "--protocol", "grpc", "--address", url], runtime))
      assert.deepEqual(printed, yield* grpcio("client.py", host))
    }))

  test(`stream on ${runtime} prints the answers of a grpcio server as they are`, () =>
    Effect.gen(function* () {
      const { url } = yield* grpcioServed("full_server.py")
      const printed = lines(yield* basel(["stream", "1..999", "--address", url], runtime))
      assert.deepEqual(
        numbersOf(printed),
        upTo(999).filter((n) => n % 2 === 1),
      )
    }))
}

test("many calls at once keep their order", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("server.py")
    const printed = lines(yield* basel(["calc", "1..999", "--concurrency", "50", "--address", url]))
    assert.deepEqual(
      printed,
      upTo(999).map((n) => `pi(${n}) = ${pi(n)}`),
    )
  }))

test("range, summarize and report make the other kinds of calls to a grpcio server", () =>
  Effect.gen(function* () {
    const { url, said } = yield* grpcioServed("full_server.py")
    const call = (...args: ReadonlyArray<string>) => Effect.map(basel([...args, "--address", url]), lines)
    assert.deepEqual(numbersOf(yield* call("range", "1..999")), upTo(999))
    const [summary = ""] = yield* call("summarize", "1..999", "--json")
    const { count, min, max, meanError } = JSON.parse(summary)
    assert.equal(count, 999)
    assertNear(min, pi(1))
    assertNear(max, pi(999))
    assertNear(meanError, upTo(999).reduce((sum, n) => sum + Math.PI - pi(n), 0) / 999)
    assert.deepEqual(yield* call("report", "π is near", "--level", "warning"), ["reported"])
    yield* said(/^report warning π is near True$/m)
  }))

test("the error of a grpcio server is printed with its code and message, and the exit code is 1", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("server.py")
    const { code, stdout, stderr } = yield* basel(["calc", "0", "--address", url])
    assert.deepEqual({ code, stdout }, { code: 1, stdout: "" })
    assert.match(stderr, /^invalid_argument: request number should be positive\n/)
  }))

test("an error after answers comes after them, whatever letters its message has", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("full_server.py")
    const { code, stdout, stderr } = yield* basel(["range", "998..1003", "--address", url])
    assert.deepEqual(numbersOf(stdout.trim().split("\n")), [998, 999, 1000])
    assert.deepEqual({ code, stderr }, { code: 1, stderr: "out_of_range: 100% of π ends at 1000\n" })
  }))

test("an error's details come from a grpcio server as what they are, or as bytes where nobody knows their type", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("full_server.py")
    const client = Client.make(PiCalculator, yield* connect(url))
    const error = yield* Effect.flip(Stream.runDrain(client.calcRange({ first: 0, last: 1 })))
    assert.deepEqual([error.code, error.message], ["invalid_argument", "request number should be positive"])
    const [known, ours, unknown] = error.details
    assert.deepEqual(known, {
      type: "google.rpc.BadRequest",
      value: { fieldViolations: [{ field: "first", description: "should be positive" }] },
    })
    assert.deepEqual(ours, { type: "pi.PiPoint", value: { n: -7, value: 0.5 } })
    assert.deepEqual(unknown, { type: "nobody.Knows", value: new Uint8Array([8, 7]) })
  }))

test("a method that a grpcio server hasn't is unimplemented", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("full_server.py")
    const { code, stderr } = yield* basel(["calc", "1", "--address", url])
    assert.equal(code, 1)
    assert.match(stderr, /^unimplemented: /)
  }))

test("a deadline is told to a grpcio server", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("server.py")
    const { stderr } = yield* basel(["calc", "1", "--deadline", "1m", "-v", "--address", url])
    const [, remaining] = /^< x-time-remaining: (\S+) \(trailer\)$/m.exec(stderr) ?? assert.fail(stderr)
    assert.ok(Number(remaining) > 30 && Number(remaining) <= 60, `${remaining} s`)
  }))

test("a deadline ends a call to a slow grpcio server", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("server.py", 1)
    const { code, stderr } = yield* basel(["calc", "1", "--deadline", "100ms", "--address", url])
    assert.equal(code, 1)
    assert.match(stderr, /^deadline_exceeded: /)
  }))

test("a grpcio server reads what we compress", () =>
  Effect.gen(function* () {
    const { url, sent } = yield* wiretap(yield* grpcioServed("server.py"))
    const printed = lines(yield* basel(["calc", "1..20", "--compress", "gzip", "--address", url]))
    assert.deepEqual(numbersOf(printed), upTo(20))
    assert.ok(hasGzip(sent()))
  }))

test("metadata reaches a grpcio server and comes back, bytes too", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("server.py")
    const headers = ["-H", "x-user: ada", "-H", "x-token-bin: AP8s"]
    const { code, stderr } = yield* basel(["calc", "1", ...headers, "-v", "--address", url])
    assert.equal(code, 0, stderr)
    assert.match(stderr, /^< x-user: ada$/m)
    assert.match(stderr, /^< x-token-bin: AP8s$/m)
    assert.match(stderr, /^< x-served-by: grpcio \(trailer\)$/m)
  }))

test("a grpcio server reads repeated keys whose values are bytes", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("server.py")
    const headers = ["-H", "x-token-bin: AP8s", "-H", "x-token-bin: AQID"]
    const { code, stderr } = yield* basel(["calc", "1", ...headers, "-v", "--address", url])
    assert.equal(code, 0, stderr)
    assert.deepEqual(stderr.match(/^< x-token-bin: .*$/gm), ["< x-token-bin: AP8s", "< x-token-bin: AQID"])
  }))

test("a stream is a conversation: an answer may come before the next request is known", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("full_server.py")
    const client = Client.make(PiCalculator, yield* connect(url))
    const requests = yield* Queue.make<{ n: number }, Cause.Done>()
    yield* Queue.offer(requests, { n: 1 })
    const answers = client
      .calcStream(Stream.fromQueue(requests))
      .pipe(Stream.tap(({ n }) => (n < 99 ? Queue.offer(requests, { n: n + 2 }) : Queue.end(requests))))
    assert.deepEqual(
      (yield* Stream.runCollect(answers)).map(({ n }) => n),
      upTo(99).filter((n) => n % 2 === 1),
    )
  }))

test("a stream that is left early ends on a grpcio server", () =>
  Effect.gen(function* () {
    const { url, said } = yield* grpcioServed("full_server.py")
    const client = Client.make(PiCalculator, yield* connect(url))
    const answers = client.calcStream(Stream.concat(Stream.make({ n: 1 }), Stream.never))
    assert.deepEqual((yield* Stream.runCollect(Stream.take(answers, 1))).length, 1)
    yield* said(/^stream over$/m)
  }))

test("the tutorial's streaming server answers our client, each answer with the n of its request", () =>
  Effect.gen(function* () {
    const { url } = yield* grpcioServed("streaming_server.py")
    const client = Client.make(StreamingPiCalculator, yield* connect(url))
    const requests = Stream.map(Stream.range(1, 999), (n) => ({ n }))
    const answers = yield* Stream.runCollect(client.calc(requests))
    assert.ok(answers.length > 350 && answers.length < 650, `${answers.length} of 999 answered`)
    assert.deepEqual(
      answers.map(({ value }) => value),
      answers.map(({ n }) => pi(n)),
    )
  }))
