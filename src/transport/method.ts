/**
 * Methods as protobuf describes them, in the core's terms.
 */
import { type DescMethod, type DescService, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf"
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt"
import type { Idempotency, Method } from "../core/rpc/call.ts"

/** A method that knows its descriptor, so that a transport can tell how its messages look on the wire. */
export interface ProtoMethod extends Method {
  readonly desc: DescMethod
}

const idempotency = (level: MethodOptions_IdempotencyLevel): Idempotency => {
  switch (level) {
    case MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS:
      return "no_side_effects"
    case MethodOptions_IdempotencyLevel.IDEMPOTENT:
      return "idempotent"
    default:
      return "unknown"
  }
}

const make = (desc: DescMethod): ProtoMethod => ({
  service: desc.parent.typeName,
  name: desc.name,
  kind: desc.methodKind,
  idempotency: idempotency(desc.idempotency),
  messages: {
    // `Client.make` and `Service.make` have made the messages by these very descriptors.
    encodeRequest: (request) => toBinary(desc.input, request as MessageShape<typeof desc.input>),
    encodeAnswer: (answer) => toBinary(desc.output, answer as MessageShape<typeof desc.output>),
    decodeAnswer: (bytes) => fromBinary(desc.output, bytes),
  },
  desc,
})

// What is known of a method is kept with it: there is one for each descriptor, whoever asks.
const methods = new WeakMap<DescMethod, ProtoMethod>()

export const protoMethod = (desc: DescMethod): ProtoMethod => {
  let method = methods.get(desc)
  if (method === undefined) {
    method = make(desc)
    methods.set(desc, method)
  }
  return method
}

/** The descriptor of a method that `protoMethod` made. Any other can't be carried in protobuf, and dies here. */
export const descriptorOf = (method: Method): DescMethod => {
  if ("desc" in method) return (method as ProtoMethod).desc
  throw new Error(`${method.service}/${method.name} has no protobuf descriptor: make clients with Client.make`)
}

export type { DescMethod, DescService }
