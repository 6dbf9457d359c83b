/**
 * Batches: many messages of a type coded at once. What protobuf-es sets up for a message, a reader or a writer with its
 * views, costs two to five times as much as a small message itself (measured on all three runtimes).
 *
 * A batch is a message with repeated fields. Before each message in it stand a tag and a length, which are varints: of
 * one field the tag is short enough, and of the other long enough, that both together take the five bytes of gRPC's
 * envelope. So a row of envelopes becomes a batch, and a batch a row of envelopes, where they are.
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
import { checkMessage } from "../protobuf/check.ts"
import { type ScanLimits, scan } from "../protobuf/scan.ts"
import { shapeOf } from "../protobuf/shape.ts"
import { envelopeLength, readLength, writeEnvelope } from "./envelope.ts"

const typeName = "basel.Batch"
// Length-delimited, as are all messages in others.
const wireType = 2
// A tag of one byte leaves four for a length, in a varint that is filled up with zeros: 28 bits.
const received = { name: "received", number: 1 }
const receivedTag = (received.number << 3) | wireType
const maxReceivedLength = 2 ** 28 - 1
// A tag of four bytes, so that with a length of one byte or more there is always room for an envelope.
const sent = { name: "sent", number: 2 ** 18 }
const sentTagLength = 4

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
        field: [received, sent].map((field) => ({
          ...field,
          label: FieldDescriptorProto_Label.REPEATED,
          type: FieldDescriptorProto_Type.MESSAGE,
          typeName: `.${message.typeName}`,
        })),
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

// The type of a batch is made here and now, so no generated one can name its fields.
const messagesOf = (batch: object): ReadonlyArray<unknown> => Reflect.get(batch, received.name)

/**
 * The messages of whole envelopes, none compressed; throws if one of them is malformed, over a limit, or has to be cut before
 * it can be decoded. `undefined` for a type that has no batch.
 */
export const decodeBatch = (
  message: DescMessage,
  envelopes: Uint8Array,
  limits: ScanLimits,
): ReadonlyArray<unknown> | undefined => {
  const batch = batchOf(message)
  if (batch === undefined) return undefined
  const shape = shapeOf(message)
  // Not `slice`, which is no copy of a Buffer.
  const bytes = new Uint8Array(envelopes)
  for (let at = 0; at < bytes.length; ) {
    const length = readLength(bytes, at)
    if (length > maxReceivedLength) throw new RangeError(`a message of ${length} bytes is too long for a batch`)
    bytes[at] = receivedTag
    bytes[at + 1] = 0x80 | length
    bytes[at + 2] = 0x80 | (length >>> 7)
    bytes[at + 3] = 0x80 | (length >>> 14)
    bytes[at + 4] = length >>> 21
    const start = at + envelopeLength
    at = start + length
    if (scan(shape, bytes, start, at, limits) > 0) throw new RangeError("a message has fields to be cut out")
  }
  return messagesOf(fromBinary(batch, bytes))
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
  for (const one of messages) checkMessage(message, one)
  const shape = { $typeName: typeName, [received.name]: [], [sent.name]: messages }
  const bytes = toBinary(batch, shape)
  let start = -1
  let to = 0
  for (let at = 0; at < bytes.length; ) {
    let length = 0
    let shift = 0
    for (at += sentTagLength; ; shift += 7) {
      const byte = bytes[at++] as number
      length |= (byte & 0x7f) << shift
      if (byte < 0x80) break
    }
    if (length > maxBytes) throw new RangeError(`a message of ${length} bytes is over the limit`)
    if (start < 0) {
      // The first stays where it is, and the others move up to it where they have more before them than they need.
      start = at - envelopeLength
      to = start
    }
    to = writeEnvelope(bytes, to, length, false)
    if (to < at) bytes.copyWithin(to, at, at + length)
    to += length
    at += length
  }
  return bytes.subarray(Math.max(start, 0), to)
}
