/**
 * The flags by which a server puts itself into a registry, and by which clients find it there.
 */
import { type Duration, Effect, Logger, Option, type Scope } from "effect"
import { Flag } from "effect/cli"
import { registered } from "../core/discovery/registered.ts"
import { leastRequest } from "../core/layers/leastRequest.ts"
import { pickFirst } from "../core/layers/pickFirst.ts"
import { ringHash } from "../core/layers/ringHash.ts"
import { roundRobin } from "../core/layers/roundRobin.ts"
import type { Channel, ChannelLayer } from "../core/rpc/channel.ts"
import type { AddressError } from "../transport/channel.ts"
import { type DiscoverOptions, discover } from "../transport/discover.ts"
import { etcd } from "../transport/etcd/registry.ts"
import { openRegistry } from "../transport/registry.ts"
import { positiveDurationFlag } from "./duration.ts"
import { UsageError } from "./failure.ts"

/** Fails where a flag is given that says nothing without another one. */
const checkNeeds = (other: string, given: Readonly<Record<string, Option.Option<unknown>>>) => {
  const [flag] = Object.entries(given).find(([, value]) => Option.isSome(value)) ?? []
  return flag === undefined ? Effect.void : Effect.fail(new UsageError({ message: `${flag} needs ${other}` }))
}

// ---- A server's

export const registrationFlags = {
  etcd: Flag.String("etcd").pipe(
    Flag.withMetavar("url"),
    Flag.withDescription("Register in this etcd while serving; several members with commas between them"),
    Flag.filterMap(
      etcdUrl,
      () => "Expected a URL of etcd, such as http://127.0.0.1:2379 or https://user:password@one:2379,two:2379",
    ),
    Flag.optional,
  ),
  name: Flag.String("name").pipe(
    Flag.withDescription("The service's name in the registry; pi by default"),
    Flag.filter(
      (name) => /^[\x21-\x7e]{1,1024}$/.test(name),
      () => "Expected a name without spaces, such as pi",
    ),
    Flag.optional,
  ),
  advertise: Flag.String("advertise").pipe(
    Flag.withMetavar("host:port"),
    Flag.withDescription("Where clients find this server; where it listens by default"),
    Flag.filter(
      (address) => /^([\w.-]+|\[[\da-fA-F:.]+\]):\d{1,5}$/.test(address),
      (address) => `Expected host:port, not ${JSON.stringify(address)}`,
    ),
    Flag.optional,
  ),
  lease: positiveDurationFlag("lease").pipe(
    Flag.withDescription("How long the registry keeps a server that it doesn't hear of; 5s by default"),
    Flag.optional,
  ),
} as const

export interface RegistrationFlags {
  readonly etcd: Option.Option<string>
  readonly name: Option.Option<string>
  readonly advertise: Option.Option<string>
  readonly lease: Option.Option<Duration.Duration>
}

export const unregistered: RegistrationFlags = {
  etcd: Option.none(),
  name: Option.none(),
  advertise: Option.none(),
  lease: Option.none(),
}

