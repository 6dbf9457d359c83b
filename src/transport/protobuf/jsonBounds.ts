/**
 * Bounds on JSON, found before it is parsed: what is parsed can't be stopped, and a short text may make a great many objects.
 *
 * Source: RFC 8259, section 9, "Parsers": an implementation may set limits on size, depth, and contents.
 */
import { RpcError } from "../../core/rpc/error.ts"

// A message in a list is two deep, and messages may be a hundred deep.
export const maxJsonDepth = 200

// Bytes of memory, rounded up: what the runtimes' parsers make, and protobuf-es of that.
const containerWeight = 96
const keyWeight = 96
const elementWeight = 24
// Beyond so many keys an object is a table, which takes several times as much room and time for each.
const manyKeys = 128
const tableKeyWeight = 448

const quote = 0x22
const comma = 0x2c
const colon = 0x3a
const open = 0x5b
const backslash = 0x5c
const close = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

const exhausted = (message: string) => new RpcError({ code: "resource_exhausted", message })

/**
 * Throws an `RpcError` for JSON that nests too deep, or would take more than `maxWeight` bytes of memory, where the heaviest
 * message that an object in it may become weighs `objectWeight`.
 */
export const checkJsonBounds = (json: Uint8Array, maxWeight: number, objectWeight: number): void => {
  const keys = new Int32Array(maxJsonDepth + 1)
  let depth = 0
  // A character beyond Latin-1 makes two bytes of each.
  let weight = json.length * 2
  for (let at = 0; at < json.length; at++) {
    switch (json[at]) {
      case quote:
        for (at++; at < json.length && json[at] !== quote; at++) if (json[at] === backslash) at++
        continue
      case open:
      case openBrace:
        depth += 1
        if (depth > maxJsonDepth) throw exhausted(`the JSON nests deeper than ${maxJsonDepth}`)
        keys[depth] = 0
        // The outermost is what the message itself is, of which there is one.
        weight += depth > 1 && json[at] === openBrace ? containerWeight + objectWeight : containerWeight
        break
      case close:
      case closeBrace:
        if (depth > 0) depth -= 1
        continue
      case colon: {
        const count = (keys[depth] ?? 0) + 1
        keys[depth] = count
        weight += count > manyKeys ? tableKeyWeight : keyWeight
        break
      }
      case comma:
        weight += elementWeight
        break
      default:
        continue
    }
    if (weight > maxWeight)
      throw exhausted(`the JSON would take more than ${maxWeight} bytes of memory, the limit for a message`)
  }
}
