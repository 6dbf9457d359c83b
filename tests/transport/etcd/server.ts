/**
 * etcd's own servers: processes on free ports, each with a folder of its own, that live no longer than their scope.
 */
import assert from "node:assert/strict"
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import * as net from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"

const missing = "is not on the PATH: apt-get install etcd-server etcd-client, or tests/setup.sh"

/** A member of an etcd. */
export interface Member {
  /** `host:port`, for clients. */
  readonly host: string
  /** Its URL for clients of ours. */
  readonly url: string
  readonly pid: number
  /** Kills it at once, as a crash would. What it has written stays. */
  readonly kill: Effect.Effect<void>
  /** Starts it again where it was, with what it had written. */
  readonly start: Effect.Effect<void>
  /** Starts it again where it was, with nothing. */
  readonly startEmpty: Effect.Effect<void>
  /** Stops it without a word: its connections stay, and it answers nothing until it goes on. */
  readonly suspend: Effect.Effect<void, never, Scope.Scope>
}

export interface EtcdServerOptions {
  /** Serves clients with TLS, and certificates of the tests. */
  readonly secure?: boolean
  /** Further flags. */
  readonly flags?: ReadonlyArray<string>
}

export const certificates = join(import.meta.dirname, "..", "certificates")

/** Ports that nobody listens on now. All are taken at once, so that they differ. */
const freePorts = (count: number): Effect.Effect<ReadonlyArray<number>> =>
  Effect.promise(async () => {
    const servers = await Promise.all(
      Array.from({ length: count }, async () => {
        const server = net.createServer()
        await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
        return server
      }),
    )
    const ports = servers.map((server) => (server.address() as net.AddressInfo).port)
    await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
    return ports
  })

const closed = (child: ChildProcess) =>
  new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve()
    else child.once("close", () => resolve())
  })

// Deno's `child.kill` would wait for what a suspended process never says.
const signal = (child: ChildProcess, name: NodeJS.Signals) => {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(child.pid, name)
}

class Process implements Member {
  readonly host: string
  readonly url: string
  private child: ChildProcess | undefined
  private readonly folder = mkdtempSync(join(tmpdir(), "basel-etcd-"))
  private readonly args: ReadonlyArray<string>

  constructor(host: string, url: string, args: ReadonlyArray<string>) {
    this.host = host
    this.url = url
    this.args = args
  }

  get pid(): number {
    return this.child?.pid ?? assert.fail("this member doesn't run")
  }

  /** Ends once it serves clients, which it does when there is a leader. */
  readonly start = Effect.promise(
    () =>
      new Promise<void>((resolve, reject) => {
        const args = ["--data-dir", this.folder, "--logger", "zap", "--log-outputs", "stderr", ...this.args]
        const child = spawn("etcd", args, { stdio: ["ignore", "ignore", "pipe"] })
        this.child = child
        let said = ""
        child.stderr.setEncoding("utf8").on("data", (text: string) => {
          if (said.includes("serving client traffic")) return
          said += text
          if (said.includes("serving client traffic")) resolve()
        })
        child.once("error", (cause) => reject(new Error(`etcd ${missing}`, { cause })))
        child.once("close", (code) => reject(new Error(`etcd has ended with ${code}: ${said}`)))
      }),
  )

  readonly kill = Effect.promise(async () => {
    if (this.child === undefined) return
    signal(this.child, "SIGKILL")
    await closed(this.child)
  })

  readonly startEmpty = Effect.suspend(() => {
    rmSync(this.folder, { recursive: true, force: true })
    return this.start
  })

  readonly suspend = Effect.acquireRelease(
    Effect.sync(() => this.child !== undefined && signal(this.child, "SIGSTOP")),
    () => Effect.sync(() => this.child !== undefined && signal(this.child, "SIGCONT")),
  ).pipe(Effect.asVoid)

  readonly end = Effect.andThen(
    this.kill,
    Effect.sync(() => rmSync(this.folder, { recursive: true, force: true })),
  )
}

/** An etcd of so many members, all of which run. */
export const cluster = Effect.fnUntraced(function* (
  size: number,
  { secure = false, flags = [] }: EtcdServerOptions = {},
): Effect.fn.Return<ReadonlyArray<Member>, never, Scope.Scope> {
  const ports = yield* freePorts(2 * size)
  const scheme = secure ? "https" : "http"
  const tls = [`--cert-file=${certificates}/server.pem`, `--key-file=${certificates}/server.key`]
  const peers = Array.from({ length: size }, (_, at) => `http://127.0.0.1:${ports[2 * at]}`)
  const members = yield* Effect.forEach(peers, (peer, at) => {
    const host = `127.0.0.1:${ports[2 * at + 1]}`
    const args = [
      ...["--name", `member${at}`, "--initial-cluster", peers.map((url, i) => `member${i}=${url}`).join(",")],
      ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
      ...["--listen-client-urls", `${scheme}://${host}`, "--advertise-client-urls", `${scheme}://${host}`],
      ...(secure ? tls : []),
      ...flags,
    ]
    return Effect.acquireRelease(
      Effect.sync(() => new Process(host, `${secure ? "etcds" : "etcd"}://${host}`, args)),
      ({ end }) => end,
    )
  })
  yield* Effect.forEach(members, ({ start }) => start, { concurrency: "unbounded" })
  return members
})

/** An etcd of one member. */
export const etcdServer = (options?: EtcdServerOptions): Effect.Effect<Member, never, Scope.Scope> =>
  Effect.map(cluster(1, options), ([member]) => member ?? assert.fail("there is no member"))

/** What `etcdctl` prints, which must succeed. */
export const etcdctl = ({ host }: Member, ...args: ReadonlyArray<string>): Effect.Effect<string> =>
  Effect.promise(
    () =>
      new Promise<string>((resolve, reject) => {
        const env = { ...process.env, ETCDCTL_API: "3" }
        execFile("etcdctl", ["--endpoints", host, ...args], { env }, (error, stdout, stderr) => {
          if (error === null) resolve(stdout)
          else reject(new Error(error.code === "ENOENT" ? `etcdctl ${missing}` : `${error.message}: ${stderr}`))
        })
      }),
  )

/** All keys and values, by key. */
export const contents = (member: Member, ...args: ReadonlyArray<string>): Effect.Effect<ReadonlyMap<string, string>> =>
  Effect.map(etcdctl(member, "get", "--prefix", "", ...args), (printed) => {
    const lines = printed.split("\n")
    const entries = new Map<string, string>()
    for (let at = 0; at + 1 < lines.length; at += 2) entries.set(lines[at] ?? "", lines[at + 1] ?? "")
    return entries
  })

/** The URL for clients of several members. */
export const urlOf = (members: ReadonlyArray<Member>): string => `etcd://${members.map(({ host }) => host).join(",")}`

/** The leader, and the others. On a busy machine there may be none for a while. */
export const ranked = (members: ReadonlyArray<Member>) =>
  Effect.gen(function* () {
    const leads = yield* Effect.forEach(members, (member) =>
      Effect.map(etcdctl(member, "endpoint", "status"), (status) => status.split(", ")[4] === "true"),
    )
    const leader = members.find((_, at) => leads[at])
    return leader === undefined
      ? yield* Effect.fail("there is no leader")
      : { leader, others: members.filter((member) => member !== leader) }
  }).pipe(Effect.retry({ times: 100 }))
