/**
 * Content types: which of Connect's two protocols or gRPC-Web a request speaks, and how its messages look as bytes.
 *
 * Sources: connectrpc.com/docs/protocol; grpc/doc/PROTOCOL-WEB.md.
 */
import type { Registry } from "@bufbuild/protobuf"
import { type Codec, codecOf } from "../grpc/codec.ts"
import type { MessageLimits } from "../limits.ts"

export type Protocol = "unary" | "stream" | "grpc-web"

export type Format = "proto" | "json"

export interface ContentType {
  readonly name: string
  readonly protocol: Protocol
  readonly format: Format
}

const table: ReadonlyMap<string, ContentType> = new Map(
  (
    [
      ["application/json", "unary", "json"],
      ["application/proto", "unary", "proto"],
      ["application/connect+json", "stream", "json"],
      ["application/connect+proto", "stream", "proto"],
      ["application/grpc-web", "grpc-web", "proto"],
      ["application/grpc-web+json", "grpc-web", "json"],
      ["application/grpc-web+proto", "grpc-web", "proto"],
    ] as const
  ).map(([name, protocol, format]) => [name, { name, protocol, format }]),
)

/** What a media type says; `undefined` for one that is none of these protocols'. */
export const contentTypeNamed = (mediaType: string): ContentType | undefined => table.get(mediaType)

/** The media type of unary calls in a format. */
export const unaryType = (format: Format): string => `application/${format}`

/** The codec of a format: the one of gRPC. */
export const codecIn = (format: Format, types: Registry, limits: MessageLimits): Codec => {
  const codec = codecOf(`application/grpc+${format}`, types, limits)
  if (codec === undefined) throw new Error(`gRPC has no codec for ${format}`)
  return codec
}
