/**
 * The decoder: makes header lists of the blocks that a peer sends.
 *
 * Source: RFC 7541, sections 3, 5 and 6.
 */
import {
  defaultTableSize,
  entering,
  type Field,
  HpackError,
  huffman,
  indexed,
  maxInteger,
  maxIntegerBytes,
  passing,
  plain,
  secret,
  sizeOf,
  tableSize,
} from "./hpack.ts"
import { DynamicTable } from "./hpackDynamicTable.ts"
import { Sightings } from "./hpackSightings.ts"
import { Skimmer } from "./hpackSkimmer.ts"
import { lastStaticIndex, staticTable } from "./hpackStaticTable.ts"
import { hashOf, knownString, newString } from "./hpackStrings.ts"
import { huffmanDecode, huffmanRoom } from "./huffman.ts"

// Where Huffman strings are decoded to, if they aren't longer than almost any.
const scratch = new Uint8Array(4096)

// A block that left the table as it was: its bytes mean the same fields as long as the generation is the same.
interface KnownBlock {
  readonly hash: number
  readonly generation: number
  readonly bytes: Uint8Array
  readonly fields: ReadonlyArray<Field>
}

// What is kept of a list that is too large: a peer that makes up many of these fields gets no further with it.
const maxEssentialFields = 16
const maxEssentialLength = 256

const none: ReadonlyArray<Field> = Object.freeze([])

const maxKnownBlocks = 8
const maxKnownBlockLength = 128

const equal = (known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean => {
  if (known.length !== end - start) return false
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[start + i]) return false
  return true
}

export interface DecoderOptions {
  /** Our SETTINGS_HEADER_TABLE_SIZE, in bytes. Default: 4096. */
  readonly maxTableSize?: number
  /** Our SETTINGS_MAX_HEADER_LIST_SIZE: bytes of names and values, and 32 a field. */
  readonly maxListSize: number
  /** Names of the fields that are kept of a list that is larger. Default: none. */
  readonly essential?: ReadonlySet<string>
}

const noNames: ReadonlySet<string> = new Set()

/** The receiving end of one direction of a connection. */
export class Decoder {
  /** Of the last list, if it was too large: its essential fields, as far as they are short. */
  essentials: ReadonlyArray<Field> = none
  /** How large the last list was, as SETTINGS_MAX_HEADER_LIST_SIZE counts; 0 for one that others have too. */
  listSize = 0
  // The peer begins with the default size, and with ours once it has seen our settings.
  private readonly table = new DynamicTable<Field>()
  private readonly maxTableSize: number
  private readonly maxListSize: number
  private readonly essential: ReadonlySet<string>
  // Made for the first block that is too large to be held.
  private skimmer: Skimmer | undefined
  private skimmed: Array<Field> | undefined
  private readonly sightings = new Sightings()
  private readonly blocks: Array<KnownBlock> = []
  private oldestBlock = 0
  private at = 0
  private end = 0

  constructor({ maxTableSize = defaultTableSize, maxListSize, essential = noNames }: DecoderOptions) {
    this.maxTableSize = maxTableSize
    this.maxListSize = maxListSize
    this.essential = essential
  }

  /**
   * Decodes the whole header block bytes[start, end). A list that is frozen comes again: the very same is given for each
   * equal block. `undefined` if the list is larger than `maxListSize`: the tables are in step then as well, and
   * `essentials` has what is kept of it.
   *
   * Throws an `HpackError` if the block is malformed. No further one can be decoded after that.
   */
  decode(bytes: Uint8Array, start: number, end: number): ReadonlyArray<Field> | undefined {
    const { generation } = this.table
    const short = end - start <= maxKnownBlockLength
    const hash = short ? hashOf(bytes, start, end) : 0
    for (let i = 0; i < this.blocks.length && short; i++) {
      const block = this.blocks[i] as KnownBlock
      if (block.hash !== hash || block.generation !== generation) continue
      if (!equal(block.bytes, bytes, start, end)) continue
      this.listSize = 0
      return block.fields
    }
    this.at = start
    this.end = end
    this.sizeUpdates(bytes)
    const fields = this.fields(bytes)
    if (fields !== undefined && short && generation === this.table.generation && this.sightings.again(hash)) {
      this.blocks[this.oldestBlock] = {
        hash,
        generation,
        bytes: bytes.slice(start, end),
        fields: Object.freeze(fields),
      }
      this.oldestBlock = (this.oldestBlock + 1) % maxKnownBlocks
    }
    return fields
  }

  /** Decodes the next part of a block that is too large to be held; `endSkim` follows. Throws as `decode` does. */
  skim(bytes: Uint8Array, start: number, end: number): void {
    this.skimmed ??= []
    this.skimmer ??= new Skimmer({
      maxSize: () => this.table.maxSize,
      fields: (some, from, to) => this.skimFields(some, from, to),
      empty: () => this.table.empty(),
    })
    this.skimmer.read(bytes, start, end)
  }

