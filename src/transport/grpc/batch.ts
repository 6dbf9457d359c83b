/**
 * Batches: many messages of a type coded at once. What protobuf-es sets up for a message, a reader or a writer with its
 * views, costs two to five times as much as a small message itself (measured on all three runtimes).
 *
 * A batch is a message with one repeated field. The tag of a message in it, and its length as a varint that is filled up
 * to four bytes, are as long as gRPC's envelope: rewritten in place, a row of envelopes *is* a batch.
 *
 * Source: protobuf.dev/programming-guides/encoding; grpc/doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message".
 */
import { create, createFileRegistry, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf"
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt"
import { envelopeLength, readLength, writeEnvelope } from "./envelope.ts"

const typeName = "basel.Batch"
const field = "messages"
// Field 1, length-delimited.
const tag = 0x0a

/** The batch of a type. */
const file = (message: DescMessage): FileDescriptorProto =>
  create(FileDescriptorProtoSchema, {
    name: "basel/batch.proto",
    package: "basel",
    syntax: "proto3",
    dependency: [message.file.proto.name],
    messageType: [
      {
        name: "Batch",
        field: [
          {
            name: field,
            number: 1,
            label: FieldDescriptorProto_Label.REPEATED,
            type: FieldDescriptorProto_Type.MESSAGE,
            typeName: `.${message.typeName}`,
          },
        ],
      },
    ],
  })

const batches = new WeakMap<DescMessage, DescMessage>()

const batchOf = (message: DescMessage): DescMessage | undefined => {
  // In a field of another message, protobuf-es makes a plain object of it.
  if (message.typeName === "google.protobuf.Struct") return undefined
  let batch = batches.get(message)
  if (batch === undefined) {
    batch = createFileRegistry(file(message), () => message.file).getMessage(typeName)
    if (batch === undefined) throw new Error(`there is no batch of ${message.typeName}`)
    batches.set(message, batch)
  }
  return batch
}

// What has come to be of the batch's only field. Its type is made here and now, so no generated one can name it.
const messagesOf = (batch: object): ReadonlyArray<unknown> => Reflect.get(batch, field)

// A varint may have zeros in front, so that each length takes as many bytes as in an envelope. It ends at 28 bits.
const maxLength = 2 ** 28 - 1

/**
 * The messages of whole envelopes, none compressed; throws if one of them is malformed. `undefined` for a type that has
 * no batch.
 */
export const decodeBatch = (message: DescMessage, envelopes: Uint8Array): ReadonlyArray<unknown> | undefined => {
  const batch = batchOf(message)
  if (batch === undefined) return undefined
  // Not `slice`, which is no copy of a Buffer.
  const bytes = new Uint8Array(envelopes)
  let count = 0
  for (let at = 0; at < bytes.length; count++) {
    const length = readLength(bytes, at)
    if (length > maxLength) throw new RangeError(`a message of ${length} bytes is too long for a batch`)
    bytes[at] = tag
    bytes[at + 1] = 0x80 | length
    bytes[at + 2] = 0x80 | (length >>> 7)
    bytes[at + 3] = 0x80 | (length >>> 14)
    bytes[at + 4] = length >>> 21
    at += envelopeLength + length
  }
  const messages = messagesOf(fromBinary(batch, bytes))
  // A malformed message may reach over its end into the next. Who crafts one so that the count is right all the same
  // gets what it could have sent as well-formed messages.
  if (messages.length !== count) throw new RangeError("a message reaches over its end")
  return messages
}

/**
 * Messages in their envelopes, none compressed; throws if one of them can't be encoded, or is longer than `maxBytes`.
 * `undefined` for a type that has no batch.
 */
export const encodeBatch = (
  message: DescMessage,
  messages: ReadonlyArray<unknown>,
  maxBytes: number,
): Uint8Array | undefined => {
  const batch = batchOf(message)
  if (batch === undefined) return undefined
  const shape = { $typeName: typeName, [field]: messages }
  const bytes = toBinary(batch, shape)
  // A tag and a length take two bytes at least.
  const envelopes = new Uint8Array(bytes.length + messages.length * (envelopeLength - 2))
  let to = 0
  for (let at = 0; at < bytes.length; ) {
    let length = 0
    let shift = 0
    for (at += 1; ; shift += 7) {
      const byte = bytes[at++] as number
      length |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    if (length > maxBytes) throw new RangeError(`a message of ${length} bytes is over the limit`)
    to = writeEnvelope(envelopes, to, length, false)
    // A loop, since a call of `set` takes longer than a short message.
    if (length < 64) for (const end = at + length; at < end; ) envelopes[to++] = bytes[at++] as number
    else {
      envelopes.set(bytes.subarray(at, at + length), to)
      to += length
      at += length
    }
  }
  return envelopes.subarray(0, to)
}
