/**
 * The one error of a call, on either side of the wire.
 */
import { Data } from "effect"
import type { Detail } from "./details.ts"
import * as Metadata from "./metadata.ts"
import { escaped, placesOf } from "./printable.ts"
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
  /** On a client, the method that was called, such as `pi.PiCalculator/Calc`. It is never sent. */
  readonly method?: string
  /** Why, for the log of this side: it is never sent. */
  readonly cause?: unknown
}

const tag = "RpcError"

/**
 * A call that failed: one of the 16 codes that are not ok, a text, typed details and metadata. It is what a program
 * fails with to answer an error, and what a client's call fails with.
 *
 * @example
 * const program = Effect.fail(new RpcError({ code: "not_found", message: "no such user" }))
 */
export class RpcError extends Data.TaggedError(tag)<{
  readonly code: Code
  readonly message: string
  readonly details: ReadonlyArray<Detail>
  readonly metadata: Metadata.Metadata
  readonly header: Metadata.Metadata
  readonly method?: string
  readonly cause?: unknown
}> {
  constructor(fields: RpcErrorFields) {
    // Half a character has no UTF-8: protocols that don't refuse it send a mark in its place, and so all do.
    const message = fields.message.toWellFormed()
    super({ details: [], metadata: Metadata.empty, header: Metadata.empty, ...fields, message })
  }

  /** What runtimes print before the message of an error that nobody catches: with the code, and the method where it is known. */
  override get name(): string {
    const { code, method } = this
    // Some runtimes ask while the error is made.
    if (code === undefined) return tag
    return method === undefined ? `${tag} [${code}]` : `${tag} [${code}, ${method}]`
  }

  override toString(): string {
    return `${this.name}: ${escaped(this.message)}`
  }

  /** What `console.log` shows: the error with its stack, and what else it has. */
  [Symbol.for("nodejs.util.inspect.custom")](_depth: number, options: object, inspect?: Inspect): string {
    const { details, metadata, header, cause } = this
    const more = Object.entries({ details, metadata, header, cause }).filter(([, value]) =>
      Array.isArray(value) ? value.length > 0 : value !== undefined,
    )
    const text = [this.toString(), ...placesOf(this)].join("\n")
    return more.length === 0 || inspect === undefined ? text : `${text} ${inspect(Object.fromEntries(more), options)}`
  }
}

/** The same error with some of its fields changed. */
export const changed = (error: RpcError, fields: Partial<RpcErrorFields>): RpcError => {
  const { code, message, details, metadata, header, method, cause } = error
  const named = method === undefined ? {} : { method }
  return new RpcError({ code, message, details, metadata, header, ...named, cause, ...fields })
}

type Inspect = (value: unknown, options: object) => string
