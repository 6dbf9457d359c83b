/**
 * `healthService`: the core's health as the service `grpc.health.v1.Health`, which gRPC's clients, Kubernetes' probes and
 * load balancers ask.
 */
import type * as Health from "../core/health/health.ts"
import { Health as descriptor } from "./gen/health_pb.ts"
import * as Service from "./service.ts"

/**
 * Serves a health. Statuses are numbers in the JSON form, where gRPC's own proto has names; on the wire they are the same.
 *
 * @example
 * const health = Health.make(["pi.PiCalculator"])
 * const server = yield* serve([pi, healthService(health)])
 * // Closed before the server, so that those who watch hear of it.
 * yield* Effect.addFinalizer(() => health.shutdown)
 */
export const healthService = ({ check, watch }: Health.Health): Service.Service<typeof descriptor> =>
  Service.make(descriptor, { check, watch })
