import assert from "node:assert/strict"
import { create, toBinary } from "@bufbuild/protobuf"
import { Effect, Fiber, Stream } from "effect"
import { sendHeader, sendTrailer } from "../../src/core/rpc/call.ts"
import { RpcError } from "../../src/core/rpc/error.ts"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator, PiResponseSchema } from "../../src/transport/gen/pi_pb.ts"
import { PiCalculator as StreamingPiCalculator } from "../../src/transport/gen/streaming/pi_pb.ts"
import { frameType } from "../../src/transport/http2/frames.ts"
import { serve } from "../../src/transport/server.ts"
import * as Service from "../../src/transport/service.ts"
import { test } from "../effect.ts"
import { isPing, ofType, peer, pong } from "../transport/net/support.ts"
import { answer, scripted } from "../transport/scripted.ts"
import { wire } from "../transport/support.ts"
import { openCall, refusesConnections } from "./calls.ts"
import { basel, certificates, configs, file, running, served, start } from "./command.ts"

const pi3 = "pi(1) = 2.82842712474619\npi(2) = 2.9814239699997196\npi(3) = 3.0346151137976114\n"

const pem = (name: string) => `${certificates}/${name}`
const tls = ["--cert", pem("server.pem"), "--key", pem("server.key")]

test("every command explains itself, with an example", () =>
  Effect.forEach(
    [[], ["serve"], ["calc"], ["stream"], ["range"], ["summarize"], ["report"], ["discover"], ["experiment"]],
    (command) =>
      Effect.map(basel([...command, "--help"]), ({ code, stdout }) => {
        assert.equal(code, 0)
        assert.match(stdout, /EXAMPLES\n.*#/s)
      }),
    { discard: true },
  ))

test("the version is the package's", () =>
  Effect.map(basel(["--version"]), ({ code, stdout }) => {
    assert.equal(code, 0)
    assert.match(stdout, /^basel \d+\.\d+\.\d+\n$/)
  }))

test("calc takes numbers, ranges or standard input, in any protocol and encoding", () =>
  Effect.gen(function* () {
    const { url } = yield* served()
    const calc = (args: ReadonlyArray<string>, stdin?: string) => basel(["calc", "--address", url, ...args], stdin)
    for (const args of [
      ["1..3"],
      ["1", "2..3", "--concurrency", "3"],
      ["1..3", "--protocol", "grpc-web"],
      ["1..3", "--protocol", "connect", "--deadline", "10s"],
      ["1..3", "--compress", "gzip", "-H", "x-user: ada"],
      ["1..3", "--compress", "br"],
      ["1..3", "--compress", "zstd", "--protocol", "connect"],
    ]) {
      assert.deepEqual(yield* calc(args), { code: 0, stdout: pi3, stderr: "" }, args.join(" "))
    }
    assert.deepEqual(yield* calc([], "1\n\n 2..3 \n"), { code: 0, stdout: pi3, stderr: "" })
    assert.equal((yield* calc(["999", "--json"])).stdout, '{"n":999,"value":3.1412740089419966}\n')
  }))

test("stream, range, summarize and report make the other kinds of calls", () =>
  Effect.gen(function* () {
    const { url, said } = yield* served("--seed", "7")
    const call = (...args: ReadonlyArray<string>) => basel([...args, "--address", url])
    const first = yield* call("stream", "1..200")
    assert.equal(first.code, 0)
    const answered = first.stdout.split("\n").length - 1
    assert.ok(answered > 60 && answered < 140, `${answered} of 200 answered`)
    assert.equal((yield* call("stream", "1..200")).stdout, first.stdout, "the seed decides")
    assert.equal((yield* call("range", "1..3")).stdout, pi3)
    assert.equal(
      (yield* call("summarize", "1..3")).stdout,
      "count 3, min 2.82842712474619, max 3.0346151137976114, mean error 0.19343725074195284\n",
    )
    assert.equal((yield* call("report", 'disk "full"\nnext', "--level", "warning")).stdout, "reported\n")
    yield* Effect.promise(() => said(/report \{"level":"warning","text":"disk \\"full\\"\\nnext","time":\d+/))
  }))

test("experiment measures its own servers, without a delay and with one", () =>
  Effect.gen(function* () {
    const { code, stdout, stderr } = yield* basel(["experiment", "--calls", "5", "--json"])
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" })
    const measured = stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
    assert.deepEqual(
      measured.map(({ delayMillis, atATime, calls }) => [delayMillis, atATime, calls]),
      [0, 10].flatMap((delay) => [1, 4, 16, 64].map((atATime) => [delay, atATime, 5])),
    )
    // The only bound that holds on any machine; a timer may be a millisecond early.
    assert.ok(measured[4].seconds > 5 * 0.009, "the delay is there")
    const table = yield* basel(["experiment", "--calls", "5"])
    assert.match(table.stdout, /^no delay on the server:\n( .*\n|─+\n){6}\n10 ms on the server, each call:\n/)
  }))

test("experiment measures a server that runs already, and ends with the first call that fails or lies", () =>
  Effect.gen(function* () {
    const at = (url: string) => basel(["experiment", "--calls", "5", "--address", url])
    const { code, stdout } = yield* at((yield* served()).url)
    assert.equal(code, 0)
    assert.match(stdout, /^the server that runs already:\n( .*\n|─+\n){6}$/)
    const refusing = Service.partial(PiCalculator, {
      calc: () => Effect.fail(new RpcError({ code: "aborted", message: "no" })),
    })
    const lying = Service.partial(PiCalculator, { calc: () => Effect.succeed({ value: 3 }) })
    for (const [service, expected] of [
      [refusing, /^aborted: no\n$/],
      [lying, /^pi\(1\) was answered with 3, and is 2\.82842712474619: what answers is no pi calculator.*\n$/],
    ] as const) {
      const failed = yield* at((yield* serve(service, { port: 0 })).url)
      assert.deepEqual({ code: failed.code, stdout: failed.stdout }, { code: 1, stdout: "" })
      assert.match(failed.stderr, expected)
    }
  }))

test("experiment says what to do where it may not start a server", () =>
  Effect.gen(function* () {
    const { code, stdout, stderr } = yield* Effect.promise(
      () => start("deno run --no-prompt --allow-net src/main.ts experiment").finished,
    )
    assert.deepEqual({ code, stdout }, { code: 1, stdout: "" })
    assert.match(
      stderr,
      /^cannot start a server of its own: .* --allow-read .*\n {2}start one with "deno run .*src\/main\.ts serve"/,
    )
  }))

test("an RPC error goes to standard error with its details and metadata, and the exit code is 1", () =>
  Effect.gen(function* () {
    const service = Service.partial(PiCalculator, {
      calc: () =>
        Effect.andThen(
          sendHeader({ "x-initial": "early" }),
          Effect.fail(new RpcError({ code: "aborted", message: "no", metadata: [["x-trailing", "late"]] })),
        ),
    })
    const { url } = yield* serve(service, { port: 0 })
    const { code, stdout, stderr } = yield* basel(["calc", "1", "--address", url])
    assert.deepEqual({ code, stdout }, { code: 1, stdout: "" })
    assert.match(stderr, /^aborted: no\n/)
    assert.match(stderr, /^ {2}x-initial: early$/m)
    assert.match(stderr, /^ {2}x-trailing: late$/m)
    const refused = yield* Effect.flatMap(served(), (server) => basel(["calc", "0", "--address", server.url]))
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /^invalid_argument: request number should be positive\n {2}google.rpc.BadRequest \{/)
  }))

test("-v shows metadata, sent and received, on standard error", () =>
  Effect.gen(function* () {
    const service = Service.partial(PiCalculator, {
      calc: () =>
        Effect.as(
          Effect.andThen(sendHeader({ "x-initial": "early" }), sendTrailer({ "x-trailing-bin": new Uint8Array([1]) })),
          { value: 1 },
        ),
    })
    const { url } = yield* serve(service, { port: 0 })
    const { stdout, stderr } = yield* basel(["calc", "1", "-v", "-H", "X-User: ada", "--address", url])
    assert.equal(stdout, "pi(1) = 1\n")
    assert.equal(
      stderr,
      "> /pi.PiCalculator/Calc\n> x-user: ada\n< x-initial: early\n< x-trailing-bin: AQ== (trailer)\n",
    )
  }))

test("wrong usage exits 2 with a line that says what is right", () =>
  Effect.gen(function* () {
    for (const [args, expected] of [
      [["calc", "abc"], /numbers>: "abc". Expected: a number such as 999 or a range such as 1..999/],
      [["calc", "3000000000"], /numbers from -2147483648 to 2147483647/],
      [["range", "9..1"], /the smaller number first, as in 1..999/],
      [["calc", "1", "--deadline", "soon"], /Expected a duration such as 10ms/],
      [["calc", "1", "--protocol", "soap"], /grpc-web/],
      [["calc", "1", "-H", "Bad Key:1"], /other characters than/],
      [["calc", "1", "--concurrency", "0"], /from 1 to 10000/],
      [["experiment", "--calls", "0"], /from 1 to 10000/],
      [["calc", "1", "--address", "nowhere"], /is not an address: give a URL, such as http:/],
      [["serve", "--port", "99999"], /from 0 to 65535/],
      [["serve", "--bogus"], /--bogus/],
      [["serve", "--keepalive-time", "0s"], /Expected a duration above zero/],
      [["bogus"], /bogus/],
    ] as const) {
      const { code, stdout, stderr } = yield* basel(args)
      assert.deepEqual({ code, stdout }, { code: 2, stdout: "" }, args.join(" "))
      assert.match(stderr, expected)
    }
  }))

test("a bad line of standard input ends the command with exit code 2, after the good ones", () =>
  Effect.gen(function* () {
    const { url } = yield* served()
    for (const command of ["calc", "stream", "summarize"]) {
      const { code, stderr } = yield* basel([command, "--address", url], "1\nx\n")
      assert.equal(code, 2, command)
      assert.match(stderr, /Invalid line of standard input: "x". Expected: a number/)
    }
  }))

test("a server that isn't there is said to be so, with how to start one", () =>
  Effect.gen(function* () {
    const { code, stderr } = yield* basel(["calc", "1", "--address", "http://127.0.0.1:1"])
    assert.equal(code, 1)
    assert.match(
      stderr,
      /^unavailable: .*\n {2}looked for a server at http:\/\/127.0.0.1:1: start one with "\w+ .*src\/main\.ts serve"/,
    )
  }))

test("--wait-for-ready waits for a server as long as the deadline allows", () =>
  Effect.gen(function* () {
    const gone = yield* served()
    gone.signal("SIGKILL")
    yield* Effect.promise(() => gone.finished)
    const call = ["calc", "999", "--wait-for-ready", "--address", gone.url]
    const late = yield* basel([...call, "--deadline", "100ms"])
    assert.deepEqual([late.code, late.stdout], [1, ""])
    assert.match(late.stderr, /^deadline_exceeded: /)
    const waiting = yield* Effect.forkChild(basel(call))
    yield* served("--port", new URL(gone.url).port)
    assert.equal((yield* Fiber.join(waiting)).stdout, "pi(999) = 3.1412740089419966\n")
  }))

test("calc comes through a server that is killed and started again, with all of its lines in order", () =>
  Effect.gen(function* () {
    const first = yield* served()
    const last = 20_000
    const args = ["calc", `1..${last}`, "--concurrency", "64", "--address", first.url]
    const calc = yield* running(file("src/main.ts", ...args))
    // It is in the middle of its calls.
    yield* Effect.promise(() => calc.said(/^pi\(100\) /m))
    first.signal("SIGKILL")
    yield* Effect.promise(() => first.finished)
    yield* served("--port", new URL(first.url).port)
    const { code, stdout, stderr } = yield* Effect.promise(() => calc.finished)
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" })
    const numbers = Array.from(stdout.matchAll(/^pi\((\d+)\) = 3\.|^pi\((\d+)\) = 2\./gm), ([, n, small]) =>
      Number(n ?? small),
    )
    assert.deepEqual(
      numbers,
      Array.from({ length: last }, (_, i) => i + 1),
    )
  }))

test("-v shows each attempt, and --attempts how many there are", () =>
  Effect.gen(function* () {
    let served = 0
    const service = Service.partial(PiCalculator, {
      calc: () =>
        Effect.suspend(() =>
          ++served % 3 === 0
            ? Effect.succeed({ value: 1 })
            : Effect.fail(new RpcError({ code: "unavailable", message: "busy", metadata: [["x-load", "9"]] })),
        ),
    })
    const { url } = yield* serve(service, { port: 0 })
    const patient = yield* basel(["calc", "1", "-v", "--address", url])
    assert.equal(patient.stdout, "pi(1) = 1\n")
    const attempt = "> /pi.PiCalculator/Calc\n"
    const busy = "< x-load: 9 (trailer)\n< unavailable: busy\n"
    const previous = (n: number) => `> grpc-previous-rpc-attempts: ${n}\n`
    assert.equal(patient.stderr, `${attempt}${busy}${attempt}${previous(1)}${busy}${attempt}${previous(2)}`)
    const once = yield* basel(["calc", "1", "--attempts", "1", "--address", url])
    assert.deepEqual([once.code, served], [1, 4])
  }))

test("--service-config calls as it says, and is told what is wrong with it", () =>
  Effect.gen(function* () {
    let served = 0
    const busy = new RpcError({ code: "aborted", message: "busy" })
    const service = Service.partial(PiCalculator, {
      calc: () => Effect.suspend(() => (++served < 3 ? Effect.fail(busy) : Effect.succeed({ value: 1 }))),
    })
    const { url } = yield* serve(service, { port: 0 })
    const config = (name: string) => ["calc", "1", "--address", url, "--service-config", `${configs}/${name}`]
    const { stdout } = yield* basel(config("retryAborted.json"))
    assert.deepEqual([stdout, served], ["pi(1) = 1\n", 3])
    for (const [name, expected] of [
      ["none.json", /^--service-config \S+none.json: there is no such file/],
      ["wrong.json", /^--service-config \S+wrong.json: .*maxAttempts/],
    ] as const) {
      const { code, stderr } = yield* basel(config(name))
      assert.equal(code, 2)
      assert.match(stderr, expected)
    }
  }))

test("--ca, --cert and --key call a server over TLS that asks for a certificate", () =>
  Effect.gen(function* () {
    const { url } = yield* served(...tls, "--client-ca", pem("ca.pem"))
    const call = ["calc", "999", "--address", url, "--ca", pem("ca.pem")]
    const known = yield* basel([...call, "--cert", pem("client.pem"), "--key", pem("client.key")])
    assert.deepEqual([known.stdout, known.stderr], ["pi(999) = 3.1412740089419966\n", ""])
    const unknown = yield* basel(call)
    assert.equal(unknown.code, 1)
    assert.match(unknown.stderr, /^unavailable: .*certificate/)
    const distrusted = yield* basel(["calc", "999", "--address", url])
    assert.match(distrusted.stderr, /^unavailable: .*its certificate/)
    for (const [args, expected] of [
      [["--cert", pem("client.pem")], /^--cert needs --key: /],
      [["--ca", pem("none.pem")], /^--ca \S+none.pem: there is no such file/],
      [["--ca", pem("client.key")], /^--ca \S+client.key is no certificate: give/],
      [["--cert", pem("client.pem"), "--key", pem("server.key")], /^--key \S+server.key is the key of another/],
    ] as const) {
      const { code, stderr } = yield* basel(["calc", "1", "--address", url, ...args])
      assert.equal(code, 2)
      assert.match(stderr, expected)
    }
  }))

test("a port that is taken is named in one line, with exit code 1", () =>
  Effect.gen(function* () {
    const { url } = yield* served()
    const { port } = new URL(url)
    const { code, stderr } = yield* basel(["serve", "--port", port])
    assert.equal(code, 1)
    assert.match(stderr, new RegExp(`^cannot listen on 127.0.0.1:${port}: another process listens there already.*\n$`))
  }))

const run = (command: string) => Effect.promise(() => start(command).finished)

test("--cert and --key serve over TLS, and the curl that is shown trusts that", () =>
  Effect.gen(function* () {
    const { url, said } = yield* served(...tls)
    assert.match(url, /^https:/)
    const [curl] = yield* Effect.promise(() => said(/^ {2}curl .+/m))
    assert.equal((yield* run(`${curl} -s`)).stdout, '{"value":3.1412740089419966}')
    const [grpcurl] = yield* Effect.promise(() => said(/grpcurl .+/))
    assert.match(grpcurl, new RegExp(`-cacert ${pem("server.pem")} `))
    assert.notEqual((yield* run(`curl -s ${url}`)).code, 0)
  }))

test("--client-ca turns away clients without a certificate", () =>
  Effect.gen(function* () {
    const { said } = yield* served(...tls, "--client-ca", pem("ca.pem"))
    const [curl] = yield* Effect.promise(() => said(/^ {2}curl .+/m))
    const known = curl.replace("client.pem", pem("client.pem")).replace("client.key", pem("client.key"))
    assert.equal((yield* run(`${known} -s`)).stdout, '{"value":3.1412740089419966}')
    const unknown = curl.replace("--cert client.pem --key client.key", "")
    assert.equal((yield* run(`${unknown} -s`)).stdout, "")
  }))

test("certificates that can't be served with are told by their flag and file, with what to do and exit code 2", () =>
  Effect.gen(function* () {
    for (const [args, expected] of [
      [["--cert", "x.pem"], /^--cert needs --key: /],
      [["--key", "x.pem"], /^--key needs --cert: /],
      [["--client-ca", "x.pem"], /^--client-ca needs --cert and --key: /],
      [["--cert", pem("none.pem"), "--key", pem("server.key")], /^--cert \S+none.pem: there is no such file/],
      [["--cert", pem("server.key"), "--key", pem("server.key")], /^--cert \S+server.key is no certificate: give/],
      [["--cert", pem("server.pem"), "--key", pem("ca.pem")], /^--key \S+ca.pem is no private key: give/],
      [["--cert", pem("server.pem"), "--key", pem("client.key")], /^--key \S+client.key is the key of another/],
      [[...tls, "--client-ca", pem("README.md")], /^--client-ca \S+README.md is no certificate: give/],
    ] as const) {
      const { code, stdout, stderr } = yield* basel(["serve", "--port", "0", ...args])
      assert.deepEqual({ code, stdout }, { code: 2, stdout: "" }, args.join(" "))
      assert.match(stderr, expected)
    }
  }))

/** A peer of `basel serve` with flags, that answers PINGs or doesn't. */
const peerOf = Effect.fnUntraced(function* (answers: boolean, ...args: ReadonlyArray<string>) {
  const { hostname: host, port } = new URL((yield* served(...args)).url)
  return yield* peer({ host, port: Number(port) }, answers)
})

test("--max-connections closes further ones, and must be one at least", () =>
  Effect.gen(function* () {
    const { url } = yield* served("--max-connections", "1")
    const { hostname: host, port } = new URL(url)
    const open = wire({ host, port: Number(port) })
    const first = yield* open
    yield* (yield* open).closed
    assert.equal(first.socket.closed, false)
    const none = yield* basel(["serve", "--max-connections", "0"])
    assert.notEqual(none.code, 0)
    assert.match(none.stderr, /--max-connections: "0"\. Expected a number of 1 or more/)
  }))

test("--keepalive-time and -timeout close a connection whose client is gone", () =>
  Effect.gen(function* () {
    const { closed } = yield* peerOf(false, "--keepalive-time", "50ms", "--keepalive-timeout", "50ms")
    assert.equal((yield* closed).filter(isPing).length, 1)
  }))

test("--keepalive-time of a call asks a server that says nothing whether it is there", () =>
  Effect.gen(function* () {
    const server = yield* scripted()
    const call = yield* Effect.forkScoped(basel(["calc", "3", "--keepalive-time", "50ms", "--address", server.url]))
    const asked = yield* server.accept
    asked.say(pong(yield* asked.frame(isPing)))
    asked.say(answer((yield* asked.request()).id, toBinary(PiResponseSchema, create(PiResponseSchema, { value: 3 }))))
    assert.deepEqual(yield* Fiber.join(call), { code: 0, stdout: "pi(3) = 3\n", stderr: "" })
    assert.match((yield* basel(["calc", "3", "--keepalive-time", "0s"])).stderr, /Expected a duration above zero/)
  }))

test("--max-connection-idle and -age drain a connection", () =>
  Effect.gen(function* () {
    for (const flags of [["--max-connection-idle"], ["--max-connection-age-grace", "1m", "--max-connection-age"]]) {
      const { closed } = yield* peerOf(true, ...flags, "50ms")
      assert.equal((yield* closed).filter(ofType(frameType.goaway)).length, 2)
    }
  }))

test("a deadline ends a call of a slow server, here and there", () =>
  Effect.gen(function* () {
    const { url } = yield* served("--summation", "--delay", "1ms")
    const { code, stderr } = yield* basel(["calc", "2147483647", "--deadline", "200ms", "--address", url])
    assert.equal(code, 1)
    assert.match(stderr, /^deadline_exceeded: /)
    assert.equal((yield* basel(["calc", "2", "--address", url])).stdout, "pi(2) = 2.9814239699997196\n", "it goes on")
  }))

test("--streaming serves the tutorial's streaming edition in the method's place", () =>
  Effect.gen(function* () {
    const { url } = yield* served("--streaming")
    const client = Client.make(StreamingPiCalculator, yield* connect(url))
    const points = yield* Stream.runCollect(client.calc(Stream.map(Stream.range(1, 100), (n) => ({ n }))))
    assert.ok(points.length > 20 && points.length < 80)
    assert.ok(points.every(({ n, value }) => n >= 1 && n <= 100 && value > 2.8))
  }))

test("Ctrl-C drains: no new connection, the running call ends, exit code 0", () =>
  Effect.gen(function* () {
    const server = yield* served()
    const { call, finish } = yield* openCall(server.url)
    server.signal("SIGINT")
    yield* Effect.eventually(Effect.scoped(refusesConnections(server.url)).pipe(Effect.sandbox))
    assert.doesNotMatch(server.output(), /bye/, "it is not gone yet")
    yield* finish
    yield* Fiber.await(call)
    const { code, stdout } = yield* Effect.promise(() => server.finished)
    assert.equal(code, 0)
    assert.match(stdout, /drained, bye\n$/)
  }))

test("a call that outlasts the grace is ended, and the exit code is still 0", () =>
  Effect.gen(function* () {
    const server = yield* served("--grace", "100ms")
    const { call } = yield* openCall(server.url)
    server.signal("SIGTERM")
    const { code } = yield* Effect.promise(() => server.finished)
    assert.equal(code, 0)
    const exit = yield* Fiber.await(call)
    assert.equal(exit._tag, "Failure")
  }))

test("a reader that leaves early is no failure", () =>
  Effect.gen(function* () {
    const { url } = yield* served()
    const reader = start(file("src/main.ts", "range", "1..1000000", "--address", url))
    yield* Effect.promise(() => reader.said(/pi\(1\)/))
    reader.process.stdout?.destroy()
    const { code, stderr } = yield* Effect.promise(() => reader.finished)
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" })
  }))
