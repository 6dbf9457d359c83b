/**
 * Faults of a request's messages in Connect, where they are `invalid_argument`: gRPC calls them `internal`.
 */
import type { DescMessage } from "@bufbuild/protobuf"
import { Effect } from "effect"
import type { Encoding } from "../../core/rpc/compression.ts"
import { RpcError } from "../../core/rpc/error.ts"
import type { Codec } from "../grpc/codec.ts"

// protobuf-es says which field is at fault, and quotes the value that stands there: it may be as long as the message.
const longestReason = 256

const invalid = ({ typeName }: DescMessage, cause: unknown): RpcError => {
  const reason = cause instanceof Error ? `: ${cause.message.slice(0, longestReason)}` : ""
  return new RpcError({ code: "invalid_argument", message: `the request is no ${typeName}${reason}`, cause })
}

/** The codec, with errors that say what is wrong with a message: it is the client's, and so is what they quote. */
export const explaining = (codec: Codec): Codec => ({
  ...codec,
  decode: (desc, bytes) => {
    try {
      return codec.decode(desc, bytes)
    } catch (cause) {
      throw cause instanceof RpcError ? cause : invalid(desc, cause)
    }
  },
})

const blamed = (error: RpcError): RpcError =>
  error.code === "internal"
    ? new RpcError({ code: "invalid_argument", message: error.message, cause: error.cause })
    : error

/** The encoding, by whose errors it is the client's fault that bytes are not in it. */
export const blaming = (encoding: Encoding): Encoding => ({
  ...encoding,
  decompress: (bytes, maxBytes) => Effect.mapError(encoding.decompress(bytes, maxBytes), blamed),
})
