/**
 * `dns`: a registry that is DNS.
 *
 * Sources: grpc/doc/naming.md; RFC 2782 for SRV.
 */
import { Duration, Effect, Latch, Result, type Scope, Stream } from "effect"
import type { Endpoint, Registry } from "../../core/discovery/registry.ts"
import * as Backoff from "../../core/rpc/backoff.ts"
import { RpcError } from "../../core/rpc/error.ts"
import { escaped } from "../../core/rpc/printable.ts"
import { ask } from "./ask.ts"
import { parseName } from "./name.ts"

export interface DnsOptions {
  /**
   * Which servers are asked: IP addresses, with ports if they aren't 53. Default: the machine's. Under Deno they need
   * `--allow-sys=networkInterfaces`.
   */
  readonly servers?: ReadonlyArray<string>
  /** How long to wait before asking again, 10 % more or less. Default: 30 seconds. */
  readonly every?: Duration.Input
  /**
   * How soon after it was asked it is asked again for a client that has lost an endpoint, or can't reach one. gRPC's own
   * clients wait 30 seconds, in which calls fail. Default: 1 second.
   *
   * @example dns({ soonest: "10 seconds" })
   */
  readonly soonest?: Duration.Input
}

/**
 * A registry that asks DNS, again and again: `host:port` for the addresses of a host, and a name without a port for
 * records of type SRV, which say hosts and ports. Of those the ones with the lowest priority count; their weights don't.
 *
 * `resolve` fails if DNS can't be asked the first time. Later on, and where a name isn't known any more, the last endpoints
 * stay: not every runtime can tell a name that is gone from a server that fails. It is asked again after 1 s × 1.6 then, up
 * to `every`. Where an endpoint is lost it is asked sooner. A name that isn't known from the beginning has none. `register`
 * fails with `unimplemented`.
 *
 * @example
 * const registry = dns()
 * const endpoints = registry.resolve("pi.default.svc.cluster.local:8080")
 */
export const dns = ({ servers, every = "30 seconds", soonest = "1 second" }: DnsOptions = {}): Registry => {
  // Those who resolve a service now: each is a client's, which bounds them.
  const resolving = new Map<string, Set<Latch.Latch>>()
  return {
    register: (service, { address }) =>
      Effect.fail(
        new RpcError({
          code: "unimplemented",
          message: `DNS can only be asked: ${address} can't be registered as ${service} in it`,
        }),
      ),
    resolve: (service) => {
      const name = parseName(service)
      if (name === undefined) {
        const message = `DNS can't be asked for ${JSON.stringify(service)}: give host:port, or a name that has SRV records`
        return Stream.fail(new RpcError({ code: "invalid_argument", message }))
      }
      const times = { every: Duration.fromInputUnsafe(every), soonest: Duration.fromInputUnsafe(soonest) }
      return Stream.unwrap(
        Effect.map(enrolled(resolving, service), (woken) =>
          Stream.fromEffectRepeat(changes(ask(name, servers), times, woken)),
        ),
      )
    },
    refresh: (service) =>
      Effect.sync(() => {
        for (const woken of resolving.get(service) ?? []) woken.openUnsafe()
      }),
  }
}

/** A latch that opens when the service is to be asked for sooner, as long as the scope is open. */
const enrolled = (
  resolving: Map<string, Set<Latch.Latch>>,
  service: string,
): Effect.Effect<Latch.Latch, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const woken = Latch.makeUnsafe()
      const all = resolving.get(service) ?? new Set()
      resolving.set(service, all.add(woken))
      return woken
    }),
    (woken) =>
      Effect.sync(() => {
        const all = resolving.get(service)
        all?.delete(woken)
        if (all?.size === 0) resolving.delete(service)
      }),
  )

interface Times {
  readonly every: Duration.Duration
  readonly soonest: Duration.Duration
}

const jitter = 0.1

/** Each run ends with the next list that differs from the one before. */
const changes = (
  asked: Effect.Effect<ReadonlyArray<Endpoint>, RpcError>,
  { every, soonest }: Times,
  woken: Latch.Latch,
): Effect.Effect<ReadonlyArray<Endpoint>, RpcError> => {
  const usual: Backoff.Backoff = { initial: every, multiplier: 1, max: every, jitter }
  const sooner: Backoff.Backoff = { ...Backoff.connection, max: every }
  let known: ReadonlyArray<Endpoint> | undefined
  // Answers in a row that told of no endpoint.
  let failures = 0
  return Effect.gen(function* () {
    for (;;) {
      if (known !== undefined) {
        const delay = yield* failures === 0 ? Backoff.delay(usual, 0) : Backoff.delay(sooner, failures - 1)
        yield* Effect.raceFirst(Effect.sleep(delay), Effect.andThen(Effect.sleep(soonest), woken.await))
      }
      woken.closeUnsafe()
      const answer = yield* Effect.result(asked)
      if (Result.isFailure(answer)) {
        if (known === undefined) return yield* answer.failure
        yield* Effect.logDebug(escaped(answer.failure.message))
      }
      const found = Result.isSuccess(answer) ? answer.success : []
      failures = found.length === 0 ? failures + 1 : 0
      if (known !== undefined && (found.length === 0 || same(found, known))) continue
      known = found
      return found
    }
  })
}

const same = (one: ReadonlyArray<Endpoint>, other: ReadonlyArray<Endpoint>): boolean =>
  one.length === other.length && one.every(({ address }, at) => address === other[at]?.address)
