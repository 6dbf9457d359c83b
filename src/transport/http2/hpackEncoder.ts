/**
 * The encoder: makes blocks of the header lists that we send, and decides what is worth a place in the table.
 *
 * Source: RFC 7541, sections 2.3, 4.2, 5, 6 and 7.1.
 */
import {
  defaultTableSize,
  entering,
  type Field,
  huffman,
  indexed,
  maxIntegerBytes,
  passing,
  plain,
  secret,
  sizeOf,
  sizeOfAll,
  tableSize,
} from "./hpack.ts"
import { SearchableTable } from "./hpackDynamicTable.ts"
import { Sightings } from "./hpackSightings.ts"
import { firstStaticIndex, lastStaticIndex, staticTable } from "./hpackStaticTable.ts"
import { byteAt, huffmanEncode, huffmanLength } from "./huffman.ts"

const integer = (out: Uint8Array, offset: number, { bits, mask }: typeof plain, value: number): number => {
  let at = offset
  if (value < mask) {
    out[at++] = bits | value
    return at
  }
  out[at++] = bits | mask
  let left = value - mask
  for (; left >= 0x80; left >>>= 7) out[at++] = 0x80 | left
  out[at++] = left
  return at
}

const string = (out: Uint8Array, offset: number, text: string): number => {
  const length = huffmanLength(text)
  if (length < text.length) return huffmanEncode(text, out, integer(out, offset, huffman, length))
  let at = integer(out, offset, plain, text.length)
  for (let i = 0; i < text.length; i++) out[at++] = byteAt(text, i)
  return at
}

// Fields whose values come again too seldom, or have too many forms, to be worth a place in the table.
const changing: ReadonlySet<string> = new Set([
  "content-length",
  "date",
  "grpc-message",
  "grpc-status-details-bin",
  "grpc-timeout",
  "traceparent",
])

// A field may take this part of the table, so that it makes no more than that leave.
const largestPart = 1 / 4

// A list that is sent again and again, and its block: good as long as the generation is the same.
interface KnownList {
  readonly list: ReadonlyArray<Field>
  readonly generation: number
  readonly block: Uint8Array
}

const maxKnownLists = 8

/**
 * The sending end of one direction of a connection.
 *
 * A field enters the table when it comes for the second time, or at once if its list is frozen: that is how a caller
 * says that a list comes again. The bytes of such a list are made once and then copied.
 */
export class Encoder {
  private readonly table = new SearchableTable()
  private readonly maxTableSize: number
  private readonly sightings = new Sightings()
  private readonly lists: Array<KnownList> = []
  private oldestList = 0
  // What the peer has still to be told: the smallest size the table had to have since the last block, and the last one.
  private smallestSize = defaultTableSize
  private lastSize = defaultTableSize

  /** `maxTableSize` is how many bytes to use of what the peer allows. */
  constructor(maxTableSize: number = defaultTableSize) {
    this.maxTableSize = maxTableSize
    this.setMaxTableSize(defaultTableSize)
  }

  /** Obeys the peer's SETTINGS_HEADER_TABLE_SIZE, from the next block on. */
  setMaxTableSize(size: number): void {
    this.lastSize = Math.min(size, this.maxTableSize)
    this.smallestSize = Math.min(this.smallestSize, this.lastSize)
  }

  /** An upper bound for the length of a block in bytes, size updates included. */
  static bound(fields: ReadonlyArray<Field>): number {
    // A field has three integers at most, which fit in the 32 bytes that its size has for it.
    return 2 * maxIntegerBytes + sizeOfAll(fields)
  }

  /** Writes the block of a list to `out`, which has `Encoder.bound` bytes from `offset` on. Gives the offset behind it. */
  encode(fields: ReadonlyArray<Field>, out: Uint8Array, offset: number): number {
    const start = this.sizeUpdates(out, offset)
    const { generation } = this.table
    let slot = 0
    while (slot < this.lists.length && this.lists[slot]?.list !== fields) slot++
    const known = this.lists[slot]
    if (known?.generation === generation) {
      const { block } = known
      // A loop, since a call of `set` takes longer than a short block.
      for (let i = 0; i < block.length; i++) out[start + i] = block[i] as number
      return start + block.length
    }
    const frozen = known !== undefined || Object.isFrozen(fields)
    let at = start
    for (let i = 0; i < fields.length; i++) at = this.field(fields[i] as Field, frozen, out, at)
    if (frozen && generation === this.table.generation) {
      if (slot === maxKnownLists) slot = this.oldestList++ % maxKnownLists
      this.lists[slot] = { list: fields, generation, block: out.slice(start, at) }
    }
    return at
  }

  private sizeUpdates(out: Uint8Array, offset: number): number {
    if (this.smallestSize === this.table.maxSize && this.lastSize === this.table.maxSize) return offset
    let at = offset
    for (const size of [this.smallestSize, this.lastSize]) {
      if (size === this.table.maxSize) continue
      at = integer(out, at, tableSize, size)
      this.table.resize(size)
    }
    this.smallestSize = this.lastSize
    return at
  }

  private field(field: Field, comesAgain: boolean, out: Uint8Array, offset: number): number {
    const { name, value } = field
    const { table } = this
    let nameIndex = firstStaticIndex.get(name) ?? 0
    const newest = table.idOfName(name)
    if (field.sensitive !== true) {
      for (let i = nameIndex; i > 0 && staticTable[i]?.name === name; i++) {
        if (staticTable[i]?.value === value) return integer(out, offset, indexed, i)
      }
      const id = table.idOfValue(newest, value)
      if (id >= 0) return integer(out, offset, indexed, lastStaticIndex + table.next - id)
    }
    if (nameIndex === 0 && newest >= 0) nameIndex = lastStaticIndex + table.next - newest
    const enters = this.enters(field, nameIndex === 0 || comesAgain)
    let at = integer(out, offset, enters ? entering : field.sensitive === true ? secret : passing, nameIndex)
    if (nameIndex === 0) at = string(out, at, name)
    at = string(out, at, value)
    if (enters) table.enter(field)
    return at
  }

  /** Whether a field should enter the table. One with a new name does for the sake of the name. */
  private enters(field: Field, worthIt: boolean): boolean {
    if (field.sensitive === true || sizeOf(field) > this.table.maxSize * largestPart) return false
    if (worthIt) return true
    if (changing.has(field.name)) return false
    let hash = field.name.length
    for (let i = 0; i < field.value.length; i++) hash = (Math.imul(hash, 31) + field.value.charCodeAt(i)) | 0
    return this.sightings.again(hash)
  }
}
