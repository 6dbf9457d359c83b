/**
 * The dynamic table: the fields that were sent before and may be named by an index, as each end has them.
 *
 * Source: RFC 7541, sections 2.3 and 4.
 */
import { defaultTableSize, type Field, sizeOf } from "./hpack.ts"

const initialRing = 8

/**
 * A queue, kept in a ring. An index counts back from the newest field, so it moves with each that enters; here a field
 * has an id that stays, one more than that of the field before it.
 */
export class DynamicTable<F extends Field> {
  /** Another number whenever an index may mean another field. */
  generation = 0
  maxSize = defaultTableSize
  oldest = 0
  next = 0
  private size = 0
  // Its length is a power of two, or none before the first field enters.
  private ring: Array<F | undefined> = []

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

  /** Empties it, as a field does that is larger than all of it. */
  empty(): void {
    this.shrink(0)
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
    const ring: Array<F | undefined> = new Array(Math.max(initialRing, 2 * this.ring.length)).fill(undefined)
    for (let id = this.oldest; id < this.next; id++) ring[id & (ring.length - 1)] = this.get(id)
    this.ring = ring
  }
}

/** A field in the encoder's table: it knows the id of the one before it that has the same name, or one that has left. */
interface Entry extends Field {
  readonly older: number
}

/** The encoder's dynamic table, in which a field is found by what it is. */
export class SearchableTable extends DynamicTable<Entry> {
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
