/**
 * A registry that is a fixed list: for servers whose addresses are known and stay as they are.
 */
import { Effect, Stream } from "effect"
import { RpcError } from "../rpc/error.ts"
import type { Endpoint, Registry } from "./registry.ts"

/**
 * A registry in which every service has these endpoints, always. `register` fails with `unimplemented`.
 *
 * @example
 * const registry = staticRegistry([{ address: "10.0.0.1:8080" }, { address: "10.0.0.2:8080" }])
 */
export const staticRegistry = (endpoints: Iterable<Endpoint>): Registry => {
  const once = [...new Map(Array.from(endpoints, (endpoint) => [endpoint.address, endpoint])).values()]
  return {
    register: (_, { address }) =>
      Effect.fail(
        new RpcError({
          code: "unimplemented",
          message: `a static registry is a fixed list: ${address} can't be registered in it`,
        }),
      ),
    resolve: () => Stream.concat(Stream.succeed(once), Stream.never),
  }
}
