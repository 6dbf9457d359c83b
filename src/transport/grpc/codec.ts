/**
 * Codecs: how the messages of a call look as bytes, by the content type's suffix.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Content-Type".
 */
import {
  type DescMessage,
  fromBinary,
  fromJsonString,
  type MessageShape,
  type Registry,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf"
import { decodeBatch, encodeBatch } from "./batch.ts"

export interface Codec {
  readonly encode: (desc: DescMessage, message: unknown) => Uint8Array
  /** Throws for bytes that are not the message. */
  readonly decode: (desc: DescMessage, bytes: Uint8Array) => unknown
  /** Where many messages at once are faster than one by one. */
  readonly batch?: Batch
}

/** Both throw where any of the messages is at fault, and give `undefined` for a type of which only one can be coded. */
export interface Batch {
  /** The messages of whole envelopes, none compressed. */
  readonly decode: (desc: DescMessage, envelopes: Uint8Array) => ReadonlyArray<unknown> | undefined
  /** Messages in their envelopes, none compressed, and none longer than `maxBytes`. */
  readonly encode: (desc: DescMessage, messages: ReadonlyArray<unknown>, maxBytes: number) => Uint8Array | undefined
}

// Messages are unknown in the core; who made them did so by the same descriptor.
const shaped = (message: unknown) => message as MessageShape<DescMessage>

const proto: Codec = {
  encode: (desc, message) => toBinary(desc, shaped(message)),
  decode: (desc, bytes) => fromBinary(desc, bytes),
  batch: { decode: decodeBatch, encode: encodeBatch },
}

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder("utf-8", { fatal: true }) }

const json = (registry: Registry): Codec => ({
  encode: (desc, message) => utf8.encoder.encode(toJsonString(desc, shaped(message), { registry })),
  decode: (desc, bytes) => fromJsonString(desc, utf8.decoder.decode(bytes), { registry, ignoreUnknownFields: true }),
})

/** A content type without its parameters, of which gRPC has none, and as it is compared. */
export const mediaType = (contentType: string): string => (contentType.split(";", 1)[0] ?? "").trimEnd().toLowerCase()

/** True for a content type of gRPC's own; that of gRPC-Web begins alike. */
export const isGrpc = (contentType: string): boolean =>
  contentType.startsWith("application/grpc") && !contentType.startsWith("application/grpc-web")

/** The codec for a content type; `undefined` if it isn't gRPC's, or has a suffix that nobody knows. */
export const codecOf = (contentType: string, registry: Registry): Codec | undefined => {
  switch (contentType) {
    case "application/grpc":
    case "application/grpc+proto":
      return proto
    case "application/grpc+json":
      return json(registry)
    default:
      return undefined
  }
}
