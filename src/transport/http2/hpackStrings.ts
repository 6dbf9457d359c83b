/**
 * The strings of literals: to make one of bytes takes longer than to recognize it, so they are kept by the hash of these.
 */

/** A hash of bytes. Whoever wants equal ones finds them easily: what has the same hash is still to be compared. */
export const hashOf = (bytes: Uint8Array, start: number, end: number): number => {
  let hash = end - start
  for (let i = start; i < end; i++) hash = (Math.imul(hash, 31) + (bytes[i] as number)) | 0
  return hash
}

// All connections share them, since most say the same.
const strings: Array<string> = new Array(2048).fill("")
const maxKnownString = 64

/** The string of bytes that may come again. Not for secrets: all connections share what is kept. */
export const knownString = (bytes: Uint8Array, start: number, end: number): string => {
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

/** The string of bytes that is made anew. */
export const newString = (bytes: Uint8Array, start: number, end: number): string => {
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
