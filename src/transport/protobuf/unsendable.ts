/**
 * A request that can't be encoded: its caller's mistake, of which nothing is sent.
 */
import type { DescMessage } from "@bufbuild/protobuf"
import { RpcError } from "../../core/rpc/error.ts"

export const unsendable = ({ typeName }: DescMessage, cause: unknown): RpcError => {
  const why = cause instanceof Error ? cause.message : String(cause)
  return new RpcError({ code: "internal", message: `the request is no ${typeName}: ${why}`, cause })
}
