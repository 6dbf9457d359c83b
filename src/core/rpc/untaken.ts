/**
 * Calls that no server has taken: they failed before they were sent, so sending them again, to another server, does nothing
 * twice.
 *
 * Source: gRPC's proposal A6, "Transparent Retries".
 */
import type { RpcError } from "./error.ts"

const known = new WeakSet<RpcError>()

/** Says of a call's error that no server has taken the call. */
export const untaken = (error: RpcError): RpcError => {
  known.add(error)
  return error
}

export const isUntaken = (error: RpcError): boolean => known.has(error)
