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
import { firstStaticIndex, lastStaticIndex, staticTable } from "./hpackStaticTable.ts"
import { byteAt, huffmanDecode, huffmanEncode, huffmanLength, huffmanRoom } from "./huffman.ts"

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
export class HpackError extends Error {
  override readonly name = "HpackError"
}

const indexed = { bits: 0x80, mask: 0x7f }
const entering = { bits: 0x40, mask: 0x3f }
const tableSize = { bits: 0x20, mask: 0x1f }
const secret = { bits: 0x10, mask: 0x0f }
const passing = { bits: 0x00, mask: 0x0f }
const huffman = { bits: 0x80, mask: 0x7f }
const plain = { bits: 0x00, mask: 0x7f }

const defaultTableSize = 4096
const maxInteger = 2 ** 31 - 1
const maxIntegerBytes = 6

/** The size of a field, in a table (section 4.1) and in SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, section 6.5.2). */
const sizeOf = (field: Field): number => field.name.length + field.value.length + 32

/**
 * The dynamic table: a queue, kept in a ring. An index counts back from the newest field, so it moves with each that
 * enters; here a field has an id that stays, one more than that of the field before it.
 */
class DynamicTable<F extends Field> {
  /** Another number whenever an index may mean another field. */
  generation = 0
  maxSize = defaultTableSize
  oldest = 0
  next = 0
  private size = 0
  private ring: Array<F | undefined> = new Array(16).fill(undefined)

  /** The field with an id; `undefined` if it has left. */
  get(id: number): F | undefined {
    return id >= this.oldest ? this.ring[id & (this.ring.length - 1)] : undefined
  }

  /** Adds a field, the oldest ones making room. One larger than the table empties it, which is no error (section 4.4). */
  add(field: F): void {
    const size = sizeOf(field)
    this.shrink(this.maxSize - size)
    if (size > this.maxSize) return
    if (this.next - this.oldest === this.ring.length) this.grow()
    this.ring[this.next & (this.ring.length - 1)] = field
    this.next++
    this.size += size
  }

  resize(maxSize: number): void {
    this.maxSize = maxSize
    this.shrink(maxSize)
  }

  /** Called for a field that leaves. */
  protected evicted(_field: F, _id: number): void {}

  private shrink(size: number): void {
    this.generation++
    while (this.size > size && this.oldest < this.next) {
      const at = this.oldest & (this.ring.length - 1)
      const field = this.ring[at] as F
      this.ring[at] = undefined
      this.size -= sizeOf(field)
      this.evicted(field, this.oldest++)
    }
  }

  private grow(): void {
    const ring: Array<F | undefined> = new Array(2 * this.ring.length).fill(undefined)
    for (let id = this.oldest; id < this.next; id++) ring[id & (ring.length - 1)] = this.get(id)
    this.ring = ring
  }
}

const hashOf = (bytes: Uint8Array, start: number, end: number): number => {
  let hash = end - start
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + (bytes[i] as number)) | 0
  return hash
}

// The strings of literals, kept by the hash of their bytes: to make a string takes longer than to recognize one. All
// connections share them, since most say the same; those which are secret are left out.
const strings: Array<string> = new Array(2048).fill("")
const maxKnownString = 64

const knownString = (bytes: Uint8Array, start: number, end: number): string => {
  const length = end - start
  if (length > maxKnownString) return newString(bytes, start, end)
  const slot = hashOf(bytes, start, end) & (strings.length - 1)
  const known = strings[slot] as string
  if (known.length === length) {
    let i = 0
    while (i < length && known.charCodeAt(i) === bytes[start + i]) i++
    if (i === length) return known
  }
  const string = newString(bytes, start, end)
  strings[slot] = string
  return string
}

const utf8 = new TextDecoder()
const maxArguments = 1024

