/**
 * Errors as Connect says them, in JSON.
 *
 * Source: connectrpc.com/docs/protocol, "Error codes" and "Error-Details".
 */
import { type Registry, toBinary, toJson } from "@bufbuild/protobuf"
import type { Detail } from "../../core/rpc/details.ts"
import type { RpcError } from "../../core/rpc/error.ts"
import type * as Status from "../../core/rpc/status.ts"
import { encodeBinary } from "../binary.ts"
import { detailMessage } from "../details.ts"

/** An error without its metadata, which has its place elsewhere. */
export interface ErrorJson {
  readonly code: string
  readonly message?: string
  readonly details?: ReadonlyArray<object>
}

// The one name that Connect spells in another way than gRPC.
const codeName = (code: Status.Code): string => (code === "cancelled" ? "canceled" : code)

const detailJson = ({ type, value }: Detail, types: Registry): object => {
  if (value instanceof Uint8Array) return { type, value: encodeBinary(value) }
  const { desc, value: message } = detailMessage(type, value, types)
  // For a person who reads the response.
  const debug = toJson(desc, message, { registry: types })
  return { type, value: encodeBinary(toBinary(desc, message)), debug }
}

/** Throws for a detail that can't be sent: its program's mistake. */
export const errorJson = ({ code, message, details }: RpcError, types: Registry): ErrorJson => ({
  code: codeName(code),
  // A lone surrogate has no UTF-8, and as an escape there are readers that refuse it.
  ...(message === "" ? {} : { message: message.toWellFormed() }),
  ...(details.length === 0 ? {} : { details: details.map((detail) => detailJson(detail, types)) }),
})
