/**
 * Addresses: where a server is, as a URL says it.
 */
import type * as tls from "node:tls"
import { Data, Result } from "effect"
import { quoted, withoutUser } from "../../core/rpc/printable.ts"
import type { Origin } from "../http2/client.ts"

/** An address that can't be connected to, since it isn't one, or not with such certificates. The message says what is wrong. */
export class AddressError extends Data.TaggedError("AddressError")<{
  readonly address: string
  readonly message: string
}> {}

/** An address, taken apart. */
export interface Target {
  /** The address as it may be shown: without a user and a password. */
  readonly text: string
  readonly origin: Origin
  readonly place: { readonly host: string; readonly port: number } | { readonly path: string }
  /** How to speak TLS; `undefined` for not at all. */
  readonly tls: tls.ConnectionOptions | undefined
}

/** Host and port as they stand in a URL. */
export const authority = (host: string, port: number): string => `${host.includes(":") ? `[${host}]` : host}:${port}`

const unixPrefix = "unix:"

/**
 * The target of an address: `http://host:port`, `https://host:port`, `unix:path` or `unix:///path`. A URL's path says
 * nothing here: a method has a path of its own.
 */
export const parseAddress = (address: string, secure: tls.ConnectionOptions): Result.Result<Target, AddressError> => {
  const fail = (what: string) => {
    const shown = withoutUser(address)
    const message = `${quoted(shown)} ${what}, such as http://127.0.0.1:8080, https://example.org or unix:///run/pi.sock`
    return Result.fail(new AddressError({ address: shown, message }))
  }
  if (address.startsWith(unixPrefix)) {
    const path = address.slice(unixPrefix.length).replace(/^\/\/(?=\/)/, "")
    if (path === "") return fail("names no socket: give a path")
    return Result.succeed({
      text: address,
      // What gRPC's own clients call a server that has no host.
      origin: { scheme: "http", authority: "localhost" },
      place: { path },
      tls: undefined,
    })
  }
  if (!URL.canParse(address)) return fail("is not an address: give a URL")
  const { protocol, hostname, host, port } = new URL(address)
  if (protocol !== "http:" && protocol !== "https:") {
    // What stands there may be a user.
    return fail('begins with none of "http:", "https:" and "unix:": give a URL')
  }
  const encrypted = protocol === "https:"
  // A URL has brackets around an IPv6 address, a socket hasn't.
  const bare = hostname.replace(/^\[|\]$/g, "")
  return Result.succeed({
    text: withoutUser(address),
    origin: { scheme: encrypted ? "https" : "http", authority: host },
    place: { host: bare, port: port === "" ? (encrypted ? 443 : 80) : Number(port) },
    tls: encrypted ? secure : undefined,
  })
}
