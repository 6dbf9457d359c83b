/**
 * A call as a GET: its message stands in the query.
 *
 * Source: connectrpc.com/docs/protocol, "Unary-Get-Request".
 */
import { base64Decode } from "@bufbuild/protobuf/wire"
import { RpcError } from "../../core/rpc/error.ts"
import type { Format } from "./contentType.ts"

export interface Query {
  /** `undefined` for one that there isn't. */
  readonly format: Format | undefined
  /** What the message is compressed with. */
  readonly compression: string | undefined
  /** The bytes of the message. Throws an `RpcError` if there are none. */
  readonly message: () => Uint8Array
}

const formats: Readonly<Record<string, Format | undefined>> = { proto: "proto", json: "json" }

const invalid = (message: string): RpcError => new RpcError({ code: "invalid_argument", message })

const decode = (text: string): Uint8Array => {
  try {
    return base64Decode(text)
  } catch {
    throw invalid("the parameter message is no base64: encode it as RFC 4648 has it for URLs")
  }
}

/** What the query of a path says. */
export const readQuery = (path: string): Query => {
  const at = path.indexOf("?")
  const parameters = new URLSearchParams(at < 0 ? "" : path.slice(at + 1))
  const version = parameters.get("connect")
  const encoding = parameters.get("encoding") ?? ""
  return {
    format: Object.hasOwn(formats, encoding) ? formats[encoding] : undefined,
    compression: parameters.get("compression") ?? undefined,
    message: () => {
      if (version !== null && version !== "v1")
        throw invalid(`the parameter connect is ${JSON.stringify(version)}: set it to v1`)
      const text = parameters.get("message") ?? ""
      return parameters.get("base64") === "1" ? decode(text) : new TextEncoder().encode(text)
    },
  }
}
