import assert from "node:assert/strict"
import { Effect, Fiber, Stream } from "effect"
import { test } from "../effect.ts"
import { dial } from "../transport/support.ts"
import { openCall, refusesConnections } from "./calls.ts"
import {
  addressOf,
  anyRuns,
  basel,
  certificates,
  childrenOf,
  running,
  type Started,
  served,
  servedByWorkers,
  start,
  workersCommand,
} from "./command.ts"

const finished = (server: Started) => Effect.promise(() => server.finished)
const said = (server: Started, pattern: RegExp) => Effect.promise(() => server.said(pattern))

/** Waits until none of the processes runs any more. */
const gone = (pids: ReadonlyArray<number>) =>
  Effect.eventually(
    Effect.andThen(
      Effect.sleep("20 millis"),
      Effect.suspend(() => (anyRuns(pids) ? Effect.fail("they run") : Effect.void)),
    ),
  )

const connections = 64

test("workers share a port, and say which of them says what in one log", () =>
  Effect.gen(function* () {
    const server = yield* servedByWorkers(2, "--log")
    assert.equal(childrenOf(server.process).length, 2)
    const call = Effect.scoped(Effect.flatMap(dial(server), (client) => client.calc({ n: 1 })))
    const answers = yield* Effect.all(
      Array.from({ length: connections }, () => call),
      { concurrency: 8 },
    )
    assert.ok(answers.every(({ value }) => value === 2.82842712474619))
    for (const number of [1, 2]) yield* said(server, new RegExp(`^\\[${number}\\] .*pi.PiCalculator/Calc ok`, "m"))
    server.signal("SIGTERM")
    const { code, stdout, stderr } = yield* finished(server)
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" })
    const [first, ...others] = stdout.trimEnd().split("\n")
    assert.match(first ?? "", /^basel serves pi.PiCalculator on http:\S+: gRPC, gRPC-Web, Connect and JSON. Try:$/)
    assert.equal(others.pop(), "drained, bye")
    const logged = others.slice(3)
    assert.equal(logged.filter((line) => /^\[[12]\] .*Calc ok/.test(line)).length, connections)
    assert.equal(logged.length, connections, "and nothing else")
  }))

test("64 clients at once get all their answers, in calls of each kind", () =>
  Effect.gen(function* () {
    const server = yield* servedByWorkers(2, "--seed", "7")
    const calls = Effect.gen(function* () {
      const client = yield* dial(server)
      const ns = Stream.map(Stream.range(1, 100), (n) => ({ n }))
      return yield* Effect.all(
        [
          Effect.map(client.calc({ n: 999 }), ({ value }) => value),
          Stream.runCount(client.calcRange({ first: 1, last: 100 })),
          Effect.map(client.summarize(ns), ({ count }) => count),
          Stream.runCount(client.calcStream(ns)),
          Effect.as(client.report({ text: "here" }), "reported"),
        ],
        { concurrency: "unbounded" },
      )
    }).pipe(Effect.scoped)
    const all = yield* Effect.all(
      Array.from({ length: connections }, () => calls),
      { concurrency: "unbounded" },
    )
    const [, , , answered] = all[0] ?? []
    assert.ok(Number(answered) > 30, "the seed decides which, the same in each worker")
    for (const answers of all) assert.deepEqual(answers, [3.1412740089419966, 100, 100, answered, "reported"])
  }))

test("workers' lines come out whole, however long and many", () =>
  Effect.gen(function* () {
    const server = yield* servedByWorkers(2)
    // Long, and together less than what waits for a reader at most.
    const text = "ü".repeat(2048)
    const report = Effect.scoped(
      Effect.flatMap(dial(server), (client) =>
        Effect.all(
          Array.from({ length: 10 }, () => client.report({ text })),
          { concurrency: "unbounded" },
        ),
      ),
    )
    yield* Effect.all(
      Array.from({ length: 16 }, () => report),
      { concurrency: "unbounded", discard: true },
    )
    server.signal("SIGTERM")
    const { stdout } = yield* finished(server)
    const reports = stdout.split("\n").filter((line) => /ü/.test(line))
    assert.equal(reports.length, 16 * 10)
    const whole = new RegExp(`^\\[[12]\\] .* report ${JSON.stringify({ level: "info", text })}$`)
    assert.deepEqual(
      reports.filter((line) => !whole.test(line)),
      [],
    )
  }))

test("one signal drains them all: no new connection, running calls end, exit code 0", () =>
  Effect.gen(function* () {
    const server = yield* servedByWorkers(2, "--grace", "1m")
    const workers = childrenOf(server.process)
    const calls = yield* Effect.forEach(Array.from({ length: 8 }), () => openCall(server.url))
    server.signal("SIGTERM")
    yield* Effect.eventually(Effect.scoped(refusesConnections(server.url)).pipe(Effect.sandbox))
    assert.doesNotMatch(server.output(), /bye/, "it is not gone yet")
    for (const { finish } of calls) yield* finish
    for (const { call } of calls) assert.equal((yield* Fiber.await(call))._tag, "Success")
    const { code, stdout, stderr } = yield* finished(server)
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" })
    assert.match(stdout, /\ndrained, bye\n$/)
    assert.equal(anyRuns(workers), false)
  }))

