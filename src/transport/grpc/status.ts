/**
 * A call's status as gRPC's trailers: `grpc-status`, `grpc-message` and `grpc-status-details-bin`.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Responses"; the richer error model, grpc.io/docs/guides/error.
 */
import { create, type Registry, toBinary } from "@bufbuild/protobuf"
import type { Detail } from "../../core/rpc/details.ts"
import { RpcError } from "../../core/rpc/error.ts"
import type * as Metadata from "../../core/rpc/metadata.ts"
import * as Status from "../../core/rpc/status.ts"
import { decodeBinary, encodeBinary } from "../binary.ts"
import { detailBytes, detailOfBytes } from "../details.ts"
import { StatusSchema } from "../gen/google/rpc/status_pb.ts"
import type { Field } from "../http2/hpack.ts"
import { readBinary } from "../protobuf/read.ts"
import { fromFields, toFields } from "./metadata.ts"

/** The trailers of a call that went well and has no metadata: always the same, so that it is encoded once. */
export const okTrailers: ReadonlyArray<Field> = Object.freeze([Object.freeze({ name: "grpc-status", value: "0" })])

// Percent-encoding of UTF-8, for all but printable ASCII without "%" (PROTOCOL-HTTP2, "Status-Message").
export const encodeMessage = (message: string): string =>
  // A lone surrogate has no UTF-8.
  message.replace(/[^\x20-\x24\x26-\x7e]+/gu, (text) => encodeURIComponent(text.toWellFormed()))

const details = (error: RpcError, all: ReadonlyArray<Detail>, types: Registry): Field => ({
  name: "grpc-status-details-bin",
  value: encodeBinary(
    toBinary(
      StatusSchema,
      create(StatusSchema, {
        code: Status.toNumber(error.code),
        message: error.message,
        details: all.map((detail) => ({
          typeUrl: `type.googleapis.com/${detail.type}`,
          value: detailBytes(detail, types),
        })),
      }),
    ),
  ),
})

/** The trailers of a call that failed, its metadata included. */
export const errorTrailers = (error: RpcError, types: Registry): ReadonlyArray<Field> => [
  { name: "grpc-status", value: String(Status.toNumber(error.code)) },
  ...(error.message === "" ? [] : [{ name: "grpc-message", value: encodeMessage(error.message) }]),
  ...(error.details.length === 0 ? [] : [details(error, error.details, types)]),
  ...toFields(error.metadata),
]

/** How a call ended, as its trailers say it. */
export interface Ended {
  /** `undefined` if they don't say: then it ended in no way that gRPC knows. */
  readonly status: Status.Status | undefined
  readonly message: string
  /** The bytes of google.rpc.Status, in base64. */
  readonly details: string | undefined
  readonly metadata: Metadata.Metadata
}

// What frozen lists say: almost all calls end in the same words.
const known = new WeakMap<ReadonlyArray<Field>, Ended>()

export const readTrailers = (fields: ReadonlyArray<Field>): Ended => {
  const before = known.get(fields)
  if (before !== undefined) return before
  const ended = read(fields)
  // Bytes can be written to by who gets them, so they aren't shared between calls.
  if (Object.isFrozen(fields) && ended.metadata.every(([, value]) => typeof value === "string"))
    known.set(fields, ended)
  return ended
}

const read = (fields: ReadonlyArray<Field>): Ended => {
  let status: Status.Status | undefined
  let message = ""
  let details: string | undefined
  for (const { name, value } of fields) {
    if (name === "grpc-status") status = /^\d{1,10}$/.test(value) ? Status.fromNumber(Number(value)) : "unknown"
    else if (name === "grpc-message") message = decodeMessage(value)
    else if (name === "grpc-status-details-bin") details = value
  }
  return { status, message, details, metadata: fromFields(fields) }
}

/** The text of a `grpc-message`. What isn't percent-encoded UTF-8 is left as it is, as the specification asks. */
export const decodeMessage = (text: string): string =>
  text.replace(/(?:%[0-9a-fA-F]{2})+/g, (encoded) => {
    try {
      return decodeURIComponent(encoded)
    } catch {
      return encoded
    }
  })

/** The error of a call that ended so; `undefined` if it went well. */
export const endedError = (
  { status, message, details, metadata }: Ended,
  header: Metadata.Metadata,
  { types, method }: { readonly types: Registry; readonly method: string },
): RpcError | undefined => {
  if (status === "ok") return undefined
  return status === undefined
    ? new RpcError({ code: "unknown", message: "the answer ends without a grpc-status", header, metadata, method })
    : new RpcError({ code: status, message, details: readDetails(details, types), header, metadata, method })
}

const readDetails = (encoded: string | undefined, types: Registry): ReadonlyArray<Detail> => {
  const [bytes] = encoded === undefined ? [] : decodeBinary(encoded, 1)
  if (bytes === undefined) return []
  try {
    return readBinary(StatusSchema, bytes).details.map(({ typeUrl, value }) =>
      detailOfBytes(typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value, types),
    )
  } catch {
    // The code and the message stand beside them, and say what matters.
    return []
  }
}
