/**
 * Health: whether a server takes calls, for those who choose where to send them. The two programs of
 * `grpc.health.v1.Health`, and what they tell.
 *
 * Source: grpc/doc/health-checking.md.
 */
import { type Cause, Effect, Queue, Stream } from "effect"
import { RpcError } from "../rpc/error.ts"

// The messages of proto/health.proto as far as the programs look at them.
export interface HealthCheckRequest {
  readonly service: string
}
export interface HealthCheckResponse {
  readonly status: number
}

export type Status = "serving" | "not_serving"

/** Statuses as they are on the wire: the numbers of gRPC's enum `ServingStatus`. */
export const numbers = { serving: 1, not_serving: 2, service_unknown: 3 } as const

/** The name of the server as a whole, which asks for no service. */
export const whole = ""

export interface Health {
  /** Says how a service is from now on. One that wasn't known becomes known. After `shutdown` nothing is changed any more. */
  readonly set: (service: string, status: Status) => Effect.Effect<void>
  /** Says of all services that they don't serve, which those who watch are told last: their streams end with it. */
  readonly shutdown: Effect.Effect<void>
  /** How a service is now. Fails with `not_found` for one that isn't known. */
  readonly check: (request: HealthCheckRequest) => Effect.Effect<HealthCheckResponse, RpcError>
  /**
   * How a service is now, and again after each change, until the shutdown; one that isn't known is `service_unknown`. Who
   * takes them slowly misses those in between, never the last.
   */
  readonly watch: (request: HealthCheckRequest) => Stream.Stream<HealthCheckResponse>
}

type Watcher = Queue.Queue<HealthCheckResponse, Cause.Done>

/**
 * The health of these services and of the server as a whole, which serve from the start.
 *
 * @example
 * const health = Health.make(["pi.PiCalculator"])
 * yield* health.set("pi.PiCalculator", "not_serving") // while it loads what it needs
 */
export const make = (services: ReadonlyArray<string>): Health => {
  const statuses = new Map<string, Status>([whole, ...services].map((service) => [service, "serving"]))
  // Each belongs to a call and leaves with it, so there are no more of them than calls may run.
  const watchers = new Map<Watcher, string>()
  let ended = false

  const tell = (watcher: Watcher, service: string) => {
    Queue.offerUnsafe(watcher, { status: numbers[statuses.get(service) ?? "service_unknown"] })
    if (ended) Queue.endUnsafe(watcher)
  }

  return {
    set: (service, status) =>
      Effect.sync(() => {
        if (ended || statuses.get(service) === status) return
        statuses.set(service, status)
        for (const [watcher, watched] of watchers) if (watched === service) tell(watcher, service)
      }),
    shutdown: Effect.sync(() => {
      if (ended) return
      ended = true
      for (const service of statuses.keys()) statuses.set(service, "not_serving")
      for (const [watcher, service] of watchers) tell(watcher, service)
    }),
    check: ({ service }) =>
      Effect.suspend(() => {
        const status = statuses.get(service)
        return status === undefined
          ? Effect.fail(
              new RpcError({ code: "not_found", message: `there is no service ${JSON.stringify(service)} here` }),
            )
          : Effect.succeed({ status: numbers[status] })
      }),
    watch: ({ service }) =>
      Stream.callback<HealthCheckResponse>(
        (watcher) =>
          Effect.acquireRelease(
            Effect.sync(() => {
              watchers.set(watcher, service)
              tell(watcher, service)
            }),
            () => Effect.sync(() => watchers.delete(watcher)),
          ),
        { bufferSize: 1, strategy: "sliding" },
      ),
  }
}
