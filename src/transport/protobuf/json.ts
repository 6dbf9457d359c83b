/**
 * Messages as JSON, both ways: within bounds, and in well-formed text.
 *
 * Source: protobuf.dev/programming-guides/json.
 */
import { type DescMessage, fromJsonString, type MessageShape, type Registry, toJsonString } from "@bufbuild/protobuf"
import { checkJsonBounds } from "./jsonBounds.ts"

const encoder = new TextEncoder()
const decoder = new TextDecoder("utf-8", { fatal: true })

/** Throws for bytes that are not the message, and an `RpcError` for what would take more than `maxWeight` bytes of memory. */
export const readJson = <D extends DescMessage>(
  desc: D,
  bytes: Uint8Array,
  maxWeight: number,
  registry: Registry,
): MessageShape<D> => {
  checkJsonBounds(bytes, maxWeight)
  return fromJsonString(desc, decoder.decode(bytes), { registry, ignoreUnknownFields: true })
}

export const writeJson = <D extends DescMessage>(desc: D, message: MessageShape<D>, registry: Registry): Uint8Array =>
  encoder.encode(wellFormed(toJsonString(desc, message, { registry })))

// JSON writes half a character as its number, which readers of other languages refuse; protobuf's own form has a mark for it.
const escaped = /\\(?:(ud[89a-f][0-9a-f]{2})|.)/g

/** JSON as `JSON.stringify` writes it, in well-formed text. */
export const wellFormed = (json: string): string =>
  json.includes("\\ud")
    ? json.replace(escaped, (written, half: string | undefined) => (half === undefined ? written : "\ufffd"))
    : json
