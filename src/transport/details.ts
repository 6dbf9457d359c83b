/**
 * Details on the wire: the protobuf messages that a detail's JSON form stands for, and back.
 */
import {
  createRegistry,
  type DescFile,
  type DescMessage,
  fromJson,
  type JsonValue,
  type Message,
  type Registry,
  toBinary,
  toJson,
} from "@bufbuild/protobuf"
import {
  file_google_protobuf_any,
  file_google_protobuf_duration,
  file_google_protobuf_empty,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
} from "@bufbuild/protobuf/wkt"
import type { Detail } from "../core/rpc/details.ts"
import { file_google_rpc_error_details } from "./gen/google/rpc/error_details_pb.ts"
import { wellFormed } from "./protobuf/json.ts"
import { readBinary } from "./protobuf/read.ts"

// google.rpc's, and those of protobuf's own that travel in an `Any`.
const common = createRegistry(
  file_google_rpc_error_details,
  file_google_protobuf_any,
  file_google_protobuf_duration,
  file_google_protobuf_empty,
  file_google_protobuf_field_mask,
  file_google_protobuf_struct,
  file_google_protobuf_timestamp,
  file_google_protobuf_wrappers,
)

/** A file and all that it imports, and what these import. */
const withImports = (file: DescFile, found = new Set<DescFile>()): ReadonlySet<DescFile> => {
  if (found.has(file)) return found
  found.add(file)
  for (const imported of file.dependencies) withImports(imported, found)
  return found
}

// A registry costs far more than a call: each service's is made once.
const registries = new WeakMap<DescFile, Registry>()
const withMore = new WeakMap<Registry, WeakMap<DescFile, Registry>>()

/**
 * The types that messages and errors of a service may carry without its saying so, in details, in an `Any`, as extensions:
 * google.rpc's, protobuf's well-known ones, those of the service's file and of all that it imports, and `more`.
 */
export const detailTypes = (file: DescFile, more?: Registry): Registry => {
  if (more === undefined) return kept(registries, file, () => createRegistry(common, ...withImports(file)))
  const files = kept(withMore, more, () => new WeakMap<DescFile, Registry>())
  return kept(files, file, () => createRegistry(detailTypes(file), more))
}

const kept = <K extends object, V>(known: WeakMap<K, V>, key: K, make: () => V): V => {
  let value = known.get(key)
  if (value === undefined) {
    value = make()
    known.set(key, value)
  }
  return value
}

/** A detail as a message. Throws for a type that isn't known, though it wasn't given as bytes: its program's mistake. */
export const detailMessage = (type: string, value: object, types: Registry): { desc: DescMessage; value: Message } => {
  const desc = types.getMessage(type)
  if (desc === undefined) {
    throw new Error(
      `the detail ${type} is no message of google.rpc nor of the service's file and its imports: ` +
        "name it in the option `types`, or give it as bytes",
    )
  }
  // A detail's value is JSON by its definition, which the core has no type for.
  const json: JsonValue = JSON.parse(wellFormed(JSON.stringify(value)))
  return { desc, value: fromJson(desc, json, { registry: types }) }
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
    return detailOfMessage(desc, readBinary(desc, bytes), types)
  } catch {
    return { type, value: bytes }
  }
}
