/**
 * A store on Redis.
 */
import { Clock, Duration, Effect, type Scope } from "effect"
import type { Entry, Store } from "../../core/cache/store.ts"
import { RpcError } from "../../core/rpc/error.ts"
import { type ClientTlsOptions, clientTlsFault } from "../net/tls.ts"
import { parseAddress } from "./address.ts"
import { Commands } from "./commands.ts"
import { decodeEntry, drawVersion, encodeEntry, encodeHeader } from "./entry.ts"
import { faultOf, RedisError } from "./error.ts"
import { type Events, link } from "./link.ts"
import { scan } from "./scan.ts"
import * as Scripts from "./scripts.ts"
import { makeWatch } from "./watch.ts"

export { RedisError }

export interface RedisOptions {
  /**
   * What stands before each key in Redis, so that other programs can use the same one. Only who has the same prefix has the
   * same values. Default: `basel:`.
   */
  readonly prefix?: string
  /** How to speak TLS to `rediss:` addresses. Default: with the runtime's own certificate authorities. */
  readonly tls?: ClientTlsOptions
  /** How many operations may wait for an answer at once; more fail with `resource_exhausted`. Default: 10,000. */
  readonly maxPending?: number
  /** How long Redis may take from the first packet to a connection. Default: 5 seconds. */
  readonly connectTimeout?: Duration.Input
  /**
   * How many different keys may have changed that a watch hasn't given on yet; more fail it with `resource_exhausted`.
   * Default: 10,000.
   */
  readonly maxChanges?: number
  /**
   * Who sees to it that Redis tells of changes, for `watch`: `store` asks with CONFIG SET notify-keyspace-events for what is
   * missing, `operator` has set that to `K$gxe` at least, and CONFIG isn't used. Default: `store`.
   */
  readonly notifications?: "store" | "operator"
}

// How many keys of a cluster are read at once.
const atOnce = 64

const foreign = (where: string, key: string): RpcError =>
  new RpcError({
    code: "failed_precondition",
    message: `${where}: another program keeps something else than a value under ${JSON.stringify(key)}: choose another key`,
  })

const noNumber = (key: string): RpcError =>
  new RpcError({
    code: "failed_precondition",
    message: `${JSON.stringify(key)} has no whole number of 64 bits in decimal digits: only to such a one can be added`,
  })

const tooLarge = (key: string): RpcError =>
  new RpcError({
    code: "out_of_range",
    message: `${JSON.stringify(key)} was left as it is: the sum would have more than 64 bits`,
  })

/** Milliseconds as Redis takes them; `undefined` for no end. */
const lifetime = (ttl: Duration.Input | undefined): string | undefined => {
  if (ttl === undefined) return undefined
  const millis = Duration.toMillis(ttl)
  // What is over in less than a millisecond is over in one, and Redis takes no larger number than this.
  return millis === Number.POSITIVE_INFINITY ? undefined : String(Math.min(Math.max(1, Math.ceil(millis)), 2 ** 52))
}

/**
 * A store on Redis 6 or newer, of version 7 at best: on a server, `redis://user:password@host:port/database`, with TLS where
 * it begins with `rediss:`, or on a cluster, `redis-cluster://host:port,host:port`. It connects by itself, again and again,
 * and closes with its scope. Where Redis isn't there yet the store is, and its operations wait; where the address, the
 * password or a certificate is wrong it fails.
 *
 * A cluster's replica that takes the place of its master is found. A lost or hanging connection ends `watch` and `scan` with
 * `unavailable`. What Redis acknowledges is as safe as its own configuration makes it: by default the writes of its last
 * second are lost with it, and those that its replica hasn't seen with a master.
 *
 * @example
 * const store = yield* redis("redis://127.0.0.1:6379")
 * const version = yield* store.set("greeting", bytes, { ttl: "1 hour" })
 */
