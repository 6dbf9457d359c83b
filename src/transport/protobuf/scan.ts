/**
 * A look at the bytes of a message before it is decoded. It finds what protobuf-es leaves open: fields of another wire type
 * than they are declared with, which protobuf-es would read, records that reach over the end of their message, and how much
 * memory comes of it all. What nobody knows is cut out: protobuf-es makes an object of some hundred bytes of each unknown field,
 * were it of two.
 *
 * Source: protobuf.dev/programming-guides/encoding.
 */
import { RpcError } from "../../core/rpc/error.ts"
import { type FieldShape, type Shape, unknownWeight, wireType } from "./shape.ts"

/** How deep messages may lie in each other, as in protobuf's own implementations. */
export const maxDepth = 100

export interface ScanLimits {
  /** How much memory a message may take, in bytes, as `Shape` says it. */
  readonly maxWeight: number
  /** Whether fields that the type doesn't have are kept. */
  readonly keepUnknownFields: boolean
}

// One scan runs at a time, and none outlives its call: what it needs are plain variables, so that it costs a small message
// next to nothing.
const nothing: Uint8Array = new Uint8Array(0)
let bytes = nothing
let at = 0
let weight = 0
let maxWeight = 0
let keep = false
// How many bytes are to be cut out.
let foreign = 0
let copy = nothing
let copied = 0

/**
 * How many of the message's bytes [start, end) are to be left out: 0 for almost all. Throws if they are malformed, and an
 * `RpcError` if they would take too much memory.
 */
export const scan = (shape: Shape, message: Uint8Array, start: number, end: number, limits: ScanLimits): number => {
  bytes = message
  at = start
  weight = 0
  foreign = 0
  maxWeight = limits.maxWeight
  keep = limits.keepUnknownFields
  try {
    walk(shape, end, 1, 0)
    return foreign
  } finally {
    bytes = nothing
  }
}

/** The message's bytes without what is to be left out: the same bytes where there is nothing. Throws as `scan` does. */
export const scanned = (shape: Shape, message: Uint8Array, limits: ScanLimits): Uint8Array => {
  const left = scan(shape, message, 0, message.length, limits)
  if (left === 0) return message
  bytes = message
  at = 0
  copy = new Uint8Array(message.length - left)
  copied = 0
  try {
    cut(shape, bytes.length, 0)
    return copy
  } finally {
    bytes = nothing
    copy = nothing
  }
}

const malformed = (what: string) => new Error(`${what} at byte ${at}`)

/** The lower 32 bits of a varint. */
const varint = (end: number): number => {
  if (at < end) {
    const first = bytes[at] as number
    if (first < 0x80) {
      at += 1
      return first
    }
  }
  let value = 0
  for (let shift = 0; shift < 70; shift += 7) {
    if (at >= end) throw malformed("a varint goes on over the end")
    const byte = bytes[at++] as number
    if (shift < 32) value |= (byte & 0x7f) << shift
    if (byte < 0x80) return value >>> 0
  }
  throw malformed("a varint is longer than ten bytes")
}

const tag = (end: number): number => {
  const start = at
  // Almost all have one byte.
  const first = at < end ? (bytes[at] as number) : 0
  if (first < 0x80 && first >= 8) {
    at += 1
    return first
  }
  const value = varint(end)
  const length = at - start
  if (length > 5 || (length === 5 && (bytes[at - 1] as number) > 0x0f) || value < 8) throw malformed("a tag is wrong")
  return value
}

const lengthDelimited = (end: number): number => {
  const stop = varint(end) + at
  if (stop > end) throw malformed("a field reaches over the end of its message")
  return stop
}

/** Sees that the weight can be borne. */
const lift = (): void => {
  if (weight > maxWeight)
    throw new RpcError({
      code: "resource_exhausted",
      message: `a message would take more than ${maxWeight} bytes of memory, the limit for one`,
    })
}