  /** Ends such a block. It has come to no list; `essentials` has what is kept of it. */
  endSkim(): undefined {
    this.skimmer?.end()
    this.essentials = this.skimmed ?? none
    this.skimmed = undefined
  }

  private skimFields(bytes: Uint8Array, start: number, end: number): void {
    const { skimmed = [] } = this
    this.at = start
    this.end = end
    this.sizeUpdates(bytes)
    while (this.at < end) this.keep(skimmed, this.field(bytes, bytes[this.at++] as number))
  }

  private keep(essentials: Array<Field>, field: Field): void {
    if (!this.essential.has(field.name) || field.value.length > maxEssentialLength) return
    if (essentials.length < maxEssentialFields) essentials.push(field)
  }

  /** At a block's start, at most two (section 4.2): the smallest size that there was in between, then the last. */
  private sizeUpdates(bytes: Uint8Array): void {
    for (let count = 1; this.at < this.end; count++) {
      const first = bytes[this.at] as number
      if (first >> 5 !== tableSize.bits >> 5) return
      if (count > 2) throw new HpackError("the dynamic table changes its size more than twice")
      this.at++
      const size = this.integer(bytes, first, tableSize.mask)
      if (size > this.maxTableSize) throw new HpackError(`a dynamic table of ${size} bytes is over the limit`)
      this.table.resize(size)
    }
  }

  private fields(bytes: Uint8Array): ReadonlyArray<Field> | undefined {
    const fields: Array<Field> = []
    let listSize = 0
    while (this.at < this.end) {
      const field = this.field(bytes, bytes[this.at++] as number)
      listSize += sizeOf(field)
      if (listSize > this.maxListSize) return this.tooLarge(bytes, [...fields, field])
      fields.push(field)
    }
    this.listSize = listSize
    return fields
  }

  private tooLarge(bytes: Uint8Array, before: ReadonlyArray<Field>): undefined {
    const essentials: Array<Field> = []
    for (const field of before) this.keep(essentials, field)
    while (this.at < this.end) this.keep(essentials, this.field(bytes, bytes[this.at++] as number))
    this.essentials = essentials
  }

  private field(bytes: Uint8Array, first: number): Field {
    if (first >= indexed.bits) return this.lookup(this.integer(bytes, first, indexed.mask))
    if (first >= entering.bits) {
      const field = { name: this.name(bytes, first, entering.mask), value: this.string(bytes, false) }
      this.table.add(field)
      return field
    }
    if (first >= tableSize.bits) throw new HpackError("the dynamic table changes its size behind a field")
    if (first >= secret.bits) {
      return { name: this.name(bytes, first, secret.mask), value: this.string(bytes, true), sensitive: true }
    }
    return { name: this.name(bytes, first, passing.mask), value: this.string(bytes, false) }
  }

  private lookup(index: number): Field {
    const { table } = this
    const field = index <= lastStaticIndex ? staticTable[index] : table.get(table.next + lastStaticIndex - index)
    if (field === undefined) throw new HpackError(`no field has the index ${index}`)
    return field
  }

  private name(bytes: Uint8Array, first: number, mask: number): string {
    const index = this.integer(bytes, first, mask)
    return index === 0 ? this.string(bytes, false) : this.lookup(index).name
  }

  private string(bytes: Uint8Array, isSecret: boolean): string {
    const first = this.byte(bytes)
    const length = this.integer(bytes, first, plain.mask)
    const start = this.at
    if (length > this.end - start) throw new HpackError("a string ends behind its block")
    this.at = start + length
    const make = isSecret ? newString : knownString
    if (first < huffman.bits) return make(bytes, start, this.at)
    const room = huffmanRoom(length)
    const decoded = room <= scratch.length ? scratch : new Uint8Array(room)
    const decodedLength = huffmanDecode(bytes, start, this.at, decoded)
    if (decodedLength < 0) throw new HpackError("a string is not in the Huffman code")
    return make(decoded, 0, decodedLength)
  }

  private integer(bytes: Uint8Array, first: number, mask: number): number {
    let value = first & mask
    if (value < mask) return value
    for (let i = 1, unit = 1; i < maxIntegerBytes; i++, unit *= 128) {
      const byte = this.byte(bytes)
      value += (byte & 0x7f) * unit
      if (byte >= 0x80) continue
      if (value > maxInteger) break
      return value
    }
    throw new HpackError("an integer is too large")
  }

  private byte(bytes: Uint8Array): number {
    if (this.at >= this.end) throw new HpackError("a field ends behind its block")
    return bytes[this.at++] as number
  }
}
