/**
 * Shapes: what a message may have on the wire, and what it weighs in memory, as its descriptor says it.
 *
 * Source: protobuf.dev/programming-guides/encoding.
 */
import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf"

/** What stands in the lower three bits of a tag. */
export const wireType = { varint: 0, bit64: 1, lengthDelimited: 2, startGroup: 3, endGroup: 4, bit32: 5 } as const

export type WireType = (typeof wireType)[keyof typeof wireType]

// Bytes, as measured in JavaScriptCore and V8, the larger of both and rounded up.
const object = 64
const property = 16
const listProperty = 72
const mapProperty = 96
const oneofProperty = 80
const number = 12
const bigint = 48
const text = 32
const view = 160
const mapEntry = 96
// Reading is also work, so that no field weighs less.
const record = 24
/** What an unknown field weighs where it is kept. */
export const unknownWeight = 192

export interface FieldShape {
  /** The wire types that it may have, as bits. */
  readonly wires: number
  /** What each time that it occurs weighs. */
  readonly weight: number
  /** What each of its bytes weighs on top, where they are kept. */
  readonly byteWeight: number
  /** The wire type of its elements, where it may be packed, and what each of these weighs. */
  readonly packed: { readonly wire: WireType; readonly weight: number } | undefined
  /** The message in it. */
  readonly child: Shape | undefined
}

export interface Shape {
  readonly weight: number
  /** By number. */
  readonly fields: ReadonlyMap<number, FieldShape>
  /** True for the number of an extension, which protobuf-es keeps among the unknown fields. */
  readonly extends: (number: number) => boolean
}

const wireOfScalar = (type: ScalarType): WireType => {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return wireType.lengthDelimited
    case ScalarType.DOUBLE:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return wireType.bit64
    case ScalarType.FLOAT:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
      return wireType.bit32
    default:
      return wireType.varint
  }
}

const isLong = (type: ScalarType): boolean =>
  type === ScalarType.INT64 ||
  type === ScalarType.UINT64 ||
  type === ScalarType.SINT64 ||
  type === ScalarType.FIXED64 ||
  type === ScalarType.SFIXED64

const weightOfScalar = (type: ScalarType): number => {
  if (type === ScalarType.BYTES) return view
  if (type === ScalarType.STRING) return text
  return isLong(type) ? bigint : number
}

const scalar = (type: ScalarType, packable: boolean, more = 0): FieldShape => {
  const wire = wireOfScalar(type)
  const packed = packable && wire !== wireType.lengthDelimited
  return {
    wires: (1 << wire) | (packed ? 1 << wireType.lengthDelimited : 0),
    weight: Math.max(record, weightOfScalar(type) + more),
    // A character beyond Latin-1 makes two bytes of each in a string; bytes are a view of what was received.
    byteWeight: type === ScalarType.STRING ? 2 : 0,
    packed: packed ? { wire, weight: weightOfScalar(type) } : undefined,
    child: undefined,
  }
}

const message = (desc: DescMessage, delimited: boolean, more = 0): FieldShape => ({
  wires: 1 << (delimited ? wireType.startGroup : wireType.lengthDelimited),
  weight: record + more,
  byteWeight: 0,
  packed: undefined,
  child: shapeOf(desc),
})

// A value of a closed enum that nobody knows becomes an unknown field.
const enumeration = (closed: boolean, packable: boolean): FieldShape => {
  const shape = scalar(ScalarType.INT32, packable)
  return closed ? { ...shape, weight: unknownWeight } : shape
}

/** An entry of a map: a message with a key and a value, and a property. */
const entry = (field: DescField & { fieldKind: "map" }): FieldShape => {
  const key = scalar(field.mapKey, false)
  const value =
    field.mapKind === "message"
      ? message(field.message, false)
      : scalar(field.mapKind === "enum" ? ScalarType.INT32 : field.scalar, false)
  const shape: Shape = {
    // A value that is left out is made all the same.
    weight: mapEntry + (field.mapKind === "message" ? shapeOf(field.message).weight : property),
    fields: new Map([
      [1, key],
      [2, value],
    ]),
    extends: () => false,
  }
  return {
    wires: 1 << wireType.lengthDelimited,
    weight: record,
    byteWeight: 0,
    packed: undefined,
    child: shape,
  }
}

const fieldShape = (field: DescField): FieldShape => {
  const oneof = field.oneof === undefined ? 0 : oneofProperty
  switch (field.fieldKind) {
    case "scalar":
      return scalar(field.scalar, false, oneof)
    case "enum":
      return enumeration(!field.enum.open, false)
    case "message":
      return message(field.message, field.delimitedEncoding, oneof)
    case "list":
      if (field.listKind === "message") return message(field.message, field.delimitedEncoding, property)
      return field.listKind === "enum" ? enumeration(false, true) : scalar(field.scalar, true)
    case "map":
      return entry(field)
  }
}

const weightOfProperty = (field: DescField): number => {
  // An empty one is made for each message.
  if (field.fieldKind === "scalar" && field.scalar === ScalarType.BYTES) return view
  if (field.fieldKind === "list") return listProperty
  return field.fieldKind === "map" ? mapProperty : property
}

const shapes = new WeakMap<DescMessage, Shape>()

export const shapeOf = (desc: DescMessage): Shape => {
  const known = shapes.get(desc)
  if (known !== undefined) return known
  const ranges = desc.proto.extensionRange
  const fields = new Map<number, FieldShape>()
  const shape: Shape = {
    weight:
      object +
      desc.oneofs.length * oneofProperty +
      desc.fields.reduce((sum, field) => sum + (field.oneof === undefined ? weightOfProperty(field) : 0), 0),
    fields,
    extends:
      ranges.length === 0
        ? () => false
        : (number) => ranges.some(({ start = 0, end = 0 }) => number >= start && number < end),
  }
  // Known before its fields are: a message may contain itself.
  shapes.set(desc, shape)
  for (const field of desc.fields) fields.set(field.number, fieldShape(field))
  return shape
}

const heaviest = new WeakMap<DescMessage, number>()

/** What the heaviest message weighs that may lie in one of a type, at any depth; 0 if none may. */
export const heaviestWithin = (desc: DescMessage): number => {
  let most = heaviest.get(desc)
  if (most === undefined) {
    const found = new Set<Shape>()
    const look = ({ fields }: Shape): void => {
      for (const { child } of fields.values()) {
        if (child === undefined || found.has(child)) continue
        found.add(child)
        look(child)
      }
    }
    look(shapeOf(desc))
    most = Math.max(0, ...Array.from(found, ({ weight }) => weight))
    heaviest.set(desc, most)
  }
  return most
}
