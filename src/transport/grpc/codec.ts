/**
 * Codecs: how the messages of a call look as bytes, by the content type's suffix.
 *
 * Source: grpc/doc/PROTOCOL-HTTP2.md, "Content-Type".
 */
import { type DescMessage, type MessageShape, type Registry, toBinary } from "@bufbuild/protobuf"
import type { MessageLimits } from "../limits.ts"
import { checkMessage } from "../protobuf/check.ts"
import { readJson, writeJson } from "../protobuf/json.ts"
import { readBinary, scanLimits } from "../protobuf/read.ts"
import type { ScanLimits } from "../protobuf/scan.ts"
import { decodeBatch, encodeBatch } from "./batch.ts"

export interface Codec {
  /** Throws for what isn't the message. */
  readonly encode: (desc: DescMessage, message: unknown) => Uint8Array
  /** Throws for bytes that are not the message, and an `RpcError` for what is over a limit. */
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
const checked = (desc: DescMessage, message: unknown) => {
  checkMessage(desc, message)
  return message as MessageShape<DescMessage>
}

const makeProto = (limits: ScanLimits): Codec => ({
  encode: (desc, message) => toBinary(desc, checked(desc, message)),
  decode: (desc, bytes) => readBinary(desc, bytes, limits),
  batch: {
    decode: (desc, envelopes) => decodeBatch(desc, envelopes, limits),
    encode: encodeBatch,
  },
})

// Calls share their limits with all others of their server or channel, and so their codec.
const protos = new WeakMap<MessageLimits, Codec>()

const proto = (limits: MessageLimits): Codec => {
  let codec = protos.get(limits)
  if (codec === undefined) {
    codec = makeProto(scanLimits(limits))
    protos.set(limits, codec)
  }
  return codec
}

const json = (registry: Registry, { maxWeight }: ScanLimits): Codec => ({
  encode: (desc, message) => writeJson(desc, checked(desc, message), registry),
  decode: (desc, bytes) => readJson(desc, bytes, maxWeight, registry),
})

/** A content type without its parameters, of which gRPC has none, and as it is compared. */
export const mediaType = (contentType: string): string => (contentType.split(";", 1)[0] ?? "").trimEnd().toLowerCase()

/** True for a content type of gRPC's own; that of gRPC-Web begins alike. */
export const isGrpc = (contentType: string): boolean =>
  contentType.startsWith("application/grpc") && !contentType.startsWith("application/grpc-web")

const byDefault: MessageLimits = {}

/**
 * The codec for a content type; `undefined` if it isn't gRPC's, or has a suffix that nobody knows. `registry` has the types
 * that messages carry in JSON without saying so.
 */
export const codecOf = (contentType: string, registry: Registry, limits = byDefault): Codec | undefined => {
  switch (contentType) {
    case "application/grpc":
    case "application/grpc+proto":
      return proto(limits)
    case "application/grpc+json":
      return json(registry, scanLimits(limits))
    default:
      return undefined
  }
}
