/**
 * What it means to a client that the server cut its stream short.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Errors".
 */
import { RpcError } from "../../core/rpc/error.ts"
import type { Code } from "../../core/rpc/status.ts"
import { errorCode, errorName } from "../http2/frames.ts"

const meaning = (code: number): readonly [Code, string] => {
  switch (code) {
    case errorCode.refusedStream:
      return ["unavailable", "the server refused the call"]
    case errorCode.cancel:
      return ["cancelled", "the server cancelled the call"]
    case errorCode.enhanceYourCalm:
      return ["resource_exhausted", "the server or its answer is beyond a limit"]
    case errorCode.inadequateSecurity:
      return ["permission_denied", "the server asks for more security"]
    default:
      return ["internal", "the server reset the call"]
  }
}

/** The error of a call whose stream was reset with a code, or whose response was beyond our limit, as a text says. */
export const resetError = (reset: number, tooLong?: string): RpcError => {
  if (tooLong !== undefined) return new RpcError({ code: "resource_exhausted", message: tooLong })
  const [code, text] = meaning(reset)
  return new RpcError({ code, message: `${text} (${errorName(reset)})` })
}
