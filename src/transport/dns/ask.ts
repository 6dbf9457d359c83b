/**
 * Asking DNS, in the way of each runtime's own resolver.
 */
import { lookup, Resolver } from "node:dns/promises"
import { isIP } from "node:net"
import { Effect } from "effect"
import type { Endpoint } from "../../core/discovery/registry.ts"
import { RpcError } from "../../core/rpc/error.ts"
import type { Name } from "./name.ts"

// How long one question may take, whatever the runtime thinks of its resolver's own options.
const longest = "10 seconds"

/** The endpoints that DNS knows now, in an order that is always the same. A name that it doesn't know has none. */
export const ask = (
  name: Name,
  servers: ReadonlyArray<string> | undefined,
): Effect.Effect<ReadonlyArray<Endpoint>, RpcError> =>
  Effect.map("service" in name ? targets(name.service, servers) : addresses(name, servers), (found) =>
    Array.from(new Set(found))
      .sort()
      .map((address) => ({ address })),
  )

const addresses = (
  { host, port }: { readonly host: string; readonly port: number },
  servers?: ReadonlyArray<string>,
) => {
  const withPort = (ips: ReadonlyArray<string>) =>
    ips.map((ip) => (ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`))
  if (isIP(host) !== 0) return Effect.succeed(withPort([host]))
  // Without servers of its own the machine's hosts file counts too.
  if (servers === undefined) {
    return Effect.map(
      answered(host, () => lookup(host, { all: true })),
      (found) => withPort(found.map((one) => one.address)),
    )
  }
  return Effect.map(
    asking(servers, host, (resolver) =>
      Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)]).then(either),
    ),
    withPort,
  )
}

/** All of two answers: a host that has addresses of one kind needs none of the other. */
const either = (answers: ReadonlyArray<PromiseSettledResult<Array<string>>>): Array<string> => {
  const found = answers.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []))
  if (found.length > 0) return found
  // That a server fails says more than that it knows nothing.
  const reasons = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason] : []))
  const worst = reasons.find((reason) => !isUnknown(reason)) ?? reasons[0]
  if (worst !== undefined) throw worst
  return []
}

const hostPattern = /^[\w.-]{1,253}$/

/** Hosts and ports of the records with the lowest priority. RFC 2782 has them used before all others. */
const targets = (service: string, servers?: ReadonlyArray<string>) =>
  Effect.map(
    asking(servers, service, (resolver) => resolver.resolveSrv(service)),
    (records) => {
      const lowest = Math.min(...records.map(({ priority }) => priority))
      return records.flatMap(({ name, port, priority }) => {
        const host = name.replace(/\.$/, "")
        return priority === lowest && hostPattern.test(host) ? [`${host}:${port}`] : []
      })
    },
  )

const asking = <A>(
  servers: ReadonlyArray<string> | undefined,
  name: string,
  question: (resolver: Resolver) => Promise<ReadonlyArray<A>>,
) =>
  answered(name, (signal) => {
    const resolver = new Resolver({ timeout: 2000, tries: 2 })
    if (servers !== undefined) resolver.setServers(servers)
    signal.addEventListener("abort", () => resolver.cancel())
    return question(resolver)
  })

/** What DNS answers; nothing where it says that there is nothing. */
const answered = <A>(
  name: string,
  question: (signal: AbortSignal) => Promise<ReadonlyArray<A>>,
): Effect.Effect<ReadonlyArray<A>, RpcError> =>
  Effect.tryPromise({ try: async (signal) => question(signal), catch: (cause) => cause }).pipe(
    Effect.catch((cause) => (isUnknown(cause) ? Effect.succeed([]) : Effect.fail(failed(name, cause)))),
    Effect.timeoutOrElse({ duration: longest, orElse: () => Effect.fail(failed(name, `no answer within ${longest}`)) }),
  )

/** Whether DNS knows no such name, or nothing of this kind about it. Deno says so of servers that fail, too. */
const isUnknown = (cause: unknown): boolean =>
  cause instanceof Error && "code" in cause && (cause.code === "ENOTFOUND" || cause.code === "ENODATA")

const failed = (name: string, cause: unknown): RpcError =>
  new RpcError({
    code: "unavailable",
    message: `DNS can't be asked for ${name}: ${cause instanceof Error ? cause.message : cause}`,
    cause,
  })
