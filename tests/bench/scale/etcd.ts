/**
 * What one member of etcd takes on this machine: a process on one core, its data on the disk, and our client on another.
 *
 * Where our client is what is slow, etcd's own CPU says more than the rate: each figure has both.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { toBinary } from "@bufbuild/protobuf"
import { Deferred, Duration, Effect, Schedule, Stream } from "effect"
import type { Registration } from "../../../src/core/discovery/registry.ts"
import { keyOf, keysOf, valueFor } from "../../../src/transport/etcd/endpoints.ts"
import { etcd } from "../../../src/transport/etcd/registry.ts"
import {
  KV,
  Lease,
  RangeResponseSchema,
  Watch,
  type WatchResponse,
  WatchResponseSchema,
} from "../../../src/transport/gen/etcd/rpc_pb.ts"
import { type Channel, Client, connect } from "../../../src/transport/mod.ts"
import { output, Process } from "../process.ts"
import type { Note } from "../row.ts"
import { type Spread, spread } from "../spread.ts"
import { address, endpoints } from "./population.ts"

/** How many there were in a second, and what each cost etcd in µs of CPU. */
export interface Rate {
  readonly perSecond: number
  readonly cpuMicros: number
}

export interface FanOut extends Rate {
  readonly watchers: number
  readonly connections: number
}

export interface EtcdFigures {
  readonly version: string
  readonly put: { readonly oneByOne: Rate; readonly together: Rate }
  /** A lease and a key under it, by our registry. */
  readonly register: Rate
  /** A lease renewed by our registry: a stream of one request for each. */
  readonly renew: Rate
  /** The same, all on one stream. */
  readonly renewOnOneStream: Rate
  /** All endpoints at once, as one message. */
  readonly list: { readonly bytes: number; readonly millis: number }
  /** A change, as a watcher is told of it. */
  readonly eventBytes: number
  readonly fanOut: ReadonlyArray<FanOut>
  /** The same through a gRPC proxy of etcd's: what an event costs the proxy, and what a change costs etcd behind it. */
  readonly proxy: FanOut & { readonly etcdMicrosAChange: number }
  /** What a connection with one watch takes of etcd's memory. */
  readonly connectionBytes: number
  /** How long after the last renewal of a lease of 5 s its key is gone, in seconds. */
  readonly expiry: Spread
}

const together = 256
const service = "bench"
/** A frame's and an envelope's heads. */
const framing = 9 + 5
/** The type of an event. */
const deleted = 1

const freePort = async (): Promise<number> => {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const bound = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (bound === null || typeof bound === "string") throw new Error("the server has no port")
  return bound.port
}

const rate = <E, R>(process: Process, count: number, work: Effect.Effect<unknown, E, R>): Effect.Effect<Rate, E, R> =>
  Effect.gen(function* () {
    const cpu = process.cpu()
    const began = performance.now()
    yield* work
    const seconds = (performance.now() - began) / 1000
    return { perSecond: count / seconds, cpuMicros: ((process.cpu() - cpu) / count) * 1e6 }
  })

const each = <E>(count: number, atOnce: number, one: (i: number) => Effect.Effect<unknown, E>) =>
  Effect.forEach(
    Array.from({ length: count }, (_, i) => i),
    one,
    { concurrency: atOnce, discard: true },
  )

const ofService = keysOf(service)

/** Watches from now on; `begun` is called when etcd says that it does. */
const watch = (channel: Channel, begun: () => void, seen: (answer: WatchResponse) => void) =>
  Client.make(Watch, channel)
    .watch(
      Stream.concat(
        Stream.succeed({ requestUnion: { case: "createRequest" as const, value: ofService } }),
        Stream.never,
      ),
    )
    .pipe(Stream.runForEach((answer) => Effect.sync(() => (answer.created ? begun() : seen(answer)))))