test("a second signal ends all at once", () =>
  Effect.gen(function* () {
    const server = yield* servedByWorkers(2, "--grace", "1m")
    const workers = childrenOf(server.process)
    yield* openCall(server.url)
    server.signal("SIGINT")
    yield* Effect.eventually(Effect.scoped(refusesConnections(server.url)).pipe(Effect.sandbox))
    server.signal("SIGINT")
    assert.equal((yield* finished(server)).code, 130)
    yield* gone(workers)
  }))

/** The same in a process group of its own, as a terminal has it, and what sends a signal to all of that. */
const group = Effect.fnUntraced(function* (...args: ReadonlyArray<string>) {
  const server = yield* running(`setsid ${workersCommand(2, ...args)}`)
  const { pid } = server.process
  assert.ok(pid)
  return { ...server, url: yield* addressOf(server), signalAll: (name: NodeJS.Signals) => process.kill(-pid, name) }
})

test("Ctrl-C in a terminal reaches parent and workers, and counts once", () =>
  Effect.gen(function* () {
    const server = yield* group("--grace", "1m")
    const { call, finish } = yield* openCall(server.url)
    server.signalAll("SIGINT")
    yield* Effect.eventually(Effect.scoped(refusesConnections(server.url)).pipe(Effect.sandbox))
    yield* finish
    assert.equal((yield* Fiber.await(call))._tag, "Success")
    const { code, stdout, stderr } = yield* finished(server)
    assert.deepEqual({ code, stderr }, { code: 0, stderr: "" })
    assert.match(stdout, /\ndrained, bye\n$/)
  }))

test("a second Ctrl-C in a terminal ends all at once", () =>
  Effect.gen(function* () {
    const server = yield* group("--grace", "1m")
    const workers = childrenOf(server.process)
    yield* openCall(server.url)
    server.signalAll("SIGINT")
    yield* Effect.eventually(Effect.scoped(refusesConnections(server.url)).pipe(Effect.sandbox))
    server.signalAll("SIGINT")
    assert.equal((yield* finished(server)).code, 130)
    yield* gone(workers)
  }))

test("workers whose parent is killed drain and end, and running calls with them", () =>
  Effect.gen(function* () {
    // With a log, which nobody reads any more.
    const server = yield* servedByWorkers(2, "--grace", "1m", "--log")
    const workers = childrenOf(server.process)
    const { call, finish } = yield* openCall(server.url)
    server.signal("SIGKILL")
    yield* Effect.eventually(Effect.scoped(refusesConnections(server.url)).pipe(Effect.sandbox))
    assert.equal(anyRuns(workers), true)
    yield* finish
    assert.equal((yield* Fiber.await(call))._tag, "Success")
    yield* gone(workers)
  }))

test("a port that is taken is named in one line, with exit code 1, by workers too", () =>
  Effect.gen(function* () {
    for (const { url } of [yield* served(), yield* servedByWorkers(2)]) {
      const { port } = new URL(url)
      const { code, stdout, stderr } = yield* finished(start(workersCommand(2, "--port", port)))
      assert.deepEqual({ code, stdout }, { code: 1, stdout: "" })
      assert.match(
        stderr,
        new RegExp(`^cannot listen on 127.0.0.1:${port}: another process listens there already.*\n$`),
      )
    }
  }))

test("what is wrong with a certificate is told once", () =>
  Effect.gen(function* () {
    const wrong = ["--cert", `${certificates}/server.key`, "--key", `${certificates}/server.key`]
    const { code, stdout, stderr } = yield* finished(start(workersCommand(2, ...wrong)))
    assert.deepEqual({ code, stdout }, { code: 2, stdout: "" })
    assert.match(stderr, /^--cert \S+server.key is no certificate: .*\n$/)
  }))

test("workers speak TLS", () =>
  Effect.gen(function* () {
    const tls = ["--cert", `${certificates}/server.pem`, "--key", `${certificates}/server.key`]
    const { url } = yield* servedByWorkers(2, ...tls)
    const { stdout } = yield* basel(["calc", "999", "--address", url, "--ca", `${certificates}/ca.pem`])
    assert.equal(stdout, "pi(999) = 3.1412740089419966\n")
  }))

test("--workers takes a number or auto", () =>
  Effect.gen(function* () {
    for (const wrong of ["0", "two", "-1", "1.5", "9999"]) {
      const { code, stderr } = yield* basel(["serve", `--workers=${wrong}`])
      assert.equal(code, 2)
      assert.match(stderr, /Expected a number from 1 to 1024 or auto/)
    }
    const one = yield* served("--workers", "1")
    assert.deepEqual(childrenOf(one.process), [], "one serves by itself")
  }))

test("Deno that may start no processes is told what to add, with exit code 2", () =>
  Effect.gen(function* () {
    const { code, stdout, stderr } = yield* finished(
      start("deno run --no-prompt --allow-net src/main.ts serve --port 0 --workers 2"),
    )
    assert.deepEqual({ code, stdout }, { code: 2, stdout: "" })
    assert.match(stderr, /^--workers starts processes, .*: add --allow-env --allow-run=\S*deno\S* to .*\n$/)
  }))
