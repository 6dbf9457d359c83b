import assert from "node:assert/strict"
import { describe } from "node:test"
import { Effect, Fiber } from "effect"
import { retry } from "../../src/core/layers/retry.ts"
import { childrenOf, type Started, servedByWorkers } from "../e2e/command.ts"
import { test } from "../effect.ts"
import { dial } from "../transport/support.ts"
import { eager, over, tally } from "./support.ts"

type Server = Started & { readonly url: string }

const said = (server: Started, pattern: RegExp) => Effect.promise(() => server.said(pattern))

// For as long as a slow machine may take to start a process.
const patient = retry({ maxAttempts: 200, backoff: { initial: "20 millis", max: "200 millis" } })

/** Calls over connections that spread over the workers, without an end; `more` waits for so many more answers. */
const calling = Effect.fnUntraced(function* (server: Server) {
  const answers = tally()
  const clients = yield* Effect.forEach(Array.from({ length: 8 }), () => dial(server, { backoff: eager }, patient))
  const calls = yield* Effect.forEach(clients, (client) => over(Effect.map(client.calc({ n: 1 }), answers.add), 4))
  const fails = Effect.andThen(Effect.all(calls.map(Fiber.join), { concurrency: "unbounded" }), Effect.never)
  return { more: (by: number) => Effect.raceFirst(fails, answers.more(by)) }
})

/** Waits until the parent has said of workers so many times that they ended so; gives the last one's number and wait. */
const ended = (server: Server, how: string, times: number) =>
  Effect.map(
    said(server, new RegExp(`(?:worker (\\d) ${how}: starting it again in (\\S+) s[\\s\\S]*){${times}}`)),
    ([, number, wait]) => ({ number: Number(number), wait: Number(wait) }),
  )

/** Waits until a worker is there in place of another, the one that ended so as the `times`-th, and serves. */
const comesBack = Effect.fnUntraced(function* (server: Server, pid: number, how: string, times: number) {
  const { number } = yield* ended(server, how, times)
  assert.ok(!childrenOf(server.process).includes(pid))
  const report = Effect.flatMap(dial(server, { backoff: eager }), (client) => client.report({ text: `for ${pid}` }))
  // Each over a connection of its own, until one comes to it.
  yield* Effect.raceFirst(
    said(server, new RegExp(`\\[${number}\\] .* report .*for ${pid}"`)),
    Effect.forever(Effect.andThen(Effect.ignore(Effect.scoped(report)), Effect.sleep("10 millis"))),
  )
})

const kill = (pid: number, signal: NodeJS.Signals) => Effect.sync(() => process.kill(pid, signal))

describe("a worker", () => {
  test("that is killed comes back, and calls that are retried go on meanwhile", () =>
    Effect.gen(function* () {
      const server = yield* servedByWorkers(2)
      const { more } = yield* calling(server)
      yield* more(100)
      for (const [i, pid] of childrenOf(server.process).entries()) {
        yield* kill(pid, "SIGKILL")
        yield* more(100)
        yield* comesBack(server, pid, "was ended by SIGKILL", i + 1)
        yield* more(100)
      }
    }))

  test("that is asked to end drains, and another one takes its place", () =>
    Effect.gen(function* () {
      const server = yield* servedByWorkers(2)
      const { more } = yield* calling(server)
      yield* more(100)
      for (const [i, pid] of childrenOf(server.process).entries()) {
        yield* kill(pid, "SIGTERM")
        yield* comesBack(server, pid, "ended with code 0", i + 1)
        yield* more(100)
      }
      server.signal("SIGTERM")
      const { code, stderr } = yield* Effect.promise(() => server.finished)
      assert.deepEqual({ code, stderr }, { code: 0, stderr: "" })
    }))

  test("that dies again and again is waited for longer each time", () =>
    Effect.gen(function* () {
      const server = yield* servedByWorkers(2)
      const [, other] = childrenOf(server.process)
      const waits: Array<number> = []
      for (let times = 1; times <= 3; times++) {
        // Before it has served: who has been up for a while begins with the shortest wait again.
        const pid = yield* Effect.eventually(
          Effect.andThen(
            Effect.sleep("10 millis"),
            Effect.suspend(() => Effect.fromNullishOr(childrenOf(server.process).find((one) => one !== other))),
          ),
        )
        yield* kill(pid, "SIGKILL")
        waits.push((yield* ended(server, "was ended by SIGKILL", times)).wait)
      }
      // 0.2 s, 0.4 s and 0.8 s, a fifth more or less.
      assert.deepEqual(waits, waits.toSorted())
      assert.equal(new Set(waits).size, 3, `${waits}`)
    }))
})

test("workers that are killed all together come back on their port", () =>
  Effect.gen(function* () {
    const server = yield* servedByWorkers(2)
    const { more } = yield* calling(server)
    yield* more(100)
    yield* Effect.forEach(childrenOf(server.process), (pid) => kill(pid, "SIGKILL"))
    yield* said(server, /(worker \d was ended by SIGKILL[\s\S]*){2}/)
    yield* more(1000)
    assert.equal(childrenOf(server.process).length, 2)
  }))
