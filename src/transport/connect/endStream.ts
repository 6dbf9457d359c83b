/**
 * How a stream ends: the last envelope of a body says it, in Connect as JSON and in gRPC-Web as a block of trailers.
 *
 * Sources: connectrpc.com/docs/protocol, "EndStreamResponse"; grpc/doc/PROTOCOL-WEB.md, "Trailers".
 */
import type { Registry } from "@bufbuild/protobuf"
import type { RpcError } from "../../core/rpc/error.ts"
import type * as Metadata from "../../core/rpc/metadata.ts"
import { envelopeLength, writeEnvelope } from "../grpc/envelope.ts"
import { toFields } from "../grpc/metadata.ts"
import { errorTrailers, okTrailers } from "../grpc/status.ts"
import { errorJson } from "./errorJson.ts"

/** The bytes that end a stream. Throws for an error that can't be sent. */
export type End = (error: RpcError | undefined, trailer: Metadata.Metadata, types: Registry) => Uint8Array

const utf8 = new TextEncoder()

const envelope = (flag: number, text: string): Uint8Array => {
  const message = utf8.encode(text)
  const bytes = new Uint8Array(envelopeLength + message.length)
  bytes.set(message, writeEnvelope(bytes, 0, message.length, false))
  bytes[0] = flag
  return bytes
}

const connectFlag = 0x02
const webFlag = 0x80

const valuesByKey = (metadata: Metadata.Metadata): Record<string, Array<string>> => {
  const all: Map<string, Array<string>> = new Map()
  for (const { name, value } of toFields(metadata)) {
    const values = all.get(name)
    if (values === undefined) all.set(name, [value])
    else values.push(value)
  }
  return Object.fromEntries(all)
}

export const connectEnd: End = (error, trailer, types) => {
  const metadata = error === undefined ? trailer : [...trailer, ...error.metadata]
  const end = {
    ...(error === undefined ? {} : { error: errorJson(error, types) }),
    ...(metadata.length === 0 ? {} : { metadata: valuesByKey(metadata) }),
  }
  return envelope(connectFlag, JSON.stringify(end))
}

export const webEnd: End = (error, trailer, types) => {
  const status = error === undefined ? okTrailers : errorTrailers(error, types)
  const fields = [...status, ...toFields(trailer)]
  return envelope(webFlag, fields.map(({ name, value }) => `${name}: ${value}\r\n`).join(""))
}