/** Many watchers of one prefix, and changes that all of them are told of. */
const fanOut = (
  told: Process,
  behind: Process,
  host: string,
  kv: Client.Client<typeof KV>,
  watchers: number,
  connections: number,
) =>
  Effect.scoped(
    Effect.gen(function* () {
      const before = told.rss()
      const begun = yield* Deferred.make<void>()
      let beginning = watchers
      // As many events in each of these, so that they take as long.
      const changes = Math.max(20, Math.ceil(100_000 / watchers))
      let missing = watchers * changes
      let eventBytes = 0
      const all = yield* Deferred.make<void>()
      const channels = yield* Effect.forEach(Array.from({ length: connections }), () => connect(`http://${host}`), {
        concurrency: 16,
      })
      for (let i = 0; i < watchers; i++) {
        const channel = channels[i % connections]
        if (channel === undefined) continue
        yield* Effect.forkScoped(
          watch(
            channel,
            () => {
              if (--beginning === 0) Deferred.doneUnsafe(begun, Effect.void)
            },
            (answer) => {
              missing -= answer.events.length
              eventBytes = toBinary(WatchResponseSchema, answer).length / answer.events.length
              if (missing === 0) Deferred.doneUnsafe(all, Effect.void)
            },
          ),
        )
      }
      yield* Deferred.await(begun)
      const memory = (told.rss() - before) / watchers
      const cpu = behind.cpu()
      const figures = yield* rate(
        told,
        watchers * changes,
        Effect.andThen(
          each(changes, 1, (i) => kv.put({ key: keyOf(service, `changed${i % 100}`), value: valueFor(address(i)) })),
          Deferred.await(all),
        ),
      )
      const behindMicros = ((behind.cpu() - cpu) / changes) * 1e6
      return { figures: { watchers, connections, ...figures }, memory, behindMicros, eventBytes: eventBytes + framing }
    }),
  )

const leases = 40

/** How long keys stay whose lease of 5 seconds nobody renews. */
const expiries = (channel: Channel) =>
  Effect.gen(function* () {
    const [kv, lease] = [Client.make(KV, channel), Client.make(Lease, channel)]
    const since = new Map<string, number>()
    const took: Array<number> = []
    const begun = yield* Deferred.make<void>()
    const all = yield* Deferred.make<void>()
    yield* Effect.forkScoped(
      watch(
        channel,
        () => Deferred.doneUnsafe(begun, Effect.void),
        ({ events }) => {
          for (const { type, kv } of events) {
            const began = since.get(new TextDecoder().decode(kv?.key))
            if (type === deleted && began !== undefined) took.push((performance.now() - began) / 1000)
          }
          if (took.length === leases) Deferred.doneUnsafe(all, Effect.void)
        },
      ),
    )
    yield* Deferred.await(begun)
    for (let i = 0; i < leases; i++) {
      const name = keyOf(service, `expiring${i}`)
      since.set(new TextDecoder().decode(name), performance.now())
      const { id } = yield* lease.leaseGrant({ ttl: 5n })
      yield* kv.put({ key: name, value: valueFor(address(i)), lease: id })
      yield* Effect.sleep("37 millis") // So that they end at all times of etcd's rounds.
    }
    yield* Deferred.await(all)
    return spread(took)
  })

