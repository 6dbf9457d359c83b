/**
 * `etcd`: a registry that etcd keeps.
 *
 * Sources: etcd's documentation, "etcd API" (leases, revisions, watches) and "gRPC naming and discovery".
 */
import { Array as Arr, type Cause, Duration, Effect, Option, Queue, type Scope, Stream } from "effect"
import type { Endpoint, Registration, Registry } from "../../core/discovery/registry.ts"
import { deadline } from "../../core/layers/deadline.ts"
import { metadata } from "../../core/layers/metadata.ts"
import { retry } from "../../core/layers/retry.ts"
import type { Backoff } from "../../core/rpc/backoff.ts"
import { RpcError } from "../../core/rpc/error.ts"
import { quoted } from "../../core/rpc/printable.ts"
import { type AddressError, connect } from "../channel.ts"
import * as Client from "../client.ts"
import type { KeyValue } from "../gen/etcd/kv_pb.ts"
import { KV, Lease, Watch, type WatchResponse } from "../gen/etcd/rpc_pb.ts"
import type { ClientTlsOptions } from "../net/tls.ts"
import { addressOf, keyOf, keysOf, valueFor } from "./endpoints.ts"
import { members } from "./members.ts"
import { authenticated } from "./token.ts"
import { parseEtcdUrl, type User } from "./url.ts"

export interface EtcdOptions {
  /** How to speak TLS to `etcds:` addresses. Default: with the runtime's own certificate authorities. */
  readonly tls?: ClientTlsOptions
  /** Who asks, in place of a user in the URL. Default: nobody, which etcd allows unless its auth is enabled. */
  readonly user?: User
  /** How long a member may take to answer before the next one is asked. Default: 3 seconds. */
  readonly timeout?: Duration.Input
}

// A member that is down is asked again soon: others wait for an election too.
const reconnect: Backoff = { initial: "100 millis", multiplier: 1.6, max: "3 seconds", jitter: 0.2 }

// Long enough for an election, which takes one to two seconds.
const again = {
  maxAttempts: 8,
  codes: ["unavailable", "deadline_exceeded"],
  backoff: { initial: "100 millis", multiplier: 1.6, max: "1 second" },
} as const

// etcd closes connections that send PINGs more often than every 5 seconds.
const keepalive = { time: "10 seconds", timeout: "5 seconds" } as const

/**
 * A registry in etcd: `etcd://host:2379`, `etcds://` for TLS, several members with commas between them, and a user as
 * `etcd://user:password@host:2379`. It connects when it is first used, goes on with another member when one is lost, has
 * no leader or says nothing, and closes with its scope.
 *
 * It keeps endpoints as etcd's resolver for grpc-go does, so that `etcd:///pi` finds there what is registered here, and the
 * other way round. Leases are of whole seconds, 1 at least; etcd makes them longer than an election takes, which is 2
 * seconds by default.
 *
 * What etcd refuses, and what no member can be reached for, is an `RpcError`; a wrong password is `unauthenticated`. It
 * comes after at most 8 attempts of an operation. A watch that is lost isn't begun again: `resolve` fails then.
 *
 * @example
 * const registry = yield* etcd("etcd://10.0.0.1,10.0.0.2,10.0.0.3")
 * const registration = yield* registry.register("pi", { address: "10.0.1.7:8080" }, Duration.seconds(10))
 */
export const etcd = Effect.fnUntraced(function* (
  url: string,
  options: EtcdOptions = {},
): Effect.fn.Return<Registry, AddressError, Scope.Scope> {
  const { members: addresses, user: itsUser } = yield* Effect.fromResult(parseEtcdUrl(url))
  const { tls, user = itsUser, timeout = "3 seconds" } = options
  const connecting = {
    keepalive,
    backoff: reconnect,
    connectTimeout: timeout,
    ...(tls === undefined ? {} : { tls }),
  }
  const channels = yield* Effect.forEach(addresses, (address) => connect(address, connecting))
  // A member that is cut off from the others says so at once, of watches too.
  const bare = members(channels).pipe(metadata({ hasleader: "true" }))
  const channel = user === undefined ? bare : (yield* authenticated(user, bare.pipe(deadline(timeout))))(bare)
  const asked = channel.pipe(deadline(timeout), retry(again))
  return new Etcd(Client.make(KV, asked), Client.make(Lease, asked), Client.make(Watch, channel))
})

// How many are asked for at once: they have room in a message of 4 MiB unless their metadata is huge.
const pageSize = 1000n

/** How many endpoints of a service are kept. With more of them `resolve` fails with `resource_exhausted`. */
export const mostEndpoints = 100_000

/** The addresses of a service by their keys: two keys may have the same. */
type Found = Map<string, string>

class Etcd implements Registry {
  private readonly kv: Client.Client<typeof KV>
  private readonly lease: Client.Client<typeof Lease>
  private readonly watch: Client.Client<typeof Watch>

  constructor(kv: Client.Client<typeof KV>, lease: Client.Client<typeof Lease>, watch: Client.Client<typeof Watch>) {
    this.kv = kv
    this.lease = lease
    this.watch = watch
  }

