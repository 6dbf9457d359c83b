/**
 * `openRegistry`: the registry that a URL names.
 */
import { Effect, type Scope } from "effect"
import type { Registry } from "../core/discovery/registry.ts"
import { staticRegistry } from "../core/discovery/static.ts"
import { quoted, withoutUser } from "../core/rpc/printable.ts"
import { parseName } from "./dns/name.ts"
import { dns } from "./dns/registry.ts"
import { etcd } from "./etcd/registry.ts"
import { parseEtcdUrl } from "./etcd/url.ts"
import { AddressError } from "./net/address.ts"
import type { ClientTlsOptions } from "./net/tls.ts"

export interface RegistryOptions {
  /** How to speak TLS to `etcds:` addresses. Default: with the runtime's own certificate authorities. */
  readonly tls?: ClientTlsOptions
}

/** A registry, and the service in it that a URL names. */
export interface OpenedRegistry {
  readonly registry: Registry
  readonly service: string
}

/**
 * Opens what a URL names: a registry, and a service in it. It closes with its scope.
 *
 * | URL | endpoints |
 * | --- | --- |
 * | `etcd://host:2379/pi`, `etcds://user:password@one,two,three/pi` | those registered in etcd as `pi`: see `etcd` |
 * | `dns://pi.example.org:8080` | the addresses that DNS has for the host: see `dns` |
 * | `srv://_grpc._tcp.example.org` | the hosts and ports in its records of type SRV |
 * | `dns://10.0.0.53:53/…`, `srv://10.0.0.53:53/…` | the same, asked of this server |
 * | `static:10.0.0.1:8080,10.0.0.2:8080` | these |
 *
 * @example
 * const { registry, service } = yield* openRegistry("etcd://127.0.0.1:2379/pi")
 * yield* Stream.runForEach(registry.resolve(service), (endpoints) => Console.log(endpoints))
 */
export const openRegistry = Effect.fnUntraced(function* (
  url: string,
  { tls }: RegistryOptions = {},
): Effect.fn.Return<OpenedRegistry, AddressError, Scope.Scope> {
  const fail = (what: string) => {
    const address = withoutUser(url)
    return new AddressError({ address, message: `${quoted(address)} ${what}` })
  }
  const [scheme] = url.split(":", 1)
  switch (scheme) {
    case "etcd":
    case "etcds": {
      const { path } = yield* Effect.fromResult(parseEtcdUrl(url))
      if (path === "") return yield* fail("names no service: put a / and its name behind the host, such as /pi")
      return { registry: yield* etcd(url, tls === undefined ? {} : { tls }), service: path }
    }
    case "dns":
    case "srv": {
      const [, server, service = ""] = /^(?:\/\/(?:([^/]*)\/)?)?([^/]*)$/.exec(url.slice("dns:".length)) ?? []
      const name = parseName(service)
      if (name === undefined || "service" in name !== (scheme === "srv")) {
        return yield* fail(
          scheme === "dns"
            ? "names no host and port: give dns://host:port"
            : "names no service: give srv:// and a name without a port, such as srv://_grpc._tcp.example.org",
        )
      }
      return { registry: dns(server ? { servers: [server] } : {}), service }
    }
    case "static": {
      const addresses = url
        .slice("static:".length)
        .split(",")
        .filter((address) => address !== "")
      if (addresses.length === 0) return yield* fail("names no address: give static:host:port,host:port")
      return { registry: staticRegistry(addresses.map((address) => ({ address }))), service: "" }
    }
    default:
      return yield* fail("names no registry: give a URL that begins with etcd:, etcds:, dns:, srv: or static:")
  }
})
