/**
 * The changes of keys, from Redis's keyspace notifications: they tell of what anybody writes, and of what expires or is
 * evicted, though not of FLUSHDB and FLUSHALL. They name the key alone, so what is there is read when a change is taken.
 *
 * All watches share one connection to each master. Redis keeps nothing for who isn't connected, so a lost connection ends
 * them with `unavailable`: changes may have been missed, and who goes on watching should read anew what it watches.
 *
 * Source: redis.io/docs/latest/develop/pubsub/keyspace-notifications.
 */
import { ErrorReply } from "@redis/client"
import { Array as Arr, Effect, RcRef, type Scope, Stream } from "effect"
import type { Change, Store } from "../../core/cache/store.ts"
import { RpcError } from "../../core/rpc/error.ts"
import type { Commands } from "./commands.ts"
import { reasonOf } from "./error.ts"
import { escapeGlob } from "./glob.ts"
import { destroy, type Link } from "./link.ts"

export interface WatchOptions {
  readonly keyPrefix: string
  readonly database: number
  readonly maxChanges: number
  readonly notifications: "store" | "operator"
}

type Subscriber = ReturnType<Link["subscriber"]>

/** Connections for subscriptions, until one of them is lost. */
interface Subscription {
  readonly clients: ReadonlyArray<Subscriber>
  /** Told of the loss. */
  readonly watching: Set<Changes>
  readonly lost: () => RpcError | undefined
}

// Keyspace events of strings and of all keys, of expiry and of eviction.
const needed = "K$gxe"
const setting = "notify-keyspace-events"
// They change when a key ends, not what is there.
const unchanging: ReadonlySet<string> = new Set(["expire", "persist"])
// How many changed keys are read at once.
const atOnce = 256

/** The keys that have changed and haven't been taken. */
class Changes {
  private readonly keys = new Set<string>()
  private readonly max: number
  private failure: RpcError | undefined
  private awaken: (() => void) | undefined

  constructor(max: number) {
    this.max = max
  }

  add(key: string): void {
    if (this.failure !== undefined) return
    // To the end, since that is the change that counts.
    this.keys.delete(key)
    if (this.keys.size === this.max) {
      const message = `${this.max} different keys have changed that were not taken: take changes faster, or watch fewer keys`
      return this.fail(new RpcError({ code: "resource_exhausted", message }))
    }
    this.keys.add(key)
    this.awaken?.()
  }

  fail(error: RpcError): void {
    this.failure ??= error
    this.keys.clear()
    this.awaken?.()
  }

  /** Those that have changed, as soon as there are any. */
  readonly take: Effect.Effect<Arr.NonEmptyReadonlyArray<string>, RpcError> = Effect.suspend(() => {
    if (this.failure !== undefined) return Effect.fail(this.failure)
    const taken: Array<string> = []
    for (const key of this.keys) {
      if (taken.length === atOnce) break
      taken.push(key)
      this.keys.delete(key)
    }
    return Arr.isArrayNonEmpty(taken) ? Effect.succeed(taken) : Effect.andThen(this.more, this.take)
  })

  private readonly more = Effect.callback<void>((resume) => {
    const done = () => {
      this.awaken = undefined
    }
    this.awaken = () => {
      done()
      resume(Effect.void)
    }
    return Effect.sync(done)
  })
}

const unwatched = (where: string, why: string, cause: unknown): RpcError =>
  new RpcError({
    code: "unavailable",
    message: `${where} can't be watched, and changes may have been missed: ${why}; read anew and watch again`,
    cause,
  })

/** Sees to it that a server tells of changes. */
const notify = async (where: string, client: Subscriber): Promise<void> => {
  try {
    const flags = (await client.configGet(setting))[setting] ?? ""
    const missing = [...needed].filter((flag) => !flags.includes(flag) && (flag === "K" || !flags.includes("A")))
    if (missing.length > 0) await client.configSet(setting, flags + missing.join(""))
  } catch (cause) {
    if (!(cause instanceof ErrorReply)) throw cause
    const message = `${where} doesn't tell of changes, nor lets itself be told to: set ${setting} to ${needed} in its configuration and notifications to "operator" here, or permit CONFIG`
    throw new RpcError({ code: "failed_precondition", message, cause })
  }
}

