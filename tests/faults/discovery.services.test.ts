import assert from "node:assert/strict"
import { createServer } from "node:net"
import { describe } from "node:test"
import { Duration, Effect, Exit, Fiber, Scope, Stream } from "effect"
import { endpoints } from "../../src/core/discovery/endpoints.ts"
import { registered } from "../../src/core/discovery/registered.ts"
import type { Registry } from "../../src/core/discovery/registry.ts"
import { retry } from "../../src/core/layers/retry.ts"
import { roundRobin } from "../../src/core/layers/roundRobin.ts"
import * as Client from "../../src/transport/client.ts"
import { discover } from "../../src/transport/discover.ts"
import { etcd } from "../../src/transport/etcd/registry.ts"
import { PiCalculator } from "../../src/transport/gen/pi_pb.ts"
import { logInto } from "../core/support.ts"
import { test } from "../effect.ts"
import { cluster, etcdServer, ranked, urlOf } from "../transport/etcd/server.ts"
import { type Counting, counting, eager, identified, over, tally } from "./support.ts"

const service = "pi"
const atOnce = 64

/** A server that is registered in an etcd, with a lease that is short. */
const serving = Effect.fnUntraced(function* (url: string) {
  const server = yield* counting({}, { etcd: url, ttl: "2 seconds" })
  yield* server.said(/is registered as pi/)
  return server
})

const three = (url: string) => Effect.all([serving(url), serving(url), serving(url)], { concurrency: "unbounded" })

const addressOf = ({ port }: Pick<Counting, "port">) => `127.0.0.1:${port}`

/** What a client is told of the endpoints, as it is told; `until` waits for these servers, whoever is told first. */
const watched = (registry: Registry) => {
  let last: ReadonlySet<string> = new Set()
  const waiting = new Set<() => void>()
  const told: Registry = {
    ...registry,
    register: (...args) => registry.register(...args),
    resolve: (name) =>
      Stream.tap(registry.resolve(name), (list) =>
        Effect.sync(() => {
          last = new Set(list.map(({ address }) => address))
          for (const look of waiting) look()
        }),
      ),
  }
  const until = (addresses: Iterable<string>) => {
    const wanted = new Set(addresses)
    return Effect.callback<void>((resume) => {
      const look = () => {
        if (last.size !== wanted.size || [...wanted].some((address) => !last.has(address))) return
        waiting.delete(look)
        resume(Effect.void)
      }
      waiting.add(look)
      look()
    })
  }
  return { registry: told, until, servers: (...servers: ReadonlyArray<Counting>) => until(servers.map(addressOf)) }
}

/** A client that finds its servers in an etcd, and spreads calls over them. */
const finding = Effect.fnUntraced(function* (url: string) {
  const view = watched(yield* etcd(url))
  const channel = (yield* Effect.provide(discover(view.registry, service, { backoff: eager }), logInto([]))).pipe(
    roundRobin(),
  )
  const { layer, ids } = identified()
  return {
    view,
    /** Of what is sent again. */
    calls: Client.make(PiCalculator, channel.pipe(retry())),
    /** Of what is sent again until there are servers again. */
    patient: Client.make(PiCalculator, channel.pipe(retry({ maxAttempts: 100, backoff: { max: "200 millis" } }))),
    /** Of what may not run twice, and isn't sent again by any layer. */
    reports: Client.make(PiCalculator, layer(channel)),
    ids,
  }
})

/** Calls that go on and on, none of which may fail; `more` waits for so many more of them. */
const going = Effect.fnUntraced(function* <A, E>(call: Effect.Effect<A, E>, concurrency = atOnce) {
  const done = tally()
  let stopping = false
  const calling = yield* over(
    Effect.suspend(() => (stopping ? Effect.never : Effect.map(call, done.add))),
    concurrency,
  )
  const failed = Effect.andThen(Fiber.join(calling), Effect.never)
  const orFail = <B, F, R>(effect: Effect.Effect<B, F, R>) => Effect.raceFirst(failed, effect)
  return {
    more: (by: number) => orFail(done.more(by)),
    orFail,
    /** Begins no more, and waits until so many have succeeded in all. */
    stop: (ids: () => number) =>
      Effect.suspend(() => {
        stopping = true
        const left = ids() - done.count()
        return left > 0 ? orFail(done.more(left)) : Effect.void
      }),
  }
})

/** A listener in the place of a server that is gone; counts who comes. */
const visited = (port: number) =>
  Effect.acquireRelease(
    Effect.callback<{ count: number; close: () => void }>((resume) => {
      const visits = { count: 0, close: () => server.close() }
      const server = createServer((socket) => {
        visits.count++
        socket.destroy()
      })
      server.listen(port, "127.0.0.1", () => resume(Effect.succeed(visits)))
    }),
    ({ close }) => Effect.sync(close),
  )

