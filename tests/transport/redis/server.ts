/**
 * Real servers of Redis: processes on free ports of this machine, each with a folder of its own, that end with their scope.
 */
import assert from "node:assert/strict"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtemp, rm } from "node:fs/promises"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Schedule, type Scope } from "effect"

const missing =
  "redis-server and redis-cli are needed for this test and aren't installed: install Debian's package redis-server"

const freePorts = (count: number): Effect.Effect<ReadonlyArray<number>> =>
  Effect.promise(async () => {
    const listening = await Promise.all(
      Array.from({ length: count }, async () => {
        const server = createServer()
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        return server
      }),
    )
    return Promise.all(
      listening.map(async (server) => {
        const address = server.address()
        await new Promise((resolve) => server.close(resolve))
        assert.ok(typeof address === "object" && address !== null)
        return address.port
      }),
    )
  })

interface Running {
  readonly child: ChildProcess
  readonly finished: Promise<unknown>
}

/** Starts a process of Redis and waits until it listens; `undefined` if another took its port. */
const launch = (args: ReadonlyArray<string>): Promise<Running | undefined> =>
  new Promise((resolve, reject) => {
    const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "inherit"] })
    let said = ""
    child.once("error", () => reject(new Error(missing)))
    const finished = new Promise((end) => child.once("close", end))
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-10_000)
      if (/Ready to accept connections/.test(said)) resolve({ child, finished })
    })
    finished.then(() =>
      /bind: Address already in use/.test(said)
        ? resolve(undefined)
        : reject(new Error(`redis-server ended at its start: ${said}`)),
    )
  })

/** What `redis-cli` prints. */
const cli = (args: ReadonlyArray<string>): Promise<string> =>
  new Promise((resolve, reject) => {
    const child = spawn("redis-cli", args, { stdio: ["ignore", "pipe", "inherit"] })
    let said = ""
    child.once("error", () => reject(new Error(missing)))
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text
    })
    child.once("close", () => resolve(said.trimEnd()))
  })

export interface RedisServer {
  readonly port: number
  readonly busPort: number
  readonly url: string
  /** Runs a command with `redis-cli` and gives what that prints. */
  readonly command: (...args: ReadonlyArray<string>) => Effect.Effect<string>
  /** Ends it in the middle of what it does. */
  readonly kill: Effect.Effect<void>
  /** Starts it again on its port, with what it has on disk. */
  readonly restart: Effect.Effect<void>
  /** Lets it do nothing until it is resumed; its connections stay. */
  readonly pause: Effect.Effect<void>
  readonly resume: Effect.Effect<void>
}

export interface RedisServerOptions {
  /** More of what is in redis.conf. */
  readonly args?: ReadonlyArray<string>
  /** Where it speaks TLS, and nothing else. */
  readonly tls?: boolean
  /** What `redis-cli` needs to get in. */
  readonly cli?: ReadonlyArray<string>
}

/** A server for as long as the scope is open, without anything on disk unless it is told to. */
export const redisServer = Effect.fnUntraced(function* ({
  args = [],
  tls = false,
  cli: access = [],
}: RedisServerOptions = {}): Effect.fn.Return<RedisServer, never, Scope.Scope> {
  const folder = yield* Effect.acquireRelease(
    Effect.promise(() => mkdtemp(join(tmpdir(), "basel-redis-"))),
    (made) => Effect.promise(() => rm(made, { recursive: true, force: true })),
  )
  const at = (port: number, busPort: number) => [
    ...(tls ? ["--port", "0", "--tls-port", `${port}`] : ["--port", `${port}`]),
    ...["--cluster-port", `${busPort}`, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--hz", "50", ...args],
  ]
  const attempt = Effect.gen(function* () {
    const [port = 0, busPort = 0] = yield* freePorts(2)
    const running = yield* Effect.promise(() => launch(at(port, busPort)))
    return running === undefined ? undefined : { port, busPort, running }
  })
  const started = yield* attempt.pipe(
    Effect.repeat({ until: (one) => one !== undefined, times: 10 }),
    Effect.map((one) => one ?? assert.fail("no port stays free")),
  )
  const { port, busPort } = started
  let { running } = started
  const signal = (name: NodeJS.Signals) =>
    Effect.sync(() => {
      const { pid } = running.child
      // One that has ended has no process any more.
      if (pid !== undefined && running.child.exitCode === null && running.child.signalCode === null) {
        process.kill(pid, name)
      }
    })
  const kill = Effect.andThen(
    signal("SIGKILL"),
    Effect.suspend(() => Effect.promise(() => running.finished)),
  )
  yield* Effect.addFinalizer(() => kill)
  return {
    port,
    busPort,
    url: `redis://127.0.0.1:${port}`,
    command: (...words) => Effect.promise(() => cli(["-p", `${port}`, ...access, ...words])),
    kill: Effect.asVoid(kill),
    restart: Effect.promise(async () => {
      running = (await launch(at(port, busPort))) ?? assert.fail("another process has taken the port")
    }),
    pause: signal("SIGSTOP"),
    resume: signal("SIGCONT"),
  }
})

/** A cluster of three masters, with a replica each or none. */
export const redisCluster = Effect.fnUntraced(function* (replicas: 0 | 1) {
  const args = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"]
  const servers = yield* Effect.forEach(Array.from({ length: 3 + 3 * replicas }), () => redisServer({ args }), {
    concurrency: "unbounded",
  })
  const [first, second, third, ...others] = servers
  assert.ok(first && second && third)
  const masters = [first, second, third]
  const ranges = [
    [0, 5460],
    [5461, 10922],
    [10923, 16383],
  ]
  for (const [index, master] of masters.entries()) {
    yield* master.command("cluster", "addslotsrange", ...(ranges[index] ?? []).map(String))
    yield* master.command("config", "set", "cluster-allow-replica-migration", "no")
  }
  for (const { port, busPort } of servers.slice(1)) {
    yield* first.command("cluster", "meet", "127.0.0.1", `${port}`, `${busPort}`)
  }
  const when = (server: RedisServer, question: ReadonlyArray<string>, pattern: RegExp) =>
    server
      .command(...question)
      .pipe(
        Effect.repeat({ schedule: Schedule.spaced("50 millis"), until: (said) => pattern.test(said) }),
        Effect.asVoid,
      )
  for (const server of servers)
    yield* when(server, ["cluster", "info"], new RegExp(`cluster_known_nodes:${servers.length}`))
  for (const [index, replica] of others.entries()) {
    const id = yield* (masters[index] ?? first).command("cluster", "myid")
    yield* replica.command("cluster", "replicate", id)
    yield* when(replica, ["info", "replication"], /master_link_status:up/)
  }
  for (const server of servers) yield* when(server, ["cluster", "info"], /cluster_state:ok/)
  return {
    masters,
    replicas: others,
    url: `redis-cluster://${masters.map(({ port }) => `127.0.0.1:${port}`).join(",")}`,
  }
})
