/**
 * How a value lies in Redis: a string of two bytes that mark it as ours, eight of its version, and the value.
 *
 * So a write is one SET whatever it depends on but a version, and a read one GET. The version is drawn at random by who
 * writes: none of two writes is the other's, without a word between them. No text begins with the mark, which isn't UTF-8,
 * so what another program has put under a key is told from a value.
 */
import { randomFillSync } from "node:crypto"
import type { Entry } from "../../core/cache/store.ts"

const mark = Buffer.from([0xba, 0x5e])
const versionBytes = 8
/** How many bytes lie before the value. */
export const headerBytes = mark.length + versionBytes

// Drawing many at once costs a hundredth of drawing each.
const drawn = Buffer.alloc(versionBytes * 512)
let next = drawn.length

/** A version that no other write has. */
export const drawVersion = (): bigint => {
  if (next === drawn.length) {
    randomFillSync(drawn)
    next = 0
  }
  const version = drawn.readBigUInt64BE(next)
  next += versionBytes
  return version
}

/** What lies before the value of this version. */
export const encodeHeader = (version: bigint): Buffer => {
  const header = Buffer.allocUnsafe(headerBytes)
  mark.copy(header)
  header.writeBigUInt64BE(version, mark.length)
  return header
}

export const encodeEntry = (version: bigint, value: Uint8Array): Buffer => {
  const bytes = Buffer.allocUnsafe(headerBytes + value.length)
  mark.copy(bytes)
  bytes.writeBigUInt64BE(version, mark.length)
  bytes.set(value, headerBytes)
  return bytes
}

/** The entry that lies there; `undefined` if it isn't one of ours. */
export const decodeEntry = (key: string, bytes: Buffer): Entry | undefined => {
  if (bytes.length < headerBytes || bytes[0] !== mark[0] || bytes[1] !== mark[1]) return undefined
  // A copy, since these bytes are a part of all that the socket read at once.
  const value = new Uint8Array(bytes.length - headerBytes)
  value.set(bytes.subarray(headerBytes))
  return { key, value, version: bytes.readBigUInt64BE(mark.length) }
}
