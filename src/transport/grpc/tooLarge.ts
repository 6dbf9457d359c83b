/**
 * The response to a gRPC call whose head is too large to be read.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Responses": one that is trailers only has HTTP status 200.
 */
import { createRegistry } from "@bufbuild/protobuf"
import { RpcError } from "../../core/rpc/error.ts"
import type { Field } from "../http2/hpack.ts"
import { mediaType } from "./codec.ts"
import { status200 } from "./head.ts"
import { errorTrailers } from "./status.ts"

const noTypes = createRegistry()

/** Gives the head of the response, given those fields of the request that were kept; `undefined` if it isn't gRPC. */
export const headTooLarge = (
  essentials: ReadonlyArray<Field>,
  maxHeaderListSize: number,
): ReadonlyArray<Field> | undefined => {
  const contentType = mediaType(essentials.find(({ name }) => name === "content-type")?.value ?? "")
  if (!contentType.startsWith("application/grpc")) return undefined
  const message = `the head of the request has more than the ${maxHeaderListSize} bytes that the server takes (its limits.maxHeaderListSize)`
  const trailers = errorTrailers(new RpcError({ code: "resource_exhausted", message }), noTypes)
  return [status200, { name: "content-type", value: contentType }, ...trailers]
}
