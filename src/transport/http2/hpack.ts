/**
 * HPACK, the compression of headers, both ways.
 *
 * Both ends know the same two tables of fields: a static one, and a dynamic one of those that were sent before, which
 * each direction has for itself. A header block is a row of these, told apart by the first bits of a byte:
 *
 *   1xxxxxxx  a field that is in a table, as its index
 *   01xxxxxx  a literal field, which enters the dynamic table
 *   001xxxxx  a new size for the dynamic table
 *   0000xxxx  a literal field, which doesn't enter
 *   0001xxxx  the same, and no one who passes it on may let it enter: it is secret
 *
 * x begins an integer. That of a literal is the index of a field with its name, and 0 if the name follows as a string.
 *
 * Source: RFC 7541; sections 5 and 6 have the bytes, sections 2.3 and 4 the tables. Whether a field is allowed in HTTP/2
 * is not asked here.
 */
import { ConnectionError, errorCode } from "./frames.ts"

/**
 * A header field. Its strings hold one byte a character. Those that a decoder gives are shared: compare, never mutate.
 */
export interface Field {
  readonly name: string
  readonly value: string
  /** Secret: no table may have it, here or further on, as it could be guessed from how well guesses are compressed. */
  readonly sensitive?: boolean
}

/** A block that can't be decoded: the tables are out of step for good, and the connection is lost. */
export class HpackError extends ConnectionError {
  constructor(message: string) {
    super(errorCode.compressionError, message)
  }
}

export const indexed = { bits: 0x80, mask: 0x7f }
export const entering = { bits: 0x40, mask: 0x3f }
export const tableSize = { bits: 0x20, mask: 0x1f }
export const secret = { bits: 0x10, mask: 0x0f }
export const passing = { bits: 0x00, mask: 0x0f }
export const huffman = { bits: 0x80, mask: 0x7f }
export const plain = { bits: 0x00, mask: 0x7f }

/** The size that a dynamic table has until its two ends agree on another. */
export const defaultTableSize = 4096
/** The largest integer that is taken, and how many bytes one may have. */
export const maxInteger = 2 ** 31 - 1
export const maxIntegerBytes = 6

/** The size of a field, in a table (section 4.1) and in SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, section 6.5.2). */
export const sizeOf = (field: Field): number => field.name.length + field.value.length + 32

export const sizeOfAll = (fields: ReadonlyArray<Field>): number => {
  let size = 0
  for (let i = 0; i < fields.length; i++) size += sizeOf(fields[i] as Field)
  return size
}