const newString = (bytes: Uint8Array, start: number, end: number): string => {
  // The decoder wins for more than some 32 bytes, but knows ISO 8859-1 under that name only as windows-1252.
  if (end - start > 32 && isAscii(bytes, start, end)) return utf8.decode(bytes.subarray(start, end))
  let string = ""
  for (let at = start; at < end; at += maxArguments) {
    const units: Array<number> = new Array(Math.min(maxArguments, end - at))
    for (let i = 0; i < units.length; i++) units[i] = bytes[at + i] as number
    string += String.fromCharCode.apply(undefined, units)
  }
  return string
}

const isAscii = (bytes: Uint8Array, start: number, end: number): boolean => {
  let bits = 0
  for (let i = start; i < end; i++) bits |= bytes[i] as number
  return bits < 0x80
}

// Where Huffman strings are decoded to, if they aren't longer than almost any.
const scratch = new Uint8Array(4096)

/**
 * Remembers the hashes of what came lately, so that what comes once (a trace id, say) is told from what comes again.
 * It can be wrong: nothing but speed may depend on it.
 */
class Sightings {
  private readonly hashes = new Int32Array(64)

  /** Whether the hash was seen before; from now on, it was. */
  again(hash: number): boolean {
    const slot = hash & (this.hashes.length - 1)
    if (this.hashes[slot] === hash) return true
    this.hashes[slot] = hash
    return false
  }
}

// A block that left the table as it was: its bytes mean the same fields as long as the generation is the same.
interface KnownBlock {
  readonly hash: number
  readonly generation: number
  readonly bytes: Uint8Array
  readonly fields: ReadonlyArray<Field>
}

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
}

/** The receiving end of one direction of a connection. */
export class Decoder {
  // The peer begins with the default size, and with ours once it has seen our settings.
  private readonly table = new DynamicTable<Field>()
  private readonly maxTableSize: number
  private readonly maxListSize: number
  private readonly sightings = new Sightings()
  private readonly blocks: Array<KnownBlock> = []
  private oldestBlock = 0
  private at = 0
  private end = 0

  constructor({ maxTableSize = defaultTableSize, maxListSize }: DecoderOptions) {
    this.maxTableSize = maxTableSize
    this.maxListSize = maxListSize
  }

  /**
   * Decodes the whole header block bytes[start, end). A list that is frozen comes again: the very same is given for each
   * equal block. `undefined` if the list is larger than `maxListSize`; the tables are in step then as well.
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
      if (equal(block.bytes, bytes, start, end)) return block.fields
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
      if (listSize <= this.maxListSize) fields.push(field)
    }
    return listSize <= this.maxListSize ? fields : undefined
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

/** A field in the encoder's table: it knows the id of the one before it that has the same name, or one that has left. */
interface Entry extends Field {
  readonly older: number
}

/** The encoder's dynamic table, in which a field is found by what it is. */
class SearchableTable extends DynamicTable<Entry> {
  private readonly newest = new Map<string, number>()

  /** The id of the newest field with a name; -1 if there is none. */
  idOfName(name: string): number {
    return this.newest.get(name) ?? -1
  }

  /** The same with the value too, given the newest with the name. */
  idOfValue(newest: number, value: string): number {
    for (let entry = this.get(newest), id = newest; entry !== undefined; id = entry.older, entry = this.get(id)) {
      if (entry.value === value) return id
    }
    return -1
  }

  enter({ name, value }: Field): void {
    const older = this.idOfName(name)
    // Set before the others make room, so that the name is not lost if `older` is among them.
    this.newest.set(name, this.next)
    this.add({ name, value, older })
  }

  protected override evicted({ name }: Entry, id: number): void {
    if (this.newest.get(name) === id) this.newest.delete(name)
  }
}

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
    let bound = 2 * maxIntegerBytes
    // A field has three integers at most, which fit in the 32 bytes that its size has for it.
    for (let i = 0; i < fields.length; i++) bound += sizeOf(fields[i] as Field)
    return bound
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
