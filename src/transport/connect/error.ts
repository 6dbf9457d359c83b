/**
 * `RpcError` and the `ConnectError` of Connect-ES, both ways, with details and metadata.
 */
import { create, type Registry } from "@bufbuild/protobuf"
import { type Code, ConnectError } from "@connectrpc/connect"
import type { Detail } from "../../core/rpc/details.ts"
import { RpcError } from "../../core/rpc/error.ts"
import * as Status from "../../core/rpc/status.ts"
import { detailMessage, detailOfBytes, detailOfMessage } from "../details.ts"
import { appendTo, fromHeaders } from "./headers.ts"

// Connect-ES numbers the codes as gRPC does.
const toCode = (code: Status.Code): Code => Status.toNumber(code)

const fromCode = (code: Code): Status.Code => {
  const status = Status.fromNumber(code)
  return status === "ok" ? "unknown" : status
}

const toConnectDetail = ({ type, value }: Detail, types: Registry): ConnectError["details"][number] =>
  value instanceof Uint8Array ? { type, value } : detailMessage(type, value, types)

/** What Connect-ES sends for an error. Its cause stays here. */
export const toConnectError = (error: RpcError, types: Registry): ConnectError => {
  const connectError = new ConnectError(error.message, toCode(error.code))
  connectError.details = error.details.map((detail) => toConnectDetail(detail, types))
  appendTo(connectError.metadata, error.metadata)
  return connectError
}

const fromConnectDetail = (detail: ConnectError["details"][number], types: Registry): Detail =>
  "desc" in detail
    ? detailOfMessage(detail.desc, create(detail.desc, detail.value), types)
    : detailOfBytes(detail.type, detail.value, types)

/** What a call that failed in Connect-ES fails with here. */
export const fromConnectError = (reason: unknown, types: Registry): RpcError => {
  if (reason instanceof RpcError) return reason
  const error = ConnectError.from(reason)
  return new RpcError({
    code: fromCode(error.code),
    message: error.rawMessage,
    details: error.details.map((detail) => fromConnectDetail(detail, types)),
    metadata: fromHeaders(error.metadata),
    cause: error.cause,
  })
}
