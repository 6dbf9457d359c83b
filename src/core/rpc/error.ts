/**
 * The one error of a call, on either side of the wire.
 */
import { Data } from "effect"
import type { Detail } from "./details.ts"
import * as Metadata from "./metadata.ts"
import type { Code } from "./status.ts"

/** What an `RpcError` is made of. Lists may be left out: they are empty then. */
export interface RpcErrorFields {
  readonly code: Code
  /** For a person to read. It reaches the peer: nothing secret or internal goes in. */
  readonly message: string
  readonly details?: ReadonlyArray<Detail>
  /** What goes with the error. A client finds in it the trailing metadata of its call. */
  readonly metadata?: Metadata.Metadata
  /** On a client, the leading metadata of its call: what the server had sent before it failed. */
  readonly header?: Metadata.Metadata
  /** Why, for the log of this side: it is never sent. */
  readonly cause?: unknown
}

/**
 * A call that failed: one of the 16 codes that are not ok, a text, typed details and metadata. It is what a program
 * fails with to answer an error, and what a client's call fails with.
 *
 * @example
 * const program = Effect.fail(new RpcError({ code: "not_found", message: "no such user" }))
 */
export class RpcError extends Data.TaggedError("RpcError")<{
  readonly code: Code
  readonly message: string
  readonly details: ReadonlyArray<Detail>
  readonly metadata: Metadata.Metadata
  readonly header: Metadata.Metadata
  readonly cause?: unknown
}> {
  constructor(fields: RpcErrorFields) {
    // Half a character has no UTF-8: protocols that don't refuse it send a mark in its place, and so all do.
    const message = fields.message.toWellFormed()
    super({ details: [], metadata: Metadata.empty, header: Metadata.empty, ...fields, message })
  }
}
