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

export interface Codec {
  readonly encode: (desc: DescMessage, message: unknown) => Uint8Array
  /** Throws for bytes that are not the message. */
  readonly decode: (desc: DescMessage, bytes: Uint8Array) => unknown
}

// Messages are unknown in the core; who made them did so by the same descriptor.
const shaped = (message: unknown) => message as MessageShape<DescMessage>

const proto: Codec = {
  encode: (desc, message) => toBinary(desc, shaped(message)),
  decode: (desc, bytes) => fromBinary(desc, bytes),
}

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder("utf-8", { fatal: true }) }

const json = (registry: Registry): Codec => ({
  encode: (desc, message) => utf8.encoder.encode(toJsonString(desc, shaped(message), { registry })),
  decode: (desc, bytes) => fromJsonString(desc, utf8.decoder.decode(bytes), { registry, ignoreUnknownFields: true }),
})

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