describe("three servers that are found in etcd", () => {
  test("one is killed under 64 calls: none fails, and when its lease has ended nobody asks it any more", () =>
    Effect.gen(function* () {
      const { url } = yield* etcdServer()
      const [first, second, third] = yield* three(url)
      const { calls, view } = yield* finding(url)
      const { more, orFail } = yield* going(calls.calc({ n: 1 }))
      yield* more(1000)
      yield* view.servers(first, second, third)
      yield* first.kill
      yield* more(1000)
      yield* orFail(view.servers(second, third))
      const visits = yield* visited(first.port)
      yield* more(1000)
      assert.equal(visits.count, 0)
    }))

  test("all are restarted, one after another: no call fails, and none runs twice that isn't retried", () =>
    Effect.gen(function* () {
      const { url } = yield* etcdServer()
      const old = yield* three(url)
      const { calls, reports, ids, view } = yield* finding(url)
      const calling = yield* going(calls.calc({ n: 1 }))
      const reporting = yield* going(reports.report({}), 16)
      const both = <A, E, R>(effect: Effect.Effect<A, E, R>) => calling.orFail(reporting.orFail(effect))
      yield* both(Effect.all([calling.more(500), reporting.more(500)]))
      const serves = [...old]
      const counts: Array<readonly [string, number]> = []
      for (const server of old) {
        yield* both(server.said(/runs/))
        yield* server.drain
        counts.push(...(yield* both(server.ran)))
        serves.splice(serves.indexOf(server), 1, yield* both(serving(url)))
        yield* both(view.servers(...serves))
        yield* both(Effect.all([calling.more(500), reporting.more(500)]))
      }
      yield* reporting.stop(ids)
      for (const server of serves) {
        yield* server.drain
        counts.push(...(yield* server.ran))
      }
      assert.deepEqual(
        counts.filter(([, times]) => times !== 1),
        [],
      )
      assert.equal(counts.length, ids())
    }))

  for (const [how, start] of [
    ["", "start"],
    [", even with nothing", "startEmpty"],
  ] as const)
    test(`they serve on while etcd is away, clients keep the last list, and both find it when it is back${how}`, () =>
      Effect.gen(function* () {
        const member = yield* etcdServer()
        const servers = yield* three(member.url)
        const all = (pattern: RegExp) => Effect.forEach(servers, ({ said }) => said(pattern), { concurrency: 3 })
        const { patient, view } = yield* finding(member.url)
        const { more, orFail } = yield* going(patient.calc({ n: 1 }))
        yield* more(500)
        yield* view.servers(...servers)
        yield* member.kill
        yield* orFail(all(/can't be registered as pi/))
        yield* more(500)
        yield* member[start]
        yield* orFail(all(/registered as pi again/))
        const another = yield* orFail(serving(member.url))
        yield* orFail(view.servers(...servers, another))
        yield* more(500)
      }))

  test("the leader of etcd's three members is killed: no call fails, no server is lost, and another is found", () =>
    Effect.gen(function* () {
      const members = yield* cluster(3)
      const { leader, others } = yield* ranked(members)
      const url = urlOf([leader, ...others])
      const servers = yield* three(url)
      const { reports, view } = yield* finding(url)
      const { more, orFail } = yield* going(reports.report({}))
      yield* more(500)
      yield* leader.kill
      const another = yield* orFail(serving(url))
      yield* orFail(view.servers(...servers, another))
      yield* orFail(another.said(/runs/))
      yield* more(500)
    }))
})

describe("a thousand registrations", () => {
  test("of which some leave, some are lost and some stay: who watches is right at the end", () =>
    Effect.gen(function* () {
      const { url } = yield* etcdServer()
      const [servers, clients] = [yield* etcd(url), yield* etcd(url)]
      const view = watched(clients)
      yield* Effect.forkScoped(Stream.runDrain(endpoints(view.registry, service)))
      const address = (port: number) => `10.0.0.1:${port}`
      const ports = Array.from({ length: 1000 }, (_, i) => i + 1)
      const [leaves, isLost, stays] = [0, 1, 2].map((rest) => ports.filter((port) => port % 3 === rest)) as [
        Array<number>,
        Array<number>,
        Array<number>,
      ]
      const scope = yield* Scope.fork(yield* Effect.scope)
      const all = view.until(ports.map(address))
      const enter = (port: number) =>
        registered(servers, service, { address: address(port) }, { ttl: "1 minute" }).pipe(Effect.provide(logInto([])))
      yield* Effect.forEach(stays, enter, { discard: true })
      yield* Scope.provide(Effect.forEach(leaves, enter, { discard: true }), scope)
      // Nobody renews these: they are as those of a process that was killed.
      yield* Effect.forEach(
        isLost,
        (port) => servers.register(service, { address: address(port) }, Duration.seconds(15)),
        { concurrency: 100 },
      )
      yield* all
      yield* Scope.close(scope, Exit.void)
      yield* view.until(stays.map(address))
    }))
})
