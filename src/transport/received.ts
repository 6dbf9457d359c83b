/**
 * Received metadata: what of a head's fields is metadata of the call, whatever protocol the head is of.
 */
import * as Metadata from "../core/rpc/metadata.ts"
import { decodeBinary, mostValues } from "./binary.ts"

/**
 * The metadata of one head, given field by field: all but what belongs to the protocols. What is neither base64 nor
 * printable ASCII is left out, and so are keys with other characters than those of metadata: what is received can be sent on.
 */
export class Received {
  // Most heads have none.
  private entries: Array<Metadata.Entry> | undefined
  private left = mostValues

  add(name: string, value: string): void {
    if (Metadata.isReserved(name) || !Metadata.isKey(name)) return
    this.entries ??= []
    if (name.endsWith("-bin")) {
      const values = decodeBinary(value, this.left)
      this.left -= values.length
      for (const bytes of values) this.entries.push([name, bytes])
    } else if (Metadata.isText(value)) this.entries.push([name, value])
  }

  get metadata(): Metadata.Metadata {
    return this.entries ?? Metadata.empty
  }
}
