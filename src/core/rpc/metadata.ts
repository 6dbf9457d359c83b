/**
 * Metadata: the keys and values that travel beside the messages of a call, as headers before them or trailers after.
 *
 * It is a plain list of entries: a key may repeat, and order is kept. Keys are lower case; a key that ends in `-bin`
 * has bytes for a value, any other printable ASCII text.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Custom-Metadata".
 *
 * @example
 * const sent = Metadata.of({ "x-client": "cli", "trace-bin": new Uint8Array([1, 2]) })
 * Metadata.get(sent, "X-Client") // "cli"
 */
import { Data, Result } from "effect"

/** Text under an ordinary key, bytes under a `-bin` key. */
export type Value = string | Uint8Array

export type Entry = readonly [key: string, value: Value]

export type Metadata = ReadonlyArray<Entry>

/** What metadata is made of: a record, whose values may be lists, or entries in order. */
export type Input = Readonly<Record<string, Value | ReadonlyArray<Value>>> | ReadonlyArray<readonly [string, Value]>

/** A key or value that can't be sent. The message names the key and says what is allowed. */
export class MetadataError extends Data.TaggedError("MetadataError")<{
  readonly key: string
  readonly message: string
}> {}

export const empty: Metadata = []

// These belong to the protocols themselves: sent by a user they would contradict what the transport sends.
const reserved: ReadonlySet<string> = new Set([
  "accept-encoding",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "host",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

/** What a server says about when to try again, and a client about how often it has: theirs to send, of gRPC's own keys. */
const retryKeys: ReadonlySet<string> = new Set(["grpc-retry-pushback-ms", "grpc-previous-rpc-attempts"])

/** True for a key that gRPC, Connect or HTTP keeps for itself. The key is in lower case. */
export const isReserved = (key: string): boolean =>
  (key.startsWith("grpc-") && !retryKeys.has(key)) ||
  key.startsWith("connect-") ||
  key.startsWith(":") ||
  reserved.has(key)

const keyPattern = /^[0-9a-z_.-]+$/
const textPattern = /^[\x20-\x7e]*$/

/** True for a key, in lower case, that metadata may have: HTTP lets others through, which nobody could send on. */
export const isKey = (key: string): boolean => keyPattern.test(key)

/** True for a value that text may have: HTTP lets others through, which nobody could send on. */
export const isText = (value: string): boolean => textPattern.test(value)

/** A key as messages name it: in quotes and in ASCII, since it may be anything. */
const quoted = (key: string): string =>
  JSON.stringify(key).replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)

const check = (key: string, value: Value): Result.Result<Entry, MetadataError> => {
  const fail = (message: string) => Result.fail(new MetadataError({ key, message }))
  const lower = key.toLowerCase()
  const named = quoted(key)
  if (!keyPattern.test(lower)) {
    return fail(`metadata key ${named} has other characters than letters, digits, "-", "_" and "."`)
  }
  if (typeof value !== "string" && !(value instanceof Uint8Array)) {
    return fail(`the value of metadata key ${named} is neither text nor bytes`)
  }
  if (isReserved(lower)) return fail(`metadata key ${named} is reserved by the protocol: choose another name`)
  if (lower.endsWith("-bin") !== (typeof value !== "string")) {
    return fail(
      typeof value === "string"
        ? `metadata key ${named} ends in "-bin", so its value must be bytes, not text`
        : `metadata key ${named} has bytes for a value, so its name must end in "-bin"`,
    )
  }
  if (typeof value === "string" && !isText(value)) {
    return fail(`the value of metadata key ${named} is not printable ASCII: send it as bytes under "${lower}-bin"`)
  }
  return Result.succeed([lower, value])
}

const entries = (input: Input): ReadonlyArray<readonly [string, Value]> => {
  if (isEntries(input)) return input
  return Object.entries(input).flatMap(([key, value]) =>
    typeof value === "string" || value instanceof Uint8Array
      ? [[key, value] as const]
      : value.map((one) => [key, one] as const),
  )
}

// `Array.isArray` alone doesn't narrow a readonly array out of a union.
const isEntries = (input: Input): input is ReadonlyArray<readonly [string, Value]> => Array.isArray(input)

/** Metadata of input that may be wrong, a user's for example. Fails with the first bad key or value. */
export const make = (input: Input): Result.Result<Metadata, MetadataError> => {
  const made: Array<Entry> = []
  for (const [key, value] of entries(input)) {
    const checked = check(key, value)
    if (Result.isFailure(checked)) return Result.fail(checked.failure)
    made.push(checked.success)
  }
  return Result.succeed(made)
}

// Lists that were found to be sendable: the same one goes with many calls.
const sendable = new WeakSet<Metadata>([empty])

/**
 * Why metadata can't be sent; `undefined` if it can. `make` and `of` give none that can't, but a list may be written by
 * hand. So who sends metadata asks this first, and sends none of it otherwise: a value with a line break in it would be
 * several fields to an HTTP/1.1 server behind a proxy.
 *
 * Source: RFC 9113, section 8.2.1 and 10.3; grpc-go's `metadata.Validate`.
 */
export const fault = (metadata: Metadata): MetadataError | undefined => {
  if (metadata.length === 0 || sendable.has(metadata)) return undefined
  for (const [key, value] of metadata) {
    const checked = check(key, value)
    if (Result.isFailure(checked)) return checked.failure
    if (checked.success[0] !== key) {
      return new MetadataError({
        key,
        message: `metadata key ${quoted(key)} has upper case letters: write it in lower case`,
      })
    }
  }
  sendable.add(metadata)
  return undefined
}

/** Metadata of input that stands in the code. Throws a `MetadataError` where `make` fails. */
export const of = (input: Input): Metadata => Result.getOrThrow(make(input))

/** The first value of a key, in any case; `undefined` if there is none. */
export const get = (metadata: Metadata, key: string): Value | undefined => {
  const lower = key.toLowerCase()
  return metadata.find(([name]) => name === lower)?.[1]
}

/** The first value of a key if it is text. */
export const getText = (metadata: Metadata, key: string): string | undefined => {
  const value = get(metadata, key)
  return typeof value === "string" ? value : undefined
}

/** All values of a key, in the order they were sent. */
export const getAll = (metadata: Metadata, key: string): ReadonlyArray<Value> => {
  const lower = key.toLowerCase()
  return metadata.filter(([name]) => name === lower).map(([, value]) => value)
}

/** The first metadata's entries, then the second's. */
export const concat = (first: Metadata, second: Metadata): Metadata =>
  first.length === 0 ? second : second.length === 0 ? first : [...first, ...second]
