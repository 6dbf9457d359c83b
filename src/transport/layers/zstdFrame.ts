/**
 * Zstandard frames from outside: where one ends. Some runtimes' zlib gives what came of a frame that is cut off, and misses
 * neither the rest of it nor a second frame.
 *
 * Source: RFC 8878, section 3.1.1, "Zstandard Frames".
 */
const magic = [0x28, 0xb5, 0x2f, 0xfd]
const dictionaryIdLengths = [0, 1, 2, 4]
const contentSizeLengths = [0, 2, 4, 8]
const blockHeaderLength = 3
const checksumLength = 4
const rle = 1
const reserved = 3

/** True for bytes that are one frame from its first to its last. */
export const isWholeFrame = (bytes: Uint8Array): boolean => {
  if (!magic.every((byte, at) => bytes[at] === byte)) return false
  const descriptor = bytes[magic.length] ?? 0
  const singleSegment = (descriptor & 0x20) !== 0
  const contentSize = descriptor >> 6
  let at = magic.length + 1
  if (!singleSegment) at += 1
  at += dictionaryIdLengths[descriptor & 3] ?? 0
  at += contentSize === 0 && singleSegment ? 1 : (contentSizeLengths[contentSize] ?? 0)
  let last = false
  while (!last) {
    if (at + blockHeaderLength > bytes.length) return false
    const header = (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8) | ((bytes[at + 2] ?? 0) << 16)
    const type = (header >> 1) & 3
    if (type === reserved) return false
    at += blockHeaderLength + (type === rle ? 1 : header >> 3)
    last = (header & 1) === 1
  }
  if ((descriptor & 0x04) !== 0) at += checksumLength
  return at === bytes.length
}
