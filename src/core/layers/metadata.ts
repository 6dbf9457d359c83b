/**
 * `metadata`: adds to what calls carry beside their messages.
 */
import { promptly } from "../rpc/interceptor.ts"
import * as Metadata from "../rpc/metadata.ts"
import { type CallLayer, intercept } from "./intercept.ts"

/**
 * A layer that adds entries to each call's request metadata, behind those that are there: on a channel the server gets
 * them, on a service the programs do. Unary calls and streams are treated alike; responses are left alone. A key that
 * can't be sent throws a `MetadataError` here, where the layer is made.
 *
 * It commutes with all layers that don't read metadata.
 *
 * @example
 * const channel = connect("http://127.0.0.1:8080").pipe(metadata({ "x-client": "cli" }))
 */
export const metadata = (input: Metadata.Input): CallLayer => {
  const added = Metadata.of(input)
  return intercept(promptly((call, next) => next({ ...call, metadata: Metadata.concat(call.metadata, added) })))
}