/** The address for `etcd` of one as etcd's own programs take it: `http://one:2379,http://two:2379`. */
function etcdUrl(text: string): Option.Option<string> {
  const [first = ""] = /^(https?|etcds?)(?=:\/\/)/.exec(text) ?? []
  const secure = (scheme: string) => scheme === "https" || scheme === "etcds"
  const members = text.split(/,(?=\w+:\/\/)/)
  const hosts = members.map((member) => member.replace(/^(https?|etcds?):\/\//, ""))
  const mixed = members.some((member) => secure(member.split(":", 1).join()) !== secure(first))
  if (mixed || hosts.some((one) => !/^[^/]+\/?$/.test(one))) return Option.none()
  return Option.some(`${secure(first) ? "etcds" : "etcd"}://${hosts.map((one) => one.replace(/\/$/, "")).join()}`)
}

// Those that mean all addresses of the machine: no client can connect to them.
const everywhere = new Set(["0.0.0.0", "::", "[::]", ""])

/** `host:port` of a URL, whose parser hides the port that is its scheme's own. */
const authority = (url: string): string => {
  const { hostname, port, protocol } = new URL(url)
  return `${hostname}:${port === "" ? (protocol === "https:" ? 443 : 80) : port}`
}

/**
 * What registers a server as the flags say, once its URL is known, until the scope closes; nothing without `--etcd`. Fails
 * where the flags contradict each other.
 *
 * To be run after the server listens, so that it is out of the registry before it drains.
 */
export const registering = Effect.fnUntraced(function* (
  options: RegistrationFlags & { readonly host: string },
): Effect.fn.Return<(url: string) => Effect.Effect<void, never, Scope.Scope>, AddressError | UsageError, Scope.Scope> {
  const { host, name, advertise, lease } = options
  if (Option.isNone(options.etcd)) {
    yield* checkNeeds("--etcd", { "--name": name, "--advertise": advertise, "--lease": lease })
    return () => Effect.void
  }
  if (Option.isNone(advertise) && everywhere.has(host)) {
    return yield* new UsageError({
      message: `--etcd needs --advertise host:port where --host is ${JSON.stringify(host)}: clients can't connect to that`,
    })
  }
  const registry = yield* etcd(options.etcd.value)
  return (url) =>
    registered(
      registry,
      Option.getOrElse(name, () => "pi"),
      { address: Option.getOrElse(advertise, () => authority(url)) },
      Option.isSome(lease) ? { ttl: lease.value } : {},
    )
})

// ---- A client's

const policies = ["pick-first", "round-robin", "least-request", "ring-hash"] as const

export const discoveryFlags = {
  discover: Flag.String("discover").pipe(
    Flag.withMetavar("url"),
    Flag.withDescription(
      "Find servers in this registry, such as etcd://127.0.0.1:2379/pi or dns://pi.example.org:8080",
    ),
    Flag.optional,
  ),
  balance: Flag.Literals("balance", policies).pipe(
    Flag.withDescription("How to spread calls over the servers that are found; round-robin by default"),
    Flag.optional,
  ),
  hashKey: Flag.String("hash-key").pipe(
    Flag.withMetavar("key"),
    Flag.withDescription("Whose value in a call's metadata decides where ring-hash sends it"),
    Flag.optional,
  ),
} as const

export interface DiscoveryFlags {
  readonly address: Option.Option<string>
  readonly discover: Option.Option<string>
  readonly balance: Option.Option<(typeof policies)[number]>
  readonly hashKey: Option.Option<string>
}

const balancing = Effect.fnUntraced(function* ({
  balance,
  hashKey,
}: DiscoveryFlags): Effect.fn.Return<ChannelLayer, UsageError> {
  const policy = Option.getOrElse(balance, () => "round-robin" as const)
  if (policy === "ring-hash") {
    const key = Option.getOrUndefined(hashKey)
    if (key === undefined) return yield* new UsageError({ message: "--balance ring-hash needs --hash-key" })
    return ringHash({ key: key.toLowerCase() })
  }
  yield* checkNeeds("--balance ring-hash", { "--hash-key": hashKey })
  switch (policy) {
    case "pick-first":
      return pickFirst()
    case "round-robin":
      return roundRobin()
    case "least-request":
      return leastRequest()
  }
})

/** Sends what is logged to standard error: results are all that is on the other. */
export const logBeside = Effect.provideService(Logger.LogToStderr, true)

/** A channel to the servers that `--discover` finds; `undefined` without it. */
export const discovered = Effect.fnUntraced(function* (
  options: DiscoveryFlags,
  connecting: DiscoverOptions,
): Effect.fn.Return<Channel | undefined, AddressError | UsageError, Scope.Scope> {
  if (Option.isNone(options.discover)) {
    yield* checkNeeds("--discover", { "--balance": options.balance, "--hash-key": options.hashKey })
    return undefined
  }
  if (Option.isSome(options.address)) {
    return yield* new UsageError({ message: "--discover and --address both say where servers are: give one of them" })
  }
  const spread = yield* balancing(options)
  const { tls } = connecting
  const { registry, service } = yield* openRegistry(options.discover.value, tls === undefined ? {} : { tls })
  return spread(yield* discover(registry, service, connecting))
}, logBeside)
