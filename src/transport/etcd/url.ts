/**
 * Where etcd is, as a URL says it.
 */
import { Array as Arr, Redacted, Result } from "effect"
import { quoted, withoutUser } from "../../core/rpc/printable.ts"
import { AddressError } from "../net/address.ts"

/** Who asks, where etcd wants to know. */
export interface User {
  readonly name: string
  readonly password: Redacted.Redacted<string>
}

export interface EtcdUrl {
  /** The members' addresses, as `connect` takes them. */
  readonly members: Arr.NonEmptyReadonlyArray<string>
  readonly user: User | undefined
  /** What is behind the members: the name of a service, for who asks for one. */
  readonly path: string
}

const pattern = /^(etcds?):\/\/(?:([^@/]*)@)?([^/]+)(?:\/(.*))?$/
const defaultPort = 2379

/** Takes `etcd://user:password@host:2379,host:2379/service` apart; with `etcds` for TLS. */
export const parseEtcdUrl = (url: string): Result.Result<EtcdUrl, AddressError> => {
  const [, scheme, userInfo, hosts = "", path = ""] = pattern.exec(url) ?? []
  if (scheme === undefined) return fault(url, "is not an address of etcd")
  const given = hosts.split(",")
  const members = given.flatMap((host) => memberOf(scheme === "etcds" ? "https" : "http", host) ?? [])
  if (!Arr.isReadonlyArrayNonEmpty(members) || members.length < given.length)
    return fault(url, "has a host that isn't one")
  if (userInfo === undefined) return Result.succeed({ members, user: undefined, path })
  const colon = userInfo.indexOf(":")
  const name = decoded(colon < 0 ? userInfo : userInfo.slice(0, colon))
  const password = colon < 0 ? "" : decoded(userInfo.slice(colon + 1))
  if (name === undefined || password === undefined) return fault(url, "has a % before the @ that isn't written %25")
  if (name === "") return fault(url, "has no user before the @")
  return Result.succeed({ members, user: { name, password: Redacted.make(password) }, path })
}

const memberOf = (scheme: string, host: string): string | undefined => {
  const text = `${scheme}://${host}`
  if (host === "" || !URL.canParse(text)) return undefined
  const { hostname, username, port, pathname, search, hash } = new URL(text)
  if (username !== "" || pathname !== "/" || search !== "" || hash !== "") return undefined
  // A URL's parser hides the port that is its scheme's own.
  const given = port === "" ? (/:(\d+)$/.exec(host)?.[1] ?? defaultPort) : port
  return `${scheme}://${hostname}:${given}`
}

const decoded = (text: string): string | undefined => {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

const fault = (url: string, what: string): Result.Result<never, AddressError> => {
  const address = withoutUser(url)
  const message = `${quoted(address)} ${what}: give a URL, such as etcd://127.0.0.1:2379 or etcds://user:password@one:2379,two:2379`
  return Result.fail(new AddressError({ address, message }))
}
