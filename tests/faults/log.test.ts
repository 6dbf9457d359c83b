/**
 * The log of `basel serve`, where nobody takes it: serving goes on without.
 */
import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import * as fs from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import { retry } from "../../src/core/layers/retry.ts"
import { connect } from "../../src/transport/channel.ts"
import * as Client from "../../src/transport/client.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { file, running } from "../e2e/command.ts"
import { test } from "../effect.ts"

/** A port that was free a moment ago: a server whose output nobody reads can't say which it has found. */
const freePort = Effect.callback<number>((resume) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const address = server.address()
    server.close(() => resume(Effect.succeed(address !== null && typeof address === "object" ? address.port : 0)))
  })
})

/** A pipe with a name, which this process may read, and which is full once nobody does. */
const pipe = Effect.acquireRelease(
  Effect.sync(() => {
    const folder = fs.mkdtempSync(join(tmpdir(), "basel-log-"))
    const path = join(folder, "pipe")
    execFileSync("mkfifo", [path])
    let descriptor: number | undefined = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NONBLOCK)
    const leave = () => {
      if (descriptor !== undefined) fs.closeSync(descriptor)
      descriptor = undefined
    }
    const buffer = new Uint8Array(64 * 1024)
    /** What is in it now. */
    const read = (): string => {
      try {
        return Buffer.from(buffer.subarray(0, fs.readSync(descriptor ?? -1, buffer))).toString()
      } catch {
        return ""
      }
    }
    return { folder, path, leave, read }
  }),
  ({ folder, leave }) =>
    Effect.sync(() => {
      leave()
      fs.rmSync(folder, { recursive: true })
    }),
)

// As long as a report may be.
const long = "x".repeat(4096)

/** `basel serve` whose outputs go where a shell's redirection says, and what makes it log. */
const loggingTo = Effect.fnUntraced(function* (redirection: string) {
  const port = yield* freePort
  const server = yield* running(`${file("src/main.ts", "serve", "--log", "--port", `${port}`)} ${redirection}`)
  const channel = yield* connect(`http://127.0.0.1:${port}`, { waitForReady: true })
  const client = Client.make(PiCalculator, channel.pipe(retry({ maxAttempts: 5 })))
  const calc = Effect.map(Effect.timeout(client.calc({ n: 1 }), "20 seconds"), ({ value }) => value)
  const report = Effect.timeout(client.report({ level: "info", text: long }), "20 seconds")
  /** Twice of what may wait for the reader. */
  const flood = Effect.replicateEffect(report, 550, { concurrency: 10, discard: true })
  return { server, calc, flood }
})

const served = 2.82842712474619

/** Ends the server as Ctrl-C does; gives its exit code. */
const drained = ({ server }: Effect.Success<ReturnType<typeof loggingTo>>) =>
  Effect.suspend(() => {
    server.signal("SIGTERM")
    return Effect.map(
      Effect.promise(() => server.finished),
      ({ code }) => code,
    )
  })

test("a reader that stalls holds up no call, and is told how many lines it has missed once it reads on", () =>
  Effect.gen(function* () {
    const reader = yield* pipe
    const logging = yield* loggingTo(`> ${reader.path}`)
    assert.equal(yield* logging.calc, served)
    yield* logging.flood
    assert.equal(yield* logging.calc, served)
    let read = ""
    const told = /\n[1-9]\d* lines were dropped: nobody took them in time\n/
    const readOn = Effect.gen(function* () {
      while (!told.test(read)) {
        read += reader.read()
        yield* Effect.sleep("5 millis")
      }
    })
    yield* Effect.timeout(readOn, "30 seconds")
    assert.match(read, /^basel serves /)
    const lines = read.split("\n")
    assert.ok(
      lines.every((line) => line.length < 200 || line.includes(long)),
      "all lines are whole",
    )
    assert.equal(yield* logging.calc, served)
    assert.equal(yield* drained(logging), 0)
  }))

test("a reader that stalls doesn't keep the process from ending", () =>
  Effect.gen(function* () {
    const reader = yield* pipe
    const logging = yield* loggingTo(`> ${reader.path} 2>&1`)
    yield* logging.flood
    assert.equal(yield* drained(logging), 0)
  }))

test("a reader that goes away takes no call with it", () =>
  Effect.gen(function* () {
    const reader = yield* pipe
    const logging = yield* loggingTo(`> ${reader.path} 2>&1`)
    assert.equal(yield* logging.calc, served)
    reader.leave()
    yield* logging.flood
    assert.equal(yield* logging.calc, served)
    assert.equal(yield* drained(logging), 0)
  }))

test("a disk that is full ends no call and not the process", () =>
  Effect.gen(function* () {
    const logging = yield* loggingTo("> /dev/full 2>&1")
    yield* logging.flood
    assert.equal(yield* logging.calc, served)
    assert.equal(yield* drained(logging), 0)
  }))
