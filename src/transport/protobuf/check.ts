/**
 * A look at a message before it is encoded. protobuf-es writes some values as others where they aren't of their field's type:
 * a text as the double NaN, an object as the text "[object Object]". Its types forbid them, but a program may get round those.
 */
import {
  create,
  type DescField,
  type DescMessage,
  type Message,
  type MessageInitShape,
  ScalarType,
} from "@bufbuild/protobuf"
import { FeatureSet_FieldPresence, isWrapperDesc } from "@bufbuild/protobuf/wkt"

/** Throws for a value that isn't of the field's type. The error names the field and not the value, which may be secret. */
type Check = (value: unknown) => void

const kindOf = (value: unknown): string => {
  if (value === null || value === undefined) return String(value)
  if (typeof value === "number") return "another number"
  return Array.isArray(value) ? "an array" : `of the type ${typeof value}`
}

const wrong = (field: DescField, expected: string, value: unknown): Error =>
  new TypeError(`the field ${field.parent.typeName}.${field.name} must be ${expected}, and is ${kindOf(value)}`)

const check =
  (field: DescField, expected: string, fits: (value: unknown) => boolean): Check =>
  (value) => {
    if (!fits(value)) throw wrong(field, expected, value)
  }

const isWhole = (least: number, most: number) => (value: unknown) =>
  typeof value === "number" && Number.isInteger(value) && value >= least && value <= most

// Where a field is declared so it is a text, and protobuf-es takes a number too.
const isLong =
  (cut: (bits: number, value: bigint) => bigint) =>
  (value: unknown): boolean => {
    if (typeof value === "bigint") return cut(64, value) === value
    const whole =
      typeof value === "number" ? Number.isSafeInteger(value) : typeof value === "string" && /^-?\d+$/.test(value)
    // As just seen.
    return whole && isLong(cut)(BigInt(value as number | string))
  }

const isObject = (value: unknown): boolean => typeof value === "object" && value !== null && !Array.isArray(value)

const ofScalar = (field: DescField, type: ScalarType): Check => {
  switch (type) {
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return check(field, "a number", (value) => typeof value === "number")
    case ScalarType.BOOL:
      return check(field, "a boolean", (value) => typeof value === "boolean")
    case ScalarType.STRING:
      return check(field, "a string", (value) => typeof value === "string")
    case ScalarType.BYTES:
      return check(field, "a Uint8Array", (value) => value instanceof Uint8Array)
    case ScalarType.INT32:
    case ScalarType.SINT32:
    case ScalarType.SFIXED32:
      return check(field, "a whole number of 32 bits", isWhole(-(2 ** 31), 2 ** 31 - 1))
    case ScalarType.UINT32:
    case ScalarType.FIXED32:
      return check(field, "a whole number of 32 bits, not below 0", isWhole(0, 2 ** 32 - 1))
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return check(field, "a whole number of 64 bits, not below 0", isLong(BigInt.asUintN))
    default:
      return check(field, "a whole number of 64 bits", isLong(BigInt.asIntN))
  }
}

const ofMessage = (field: DescField, message: DescMessage): Check => {
  const [only] = message.fields
  if (
    field.fieldKind === "message" &&
    field.oneof === undefined &&
    isWrapperDesc(message) &&
    only?.scalar !== undefined
  )
    return ofScalar(field, only.scalar)
  const object = check(field, `a ${message.typeName}`, isObject)
  // In a field it is a plain object of JSON.
  if (message.typeName === "google.protobuf.Struct" && field.parent.typeName !== "google.protobuf.Value") return object
  const inside = checksOf(message)
  return (value) => {
    object(value)
    // As `object` has seen.
    run(inside, value as object)
  }
}

/** The check of a value of a field, or of one in its list or map. */
const ofValue = (field: DescField): Check => {
  if (field.message !== undefined) return ofMessage(field, field.message)
  return ofScalar(field, field.scalar ?? ScalarType.INT32)
}

/** The check of a property of a message. */
const ofField = (field: DescField): Check => {
  const each = ofValue(field)
  if (field.fieldKind === "list") {
    const list = check(field, "an array", Array.isArray)
    return (value) => {
      list(value)
      // `list` has seen that it is one. A `forEach` would go past what is missing.
      for (const item of value as ReadonlyArray<unknown>) each(item)
    }
  }
  if (field.fieldKind === "map") {
    const map = check(field, "an object", isObject)
    return (value) => {
      map(value)
      // As `map` has seen.
      for (const item of Object.values(value as object)) each(item)
    }
  }
  if (field.presence === FeatureSet_FieldPresence.IMPLICIT) return each
  return (value) => {
    if (value !== undefined) each(value)
  }
}

interface Checks {
  readonly fields: Array<{ readonly name: string; readonly check: Check }>
  readonly oneofs: Array<{ readonly name: string; readonly cases: ReadonlyMap<string, Check> }>
}

const known = new WeakMap<DescMessage, Checks>()

const checksOf = (desc: DescMessage): Checks => {
  const before = known.get(desc)
  if (before !== undefined) return before
  const checks: Checks = { fields: [], oneofs: [] }
  // Known before its fields are: a message may contain itself.
  known.set(desc, checks)
  for (const member of desc.members) {
    if (member.kind === "oneof") {
      const cases = new Map<string, Check>()
      for (const field of member.fields) cases.set(field.localName, ofValue(field))
      checks.oneofs.push({ name: member.localName, cases })
    } else checks.fields.push({ name: member.localName, check: ofField(member) })
  }
  return checks
}

const run = ({ fields, oneofs }: Checks, message: object): void => {
  for (let i = 0; i < fields.length; i++) {
    const field = fields[i]
    field?.check(Reflect.get(message, field.name))
  }
  for (let i = 0; i < oneofs.length; i++) {
    const oneof = oneofs[i]
    if (oneof === undefined) continue
    // What protobuf-es has there, whatever is in it.
    const chosen: { readonly case?: string; readonly value?: unknown } | undefined = Reflect.get(message, oneof.name)
    if (chosen?.case !== undefined) oneof.cases.get(chosen.case)?.(chosen.value)
  }
}

/** A message of what a program gives for one. Throws for what is no object, of which protobuf-es would make an empty message. */
export const createChecked = (desc: DescMessage, init: unknown): Message => {
  if (typeof init !== "object" || init === null)
    throw new TypeError(`a ${desc.typeName} must be an object, and is ${kindOf(init)}`)
  // What its fields are is seen before they are encoded.
  return create(desc, init as MessageInitShape<DescMessage>)
}

/** Throws for a message with a value that can't be encoded. */
export const checkMessage = (desc: DescMessage, message: unknown): void => {
  if (typeof message !== "object" || message === null)
    throw new TypeError(`a ${desc.typeName} must be an object, and is ${kindOf(message)}`)
  run(checksOf(desc), message)
}