export const makeWatch = Effect.fnUntraced(function* (
  commands: Commands,
  getMany: Store["getMany"],
  { keyPrefix, database, maxChanges, notifications }: WatchOptions,
): Effect.fn.Return<Store["watch"], never, Scope.Scope> {
  const { where } = commands
  const run = Effect.runForkWith(yield* Effect.context<never>())

  const attempt = <A>(evaluate: () => Promise<A>): Effect.Effect<A, RpcError> =>
    Effect.tryPromise({
      try: evaluate,
      catch: (cause) => (cause instanceof RpcError ? cause : unwatched(where, reasonOf(cause), cause)),
    })

  const connect = Effect.gen(function* () {
    const nodes = yield* commands.nodes()
    const watching = new Set<Changes>()
    let lost: RpcError | undefined
    const lose = (why: string, cause?: unknown) => {
      if (lost !== undefined) return
      lost = unwatched(where, why, cause)
      for (const one of watching) one.fail(lost)
      run(RcRef.invalidate(shared))
    }
    const clients = yield* Effect.forEach(
      nodes,
      Effect.fnUntraced(function* (node) {
        // Waits while it is away, as any command does.
        yield* commands.sendTo(node, ["PING"])
        const client = yield* Effect.acquireRelease(
          Effect.sync(() => commands.link.subscriber(node.host).on("error", (error) => lose(reasonOf(error), error))),
          (opened) => Effect.sync(() => destroy(opened)),
        )
        yield* attempt(() => client.connect())
        if (notifications === "store") yield* attempt(() => notify(where, client))
        return client
      }),
      { concurrency: "unbounded" },
    )
    // Keys may be written to a master that came later, whose changes nobody would see.
    const known = new Set(nodes.map(({ host }) => `${host.host}:${host.port}`))
    yield* Effect.acquireRelease(
      Effect.sync(() =>
        commands.onServer((host) => {
          if (host === undefined || !known.has(`${host.host}:${host.port}`)) lose("there is another master")
        }),
      ),
      (off) => Effect.sync(off),
    )
    return { clients, watching, lost: () => lost } satisfies Subscription
  })
  const shared: RcRef.RcRef<Subscription, RpcError> = yield* RcRef.make({ acquire: connect })

  return Effect.fnUntraced(function* (prefix: string) {
    const { clients, watching, lost } = yield* RcRef.get(shared)
    const changes = new Changes(maxChanges)
    yield* Effect.acquireRelease(
      Effect.sync(() => watching.add(changes)),
      () => Effect.sync(() => watching.delete(changes)),
    )
    const already = lost()
    if (already !== undefined) return yield* Effect.fail(already)
    const channel = `__keyspace@${database}__:${keyPrefix}`
    const pattern = `${escapeGlob(channel + prefix)}*`
    const listener = (event: string, name: string) => {
      if (!unchanging.has(event)) changes.add(name.slice(channel.length))
    }
    yield* Effect.forEach(
      clients,
      (client) => {
        // Where the connection is lost there is nothing to end.
        const end = Effect.sync(() => void client.pUnsubscribe(pattern, listener).catch(() => undefined))
        return Effect.andThen(
          Effect.addFinalizer(() => end),
          attempt(() => client.pSubscribe(pattern, listener)),
        )
      },
      { concurrency: "unbounded" },
    )
    const next = Effect.flatMap(changes.take, (keys) =>
      Effect.map(
        getMany(keys),
        (entries): Arr.NonEmptyReadonlyArray<Change> => Arr.map(keys, (key, index) => ({ key, entry: entries[index] })),
      ),
    )
    return Stream.fromPull(Effect.succeed(next))
  })
})
