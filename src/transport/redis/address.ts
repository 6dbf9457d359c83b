/**
 * Addresses: where a Redis or the nodes of a cluster are, as a URL says it.
 */
import { Result } from "effect"
import { quoted, withoutUser } from "../../core/rpc/printable.ts"
import { RedisError } from "./error.ts"

export interface Host {
  readonly host: string
  readonly port: number
}

/** An address, taken apart. */
export interface Address {
  /** As it may be shown: without user and password. */
  readonly text: string
  readonly hosts: readonly [Host, ...ReadonlyArray<Host>]
  readonly cluster: boolean
  readonly encrypted: boolean
  readonly username: string | undefined
  readonly password: string | undefined
  readonly database: number
}

const shape = /^(redis|rediss)(-cluster)?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/(\d*))?$/

const parseHost = (text: string): Host | undefined => {
  const found = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/i.exec(text)
  const host = found?.[1] ?? found?.[2]
  const port = Number(found?.[3] ?? 6379)
  return host === undefined || port < 1 || port > 65535 ? undefined : { host, port }
}

const decode = (text: string | undefined): string | undefined => {
  try {
    return text === undefined || text === "" ? undefined : decodeURIComponent(text)
  } catch {
    // A percent sign that stands for itself.
    return text
  }
}

/**
 * Takes an address apart: `redis://user:password@host:port/database`, `rediss:` for TLS, `redis-cluster:` and
 * `rediss-cluster:` for a cluster of which some nodes are named, with commas between. A character of the user or of the
 * password that would mean something in a URL is written with a percent sign.
 *
 * Source: the provisional registration of `redis` at iana.org/assignments/uri-schemes, for the first two.
 */
export const parseAddress = (address: string): Result.Result<Address, RedisError> => {
  const fail = (what: string) => {
    const text = withoutUser(address)
    const message = `${quoted(text)} ${what}, such as redis://127.0.0.1:6379, rediss://user:password@example.org/2 or redis-cluster://a:6379,b:6379`
    return Result.fail(new RedisError({ address: text, message }))
  }
  const [, scheme, clustered, user, places, number] = shape.exec(address) ?? []
  if (scheme === undefined || places === undefined) return fail("is not a Redis's address: give a URL")
  const hosts: Array<Host> = []
  for (const place of places.split(",")) {
    const host = parseHost(place)
    if (host === undefined) return fail(`has no host and port in ${quoted(place)}: give a URL`)
    hosts.push(host)
  }
  const [first, ...others] = hosts
  // Splitting gives one text at least.
  if (first === undefined) return fail("names no host: give a URL")
  const cluster = clustered !== undefined
  if (!cluster && others.length > 0) return fail("names several hosts, which only a cluster has: give a URL")
  const database = Number(number ?? 0)
  if (cluster && database !== 0) return fail("names a database, and a cluster has only the one: give a URL without it")
  const colon = user?.indexOf(":") ?? -1
  return Result.succeed({
    text: withoutUser(address),
    hosts: [first, ...others],
    cluster,
    encrypted: scheme === "rediss",
    username: decode(colon < 0 ? user : user?.slice(0, colon)),
    password: colon < 0 ? undefined : decode(user?.slice(colon + 1)),
    database,
  })
}