/** Runs etcd, and measures it; takes a minute or two. */
export const measureEtcd = async (note: Note): Promise<EtcdFigures> => {
  const folder = mkdtempSync(join(tmpdir(), "basel-scale-"))
  try {
    const [clients, peers, proxied] = [await freePort(), await freePort(), await freePort()]
    const host = `127.0.0.1:${clients}`
    await using member = new Process(
      {
        command: "etcd",
        args: [
          ...["--data-dir", join(folder, "etcd"), "--listen-client-urls", `http://${host}`],
          ...["--advertise-client-urls", `http://${host}`, "--listen-peer-urls", `http://127.0.0.1:${peers}`],
          ...["--initial-advertise-peer-urls", `http://127.0.0.1:${peers}`],
          ...["--initial-cluster", `default=http://127.0.0.1:${peers}`, "--log-level", "warn"],
        ],
      },
      "server",
    )
    const program = Effect.gen(function* () {
      const channel = yield* connect(`http://${host}`)
      const [kv, lease] = [Client.make(KV, channel), Client.make(Lease, channel)]
      yield* Effect.retry(kv.range({ key: keyOf("up", "") }), { times: 100, schedule: Schedule.spaced("100 millis") })

      note("puts")
      const put = (i: number) => kv.put({ key: keyOf("put", address(i % 1000)), value: valueFor(address(i)) })
      yield* each(2000, together, put)
      const oneByOne = yield* rate(member, 500, each(500, 1, put))
      const many = yield* rate(member, 20_000, each(20_000, together, put))

      note(`${endpoints} endpoints`)
      const registry = yield* etcd(`etcd://${host}`)
      const registrations: Array<Registration> = []
      const register = yield* rate(
        member,
        endpoints,
        each(endpoints, together, (i) =>
          Effect.map(registry.register(service, { address: address(i) }, Duration.minutes(10)), (registration) =>
            registrations.push(registration),
          ),
        ),
      )
      const renew = yield* rate(
        member,
        2 * endpoints,
        each(2 * endpoints, together, (i) => registrations[i % endpoints]?.renew ?? Effect.void),
      )
      const { id } = yield* lease.leaseGrant({ ttl: 600n })
      const renewals = 50_000
      const renewOnOneStream = yield* rate(
        member,
        renewals,
        lease
          .leaseKeepAlive(Stream.map(Stream.range(1, renewals), () => ({ id })))
          .pipe(Stream.take(renewals), Stream.runDrain),
      )

      note("a list of all")
      let bytes = 0
      let millis = Number.POSITIVE_INFINITY
      for (let i = 0; i < 10; i++) {
        const began = performance.now()
        const answer = yield* kv.range(ofService)
        millis = Math.min(millis, performance.now() - began)
        if (answer.kvs.length !== endpoints) throw new Error(`etcd has ${answer.kvs.length} endpoints`)
        bytes = toBinary(RangeResponseSchema, answer).length + framing
      }

      note("1000 connections")
      const alone = yield* fanOut(member, member, host, kv, 1000, 1000)
      const told = []
      for (const watchers of [100, 1000, 5000]) {
        note(`${watchers} watchers`)
        told.push((yield* fanOut(member, member, host, kv, watchers, 10)).figures)
      }
      note("a gRPC proxy")
      yield* Effect.sleep("1 second")
      const through = `127.0.0.1:${proxied}`
      const proxy = yield* Effect.acquireRelease(
        Effect.sync(
          () =>
            new Process(
              {
                command: "etcd",
                args: ["grpc-proxy", "start", "--endpoints", `http://${host}`, "--listen-addr", through],
              },
              "server",
            ),
        ),
        (process) => Effect.promise(() => process[Symbol.asyncDispose]()),
      )
      const behind = Client.make(KV, yield* connect(`http://${through}`))
      yield* Effect.retry(behind.range({ key: keyOf("up", "") }), {
        times: 100,
        schedule: Schedule.spaced("100 millis"),
      })
      const coalesced = yield* fanOut(proxy, member, through, kv, 1000, 10)

      note("leases that end")
      const expiry = yield* Effect.scoped(expiries(channel))
      return {
        version: output("etcd", "--version").split("\n")[0]?.replace("etcd Version: ", "") ?? "unknown",
        put: { oneByOne, together: many },
        register,
        renew,
        renewOnOneStream,
        list: { bytes, millis },
        eventBytes: alone.eventBytes,
        fanOut: [...told, alone.figures],
        proxy: { ...coalesced.figures, etcdMicrosAChange: coalesced.behindMicros },
        connectionBytes: alone.memory,
        expiry,
      }
    })
    return await Effect.runPromise(Effect.scoped(program))
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