/** Weighs a message, and sees that it is well-formed; `group` is the number of the group that it is, or 0. */
const walk = (shape: Shape, end: number, depth: number, group: number): void => {
  if (depth > maxDepth) throw malformed(`messages lie deeper in each other than ${maxDepth}`)
  weight += shape.weight
  lift()
  while (at < end) {
    const start = at
    const head = tag(end)
    const wire = head & 7
    const number = head >>> 3
    if (wire === wireType.endGroup) {
      if (number !== group) throw malformed("a group ends that hasn't begun")
      return
    }
    const field = shape.fields.get(number)
    if (field === undefined || (field.wires & (1 << wire)) === 0) {
      skip(wire, number, end, depth)
      if (field !== undefined || !(keep || shape.extends(number))) foreign += at - start
      else {
        weight += unknownWeight
        lift()
      }
    } else {
      weight += field.weight
      read(field, wire, number, end, depth)
    }
  }
  if (group !== 0) throw malformed("a group has no end")
}

const read = (field: FieldShape, wire: number, number: number, end: number, depth: number): void => {
  const { child, packed } = field
  if (wire === wireType.startGroup) {
    if (child !== undefined) walk(child, end, depth + 1, number)
  } else if (wire !== wireType.lengthDelimited) {
    skip(wire, number, end, depth)
    lift()
  } else {
    const stop = lengthDelimited(end)
    if (child !== undefined) walk(child, stop, depth + 1, 0)
    else if (packed !== undefined) elements(packed, stop)
    else {
      weight += (stop - at) * field.byteWeight
      at = stop
      lift()
    }
  }
}

const elements = ({ wire, weight: each }: NonNullable<FieldShape["packed"]>, stop: number): void => {
  const width = wire === wireType.bit32 ? 4 : wire === wireType.bit64 ? 8 : 0
  const length = stop - at
  let count = length / width
  if (width > 0) {
    if (length % width > 0) throw malformed("a packed field ends within an element")
    at = stop
  } else {
    count = 0
    for (; at < stop; at++) if ((bytes[at] as number) < 0x80) count++
    if (length > 0 && (bytes[stop - 1] as number) >= 0x80) throw malformed("a packed field ends within an element")
  }
  weight += count * each
  lift()
}

/** Goes over a field without a look at it. */
const skip = (wire: number, number: number, end: number, depth: number): void => {
  switch (wire) {
    case wireType.varint:
      varint(end)
      break
    case wireType.bit64:
      at += 8
      break
    case wireType.bit32:
      at += 4
      break
    case wireType.lengthDelimited:
      at = lengthDelimited(end)
      break
    case wireType.startGroup:
      return skipGroup(number, end, depth + 1)
    default:
      throw malformed(`a tag has the wire type ${wire}`)
  }
  if (at > end) throw malformed("a field reaches over the end of its message")
}

const skipGroup = (group: number, end: number, depth: number): void => {
  if (depth > maxDepth) throw malformed(`groups lie deeper in each other than ${maxDepth}`)
  for (;;) {
    const head = tag(end)
    const number = head >>> 3
    if ((head & 7) !== wireType.endGroup) skip(head & 7, number, end, depth)
    else if (number !== group) throw malformed("a group ends that hasn't begun")
    else return
  }
}

/** Copies what `walk` has counted as wanted. It has seen that all is well-formed. */
const cut = (shape: Shape, end: number, group: number): void => {
  while (at < end) {
    const start = at
    const head = tag(end)
    const wire = head & 7
    const number = head >>> 3
    if (wire === wireType.endGroup) return append(start)
    const field = shape.fields.get(number)
    if (field === undefined || (field.wires & (1 << wire)) === 0) {
      skip(wire, number, end, 0)
      if (field === undefined && (keep || shape.extends(number))) append(start)
    } else if (field.child === undefined) {
      skip(wire, number, end, 0)
      append(start)
    } else if (wire === wireType.startGroup) {
      append(start)
      cut(field.child, end, number)
    } else {
      const from = at
      const stop = lengthDelimited(end)
      append(start)
      // A length that has become less stays as long as it was, in a varint that is filled up with zeros.
      const width = at - from
      const body = copied
      cut(field.child, stop, 0)
      writeVarint(body - width, width, copied - body)
    }
  }
  if (group !== 0) throw malformed("a group has no end")
}

const append = (start: number): void => {
  copy.set(bytes.subarray(start, at), copied)
  copied += at - start
}

const writeVarint = (to: number, width: number, value: number): void => {
  for (let i = 0; i < width; i++) copy[to + i] = ((value / 2 ** (7 * i)) & 0x7f) | (i < width - 1 ? 0x80 : 0)
}
