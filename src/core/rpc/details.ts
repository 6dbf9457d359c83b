/**
 * Details: typed messages that an error carries beside its code and text, so that a program can act on it.
 *
 * A detail is a protobuf message: its full name, and its fields in protobuf's JSON form. So a pure program makes and
 * reads them without knowing protobuf; a transport turns them into `google.protobuf.Any`. A detail whose type the
 * transport doesn't know arrives as its bytes.
 *
 * Sources: google.rpc's error_details.proto; the richer error model, grpc.io/docs/guides/error.
 *
 * @example
 * const detail = badRequest([{ field: "n", description: "should be positive" }])
 * findDetail([detail], "google.rpc.BadRequest")?.fieldViolations[0]?.field // "n"
 */
import { Duration } from "effect"

export interface Detail {
  /** The full name of the message, such as `google.rpc.BadRequest`. */
  readonly type: string
  /** Its fields in JSON form; its bytes if the type is not known here. */
  readonly value: object | Uint8Array
}

export interface FieldViolation {
  /** The path of the field in the request, such as `items[2].n`. */
  readonly field: string
  readonly description: string
  /** UPPER_SNAKE_CASE, for a program to act on. */
  readonly reason?: string
}

/** The details that have a type of their own here. Any other message can be a detail just as well. */
export interface KnownDetails {
  "google.rpc.BadRequest": { readonly fieldViolations: ReadonlyArray<FieldViolation> }
  "google.rpc.ErrorInfo": {
    readonly reason: string
    readonly domain: string
    readonly metadata?: Readonly<Record<string, string>>
  }
  "google.rpc.RetryInfo": {
    /** Seconds with an `s` behind, protobuf's JSON form of a duration. */
    readonly retryDelay: string
  }
}

const detail = <T extends keyof KnownDetails>(type: T, value: KnownDetails[T]): Detail => ({ type, value })

/** What in the request was wrong, field by field. */
export const badRequest = (fieldViolations: ReadonlyArray<FieldViolation>): Detail =>
  detail("google.rpc.BadRequest", { fieldViolations })

/** Why the call failed: a reason in UPPER_SNAKE_CASE, the domain that defines it, and what more there is to say. */
export const errorInfo = (info: KnownDetails["google.rpc.ErrorInfo"]): Detail => detail("google.rpc.ErrorInfo", info)

/**
 * How long to wait before another attempt.
 *
 * @example retryInfo("1500 millis") // { type: "google.rpc.RetryInfo", value: { retryDelay: "1.5s" } }
 */
export const retryInfo = (delay: Duration.Input): Detail => {
  // Nine digits behind the point at most, and never an exponent: protobuf reads no other.
  const seconds = Duration.toSeconds(delay).toFixed(9)
  return detail("google.rpc.RetryInfo", { retryDelay: `${seconds.replace(/\.?0+$/, "")}s` })
}

/** The first detail of a type, or `undefined`. */
export const findDetail = <T extends keyof KnownDetails>(
  details: ReadonlyArray<Detail>,
  type: T,
): KnownDetails[T] | undefined => {
  const found = details.find((one) => one.type === type && !(one.value instanceof Uint8Array))
  // Sound where the detail came from a constructor above or from a transport: both make the value after the type.
  return found?.value as KnownDetails[T] | undefined
}
