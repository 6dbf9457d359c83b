/**
 * `basel discover`: the endpoints that a registry has of a service.
 */
import { Data, Effect, Option, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { endpoints } from "../core/discovery/endpoints.ts"
import type { Endpoint, Registry } from "../core/discovery/registry.ts"
import * as Backoff from "../core/rpc/backoff.ts"
import { RpcError } from "../core/rpc/error.ts"
import { printable, withoutUser } from "../core/rpc/printable.ts"
import { openRegistry } from "../transport/registry.ts"
import { logBeside } from "./discovery.ts"
import { jsonFlag, printLines } from "./output.ts"
import { clientTlsFlags, readClientTls } from "./tls.ts"

/** An endpoint that has come, or gone. */
interface Change {
  readonly change: "added" | "removed"
  readonly address: string
}

const addresses = (list: ReadonlyArray<Endpoint>): ReadonlyArray<string> =>
  list.map(({ address }) => address).toSorted()

// Somebody sits before it.
const soon: Backoff.Backoff = { ...Backoff.connection, max: "5 seconds" }

/** What the log tells of failures is all there is to say of them. */
const lists = (registry: Registry, service: string) =>
  Stream.filter(
    endpoints(registry, service, soon),
    (told): told is ReadonlyArray<Endpoint> => !(told instanceof RpcError),
  )

/** What has changed from one list to the next; all of the first has come. */
const changes = <E, R>(lists: Stream.Stream<ReadonlyArray<Endpoint>, E, R>): Stream.Stream<Change, E, R> =>
  Stream.mapAccum(
    lists,
    () => new Set<string>(),
    (before, list) => {
      const now = new Set(addresses(list))
      const change = (change: Change["change"], from: ReadonlySet<string>, without: ReadonlySet<string>) =>
        Array.from(from, (address): Change => ({ change, address })).filter(({ address }) => !without.has(address))
      return [now, [...change("removed", before, now), ...change("added", now, before)]] as const
    },
  )

const changeLine = ({ change, address }: Change): string => `${change === "added" ? "+" : "-"} ${printable(address)}`

/** A registry that can be asked, and knows nobody. */
class NoEndpointError extends Data.TaggedError("NoEndpointError")<{ readonly url: string }> {
  override get message(): string {
    return `no server is registered in ${this.url}: check the service's name, or wait for one with --watch`
  }
}

export const discover = Command.make(
  "discover",
  {
    url: Argument.String("url").pipe(
      Argument.withDescription(
        "A registry and a service in it: etcd://host:2379/pi, etcds://…, dns://host:port, srv://name or static:host:port,host:port",
      ),
    ),
    watch: Flag.Boolean("watch").pipe(
      Flag.withDescription("Go on, and show who comes and who goes"),
      Flag.withDefault(false),
    ),
    ...clientTlsFlags,
    json: jsonFlag,
  },
  Effect.fnUntraced(
    function* ({ url, watch, json, ...files }) {
      const tls = yield* readClientTls(files)
      const { registry, service } = yield* openRegistry(url, tls === undefined ? {} : { tls })
      if (watch) {
        const line = json ? (change: Change) => JSON.stringify(change) : changeLine
        return yield* printLines(Stream.map(changes(lists(registry, service)), line))
      }
      const line = json ? (address: string) => JSON.stringify({ address }) : (address: string) => printable(address)
      const first = Option.getOrElse(yield* Stream.runHead(registry.resolve(service)), () => [])
      if (first.length === 0) return yield* new NoEndpointError({ url: withoutUser(url) })
      yield* printLines(Stream.map(Stream.fromIterable(addresses(first)), line))
    },
    Effect.scoped,
    logBeside,
  ),
).pipe(
  Command.withDescription("Show where the servers of a service are, as a registry knows them"),
  Command.withExamples([
    { command: "basel discover etcd://127.0.0.1:2379/pi", description: "Those that are there now" },
    { command: "basel discover etcd://127.0.0.1:2379/pi --watch", description: "And who comes and goes, until Ctrl-C" },
    { command: "basel discover dns://localhost:8080 --json", description: "What DNS has for a host, an object a line" },
  ]),
)
