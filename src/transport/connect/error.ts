/**
 * `RpcError` and the `ConnectError` of Connect-ES, both ways, with details and metadata.
 */
import {
  create,
  createRegistry,
  type DescFile,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  type Registry,
  toJson,
} from "@bufbuild/protobuf"
import { type Code, ConnectError } from "@connectrpc/connect"
import type { Detail } from "../../core/rpc/details.ts"
import { RpcError } from "../../core/rpc/error.ts"
import * as Status from "../../core/rpc/status.ts"
import { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.ts"
import { appendTo, fromHeaders } from "./headers.ts"

// A registry costs far more than a call: each service's is made once.
const registries = new WeakMap<DescFile, Registry>()

/** The messages that can be details: google.rpc's, and those of the service's own file. */
export const detailTypes = (file: DescFile): Registry => {
  let types = registries.get(file)
  if (types === undefined) {
    types = createRegistry(file_google_rpc_error_details, file)
    registries.set(file, types)
  }
  return types
}

// Connect-ES numbers the codes as gRPC does.
const toCode = (code: Status.Code): Code => Status.toNumber(code)

const fromCode = (code: Code): Status.Code => {
  const status = Status.fromNumber(code)
  return status === "ok" ? "unknown" : status
}

const toConnectDetail = ({ type, value }: Detail, types: Registry): ConnectError["details"][number] => {
  if (value instanceof Uint8Array) return { type, value }
  const desc = types.getMessage(type)
  if (desc === undefined) {
    throw new Error(`the detail ${type} is no message of google.rpc nor of the service's file: give it as bytes`)
  }
  // A detail's value is JSON by its definition, which the core has no type for.
  return { desc, value: fromJson(desc, value as JsonValue, { registry: types }) }
}

/** What Connect-ES sends for an error. Its cause stays here. */
export const toConnectError = (error: RpcError, types: Registry): ConnectError => {
  const connectError = new ConnectError(error.message, toCode(error.code))
  connectError.details = error.details.map((detail) => toConnectDetail(detail, types))
  appendTo(connectError.metadata, error.metadata)
  return connectError
}

const fromMessage = (desc: DescMessage, message: Message, types: Registry): Detail => {
  const value = toJson(desc, message, { registry: types })
  // A message's JSON form is an object but for a few well-known types, such as a Timestamp's text.
  return { type: desc.typeName, value: typeof value === "object" && value !== null ? value : { value } }
}

const fromConnectDetail = (detail: ConnectError["details"][number], types: Registry): Detail => {
  if ("desc" in detail) return fromMessage(detail.desc, create(detail.desc, detail.value), types)
  const desc = types.getMessage(detail.type)
  if (desc === undefined) return { type: detail.type, value: detail.value }
  try {
    return fromMessage(desc, fromBinary(desc, detail.value), types)
  } catch {
    // The peer's bytes are not what it says they are: the caller gets them as they came.
    return { type: detail.type, value: detail.value }
  }
}

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
