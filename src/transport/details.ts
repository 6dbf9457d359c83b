/**
 * Details on the wire: the protobuf messages that a detail's JSON form stands for, and back.
 */
import {
  createRegistry,
  type DescFile,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  type Message,
  type Registry,
  toBinary,
  toJson,
} from "@bufbuild/protobuf"
import type { Detail } from "../core/rpc/details.ts"
import { file_google_rpc_error_details } from "./gen/google/rpc/error_details_pb.ts"

// A registry costs far more than a call: each service's is made once.
const registries = new WeakMap<DescFile, Registry>()

/** The messages that can be details: google.rpc's, and those of the service's own file. */
export const detailTypes = (file: DescFile): Registry => {
  let types = registries.get(file)
  if (types === undefined) {
    types = createRegistry(file_google_rpc_error_details, file)
    registries.set(file, types)
  }
  return types
}

/** A detail as a message. Throws for a type that isn't known, though it wasn't given as bytes: its program's mistake. */
export const detailMessage = (type: string, value: object, types: Registry): { desc: DescMessage; value: Message } => {
  const desc = types.getMessage(type)
  if (desc === undefined) {
    throw new Error(`the detail ${type} is no message of google.rpc nor of the service's file: give it as bytes`)
  }
  // A detail's value is JSON by its definition, which the core has no type for.
  return { desc, value: fromJson(desc, value as JsonValue, { registry: types }) }
}

/** The bytes of a detail. */
export const detailBytes = ({ type, value }: Detail, types: Registry): Uint8Array => {
  if (value instanceof Uint8Array) return value
  const message = detailMessage(type, value, types)
  return toBinary(message.desc, message.value)
}

/** A message as a detail. */
export const detailOfMessage = (desc: DescMessage, message: Message, types: Registry): Detail => {
  const value = toJson(desc, message, { registry: types })
  // A message's JSON form is an object but for a few well-known types, such as a Timestamp's text.
  return { type: desc.typeName, value: typeof value === "object" && value !== null ? value : { value } }
}

/** A detail out of its bytes; as bytes still if its type isn't known, or they aren't what it says. */
export const detailOfBytes = (type: string, bytes: Uint8Array, types: Registry): Detail => {
  const desc = types.getMessage(type)
  if (desc === undefined) return { type, value: bytes }
  try {
    return detailOfMessage(desc, fromBinary(desc, bytes), types)
  } catch {
    return { type, value: bytes }
  }
}
