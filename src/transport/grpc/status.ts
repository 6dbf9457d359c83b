/**
 * A call's status as gRPC's trailers: `grpc-status`, `grpc-message` and `grpc-status-details-bin`.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Responses"; the richer error model, grpc.io/docs/guides/error.
 */
import { create, type Registry, toBinary } from "@bufbuild/protobuf"
import type { Detail } from "../../core/rpc/details.ts"
import type { RpcError } from "../../core/rpc/error.ts"
import * as Status from "../../core/rpc/status.ts"
import { encodeBinary } from "../binary.ts"
import { detailBytes } from "../details.ts"
import { StatusSchema } from "../gen/google/rpc/status_pb.ts"
import type { Field } from "../http2/hpack.ts"
import { toFields } from "./metadata.ts"

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