  // What fails halfway leaves a lease, or a key under it: etcd ends both.
  register(service: string, { address }: Endpoint, ttl: Duration.Duration): Effect.Effect<Registration, RpcError> {
    return Effect.gen({ self: this }, function* () {
      const { id } = yield* this.lease.leaseGrant({ ttl: seconds(ttl) })
      yield* this.kv.put({ key: keyOf(service, address), value: valueFor(address), lease: id })
      return {
        renew: this.renew(id, address),
        // Its key goes with the lease, unless somebody has put the endpoint in anew.
        deregister: Effect.catchIf(
          Effect.asVoid(this.lease.leaseRevoke({ id })),
          ({ code }) => code === "not_found",
          () => Effect.void,
        ),
      }
    })
  }

  resolve(service: string): Stream.Stream<ReadonlyArray<Endpoint>, RpcError> {
    return Stream.callback<Found, RpcError>((queue) => this.follow(service, queue), {
      bufferSize: 1,
      strategy: "sliding",
    }).pipe(
      // A list is made of what is there when it is taken.
      Stream.map((found) => Array.from(new Set(found.values()).values(), (address) => ({ address }))),
    )
  }

  private renew(id: bigint, address: string): Effect.Effect<void, RpcError> {
    return Effect.flatMap(Stream.runHead(this.lease.leaseKeepAlive(Stream.succeed({ id }))), (answer) => {
      if (Option.isNone(answer)) return Effect.fail(ended("to renew a lease"))
      if (answer.value.ttl > 0n) return Effect.void
      return Effect.fail(new RpcError({ code: "not_found", message: `the lease of ${address} has ended` }))
    })
  }

  /** Offers what is there now, and again after each change, as long as etcd can be asked. */
  private follow(service: string, queue: Queue.Queue<Found, RpcError | Cause.Done>): Effect.Effect<never, RpcError> {
    return Effect.gen({ self: this }, function* () {
      for (;;) {
        const found: Found = new Map()
        const revision = yield* this.list(service, found)
        yield* Queue.offer(queue, found)
        // Ends where etcd has forgotten changes that weren't told yet: all is read anew then.
        yield* this.changes(service, revision + 1n, found, () => Queue.offerUnsafe(queue, found))
      }
    })
  }

  /** Reads all that is there, and gives the revision that it is of. */
  private list(service: string, found: Found): Effect.Effect<bigint, RpcError> {
    return Effect.gen({ self: this }, function* () {
      let { key } = keysOf(service)
      const { rangeEnd } = keysOf(service)
      let revision = 0n
      for (;;) {
        const page = yield* this.kv.range({ key, rangeEnd, limit: pageSize, revision })
        if (revision === 0n) revision = page.header?.revision ?? 0n
        for (const kv of page.kvs) yield* put(found, service, kv)
        const last = Arr.last(page.kvs)
        if (!page.more || Option.isNone(last)) return revision
        // The next key that there could be.
        key = new Uint8Array([...last.value.key, 0])
      }
    })
  }

  /** Applies changes from a revision on, until etcd doesn't know them any more. */
  private changes(
    service: string,
    startRevision: bigint,
    found: Found,
    changed: () => void,
  ): Effect.Effect<void, RpcError> {
    const request = { ...keysOf(service), startRevision, fragment: true }
    const requests = Stream.concat(
      Stream.succeed({ requestUnion: { case: "createRequest" as const, value: request } }),
      Stream.never,
    )
    let compacted = false
    const apply = Effect.fnUntraced(function* (answer: WatchResponse) {
      for (const { type, kv } of answer.events) {
        if (kv === undefined) continue
        const before = found.get(text(kv.key))
        if (type === deleted) found.delete(text(kv.key))
        else yield* put(found, service, kv)
        if (found.get(text(kv.key)) !== before) changed()
      }
      if (!answer.canceled) return true
      compacted = answer.compactRevision > 0n
      return compacted ? false : yield* cancelled(answer.cancelReason)
    })
    return Effect.flatMap(Stream.runForEachWhile(this.watch.watch(requests), apply), () =>
      compacted ? Effect.void : Effect.fail(ended("to watch")),
    )
  }
}

/** The type of an event. */
const deleted = 1

const text = (key: Uint8Array): string => new TextDecoder().decode(key)

const put = (found: Found, service: string, { key, value }: KeyValue): Effect.Effect<void, RpcError> => {
  const address = addressOf(value)
  if (address === undefined) {
    found.delete(text(key))
    return Effect.logWarning(`the value of the key ${quoted(text(key))} in etcd names no endpoint`)
  }
  found.set(text(key), address)
  if (found.size <= mostEndpoints) return Effect.void
  return Effect.fail(
    new RpcError({
      code: "resource_exhausted",
      message: `${service} has more than ${mostEndpoints} endpoints in etcd`,
    }),
  )
}

// etcd's own bounds of a lease.
const longestSeconds = 9_000_000_000

const seconds = (ttl: Duration.Duration): bigint =>
  BigInt(Math.min(Math.max(1, Math.ceil(Duration.toSeconds(ttl))), longestSeconds))

const ended = (call: string): RpcError =>
  new RpcError({ code: "unavailable", message: `etcd has ended the call ${call} without an answer` })

const cancelled = (reason: string): Effect.Effect<never, RpcError> =>
  Effect.fail(
    new RpcError({
      code: reason.includes("permission denied") ? "permission_denied" : "unavailable",
      message: `etcd has ended the watch: ${reason === "" ? "it gives no reason" : reason}`,
    }),
  )