export const redis = Effect.fnUntraced(function* (
  url: string,
  options: RedisOptions = {},
): Effect.fn.Return<Store, RedisError, Scope.Scope> {
  const { prefix = "basel:", tls, maxPending = 10_000, connectTimeout = "5 seconds" } = options
  const { maxChanges = 10_000, notifications = "store" } = options
  const address = yield* Effect.fromResult(parseAddress(url))
  const where = `redis at ${address.hosts.map(({ host, port }) => `${host}:${port}`).join(",")}`
  const wrong = (what: string, cause?: unknown) =>
    new RedisError({ address: address.text, message: `${where}: ${what}`, cause })
  const fault = tls === undefined ? undefined : clientTlsFault(tls)
  if (fault !== undefined) return yield* Effect.fail(wrong(`tls.${fault.option} ${fault.message}`))
  if (tls !== undefined && !address.encrypted) {
    return yield* Effect.fail(wrong("has certificates given and no TLS: give an address that begins with rediss:"))
  }
  const clock = yield* Clock.Clock
  const run = Effect.runForkWith(yield* Effect.context<never>())
  const millis = Duration.toMillis(connectTimeout)
  const commands = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const make = (events: Events) => link(address, { tls, maxPending, connectTimeout: millis }, events)
      return new Commands(where, make, clock, run, maxPending)
    }),
    (opened) => Effect.sync(() => opened.close()),
  )
  const failure = yield* commands.firstTry
  const why = faultOf(failure)
  if (why !== undefined) return yield* Effect.fail(wrong(why, failure))

  const entryOf = (key: string, reply: unknown): Effect.Effect<Entry | undefined, RpcError> => {
    if (reply === null) return Effect.undefined
    const entry = reply instanceof Buffer ? decodeEntry(key, reply) : undefined
    return entry === undefined ? Effect.fail(foreign(where, key)) : Effect.succeed(entry)
  }

  const get: Store["get"] = (key) =>
    Effect.flatMap(commands.send({ key: prefix + key, args: ["GET", prefix + key], write: false }), (reply) =>
      entryOf(key, reply),
    )

  const getMany: Store["getMany"] = (keys) => {
    const [first] = keys
    if (first === undefined) return Effect.succeed([])
    // The keys of one command are all on one server, which those of a cluster needn't be.
    if (address.cluster) return Effect.forEach(keys, get, { concurrency: atOnce })
    const args = ["MGET", ...keys.map((key) => prefix + key)]
    return Effect.flatMap(commands.send({ key: prefix + first, args, write: false }), (reply) =>
      Effect.forEach(keys, (key, index) => entryOf(key, Array.isArray(reply) ? reply[index] : reply)),
    )
  }

  const set: Store["set"] = (key, value, { ttl, if: condition } = {}) =>
    Effect.suspend(() => {
      const version = drawVersion()
      const name = prefix + key
      const bytes = encodeEntry(version, value)
      const px = lifetime(ttl)
      const written = (done: boolean) => (done ? version : undefined)
      if (typeof condition === "object") {
        const args = [encodeHeader(condition.version), bytes, px ?? ""]
        return Effect.map(commands.runScript(Scripts.compareAndSet, name, args), (reply) => written(reply === 1))
      }
      const args = ["SET", name, bytes]
      if (px !== undefined) args.push("PX", px)
      if (condition !== undefined) args.push(condition === "absent" ? "NX" : "XX")
      return Effect.map(commands.send({ key: name, args, write: true }), (reply) => written(reply !== null))
    })

  const remove: Store["delete"] = (key) =>
    Effect.map(commands.send({ key: prefix + key, args: ["DEL", prefix + key], write: true }), (reply) => reply === 1)

  const increment: Store["increment"] = (key, by, { ttl } = {}) =>
    Effect.suspend(() => {
      if (BigInt.asIntN(64, by) !== by) return Effect.fail(tooLarge(key))
      const args = [encodeHeader(drawVersion()), String(by), lifetime(ttl) ?? ""]
      return Effect.flatMap(commands.runScript(Scripts.increment, prefix + key, args), (reply) => {
        if (reply instanceof Buffer) return Effect.succeed(BigInt(reply.toString()))
        return Effect.fail(reply === 1 ? tooLarge(key) : noNumber(key))
      })
    })

  return {
    get,
    getMany,
    set,
    delete: remove,
    increment,
    scan: (start) => scan(commands, prefix, start),
    watch: yield* makeWatch(commands, getMany, {
      keyPrefix: prefix,
      database: address.database,
      maxChanges,
      notifications,
    }),
  }
})
