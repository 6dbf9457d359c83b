/**
 * The Huffman code of HPACK: a byte that is frequent in headers is sent in as few as 5 bits, a rare one in up to 30.
 *
 * Strings here hold one byte a character. One over U+00FF is sent as "?": cut down to a byte it could become any
 * character, a line feed included.
 *
 * Source: RFC 7541, section 5.2 and appendix B.
 */

// The length of each byte's code, in bits; the last one is that of EOS. The code is canonical, so this is all there is
// to know: in the order of length, then of byte, each code is the one before it plus 1.
// biome-ignore format: 16 a row
const lengths = Uint8Array.of(
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
  28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
   6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
   5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
  13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
   7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
  15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
   6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
  24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
  21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
  19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
  26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30,
)

const eos = 256

const codes = new Uint32Array(lengths.length)
let code = 0
for (let length = 1; length <= 30; length++) {
  for (let symbol = 0; symbol <= eos; symbol++) if (lengths[symbol] === length) codes[symbol] = code++
  code *= 2
}

// The code as a tree: two children a node, at 2 × node and behind it; a symbol's leaf is ~symbol, and none is 0. EOS is
// 30 ones and comes first, so nodes 0 to 29 are those where only ones were read since the last symbol, as many as that.
const children = new Int16Array(2 * eos)
let nodes = 1
for (const symbol of [eos, ...Array(eos).keys()]) {
  const code = codes[symbol] ?? 0
  let node = 0
  for (let bit = (lengths[symbol] ?? 0) - 1; bit > 0; bit--) {
    const child = 2 * node + ((code >>> bit) & 1)
    if (children[child] === 0) children[child] = nodes++
    node = children[child] ?? 0
  }
  children[2 * node + (code & 1)] = ~symbol
}

// What 4 bits do at each node: the node they lead to (its row, from bit 9 on), whether a symbol ended (bit 8), and which
// (below). As no code is shorter than 5 bits, there is at most one. After EOS comes the row of no return.
const rowOf = (node: number): number => (node * 16) << 9
const noReturn = eos
const longestPadding = 7
const steps = new Int32Array(16 * (noReturn + 1)).fill(rowOf(noReturn))
for (let start = 0; start < noReturn; start++) {
  for (let bits = 0; bits < 16; bits++) {
    let node = start
    let symbol = 0
    for (let bit = 3; bit >= 0 && node !== noReturn; bit--) {
      const child = children[2 * node + ((bits >>> bit) & 1)] ?? 0
      node = child >= 0 ? child : ~child === eos ? noReturn : 0
      if (child < 0) symbol = 0x100 | ~child
    }
    steps[16 * start + bits] = rowOf(node) | (node === noReturn ? 0 : symbol)
  }
}

/** The room in bytes that `length` bytes may need when decoded. */
export const huffmanRoom = (length: number): number => Math.floor((length * 8) / 5) + 1

/**
 * Decodes bytes[start, end) to the beginning of `out`, which has `huffmanRoom` for it. Gives the number of bytes; -1 if
 * EOS is among them, or if they are padded with something else than up to 7 ones.
 */
export const huffmanDecode = (bytes: Uint8Array, start: number, end: number, out: Uint8Array): number => {
  let length = 0
  let row = 0
  for (let i = start; i < end; i++) {
    const byte = bytes[i] as number
    // A byte is stored at each step, and counts only if a symbol ended: cheaper than to ask first.
    const high = steps[row + (byte >>> 4)] as number
    out[length] = high
    length += (high >>> 8) & 1
    const low = steps[(high >>> 9) + (byte & 15)] as number
    out[length] = low
    length += (low >>> 8) & 1
    row = low >>> 9
  }
  return row <= 16 * longestPadding ? length : -1
}

/** The byte that is sent for a character. */
export const byteAt = (text: string, i: number): number => {
  const unit = text.charCodeAt(i)
  return unit <= 0xff ? unit : 0x3f
}

/** How many bytes a string has when encoded. */
export const huffmanLength = (text: string): number => {
  let bits = 0
  for (let i = 0; i < text.length; i++) bits += lengths[byteAt(text, i)] as number
  return (bits + 7) >>> 3
}

/** Encodes a string to `out` at `offset`; gives the offset behind it. */
export const huffmanEncode = (text: string, out: Uint8Array, offset: number): number => {
  let at = offset
  let byte = 0
  let room = 8
  for (let i = 0; i < text.length; i++) {
    const symbol = byteAt(text, i)
    const code = codes[symbol] as number
    let left = lengths[symbol] as number
    while (left >= room) {
      left -= room
      // The array keeps the lowest 8 bits; those above them are in the bytes before.
      out[at++] = byte | (code >>> left)
      byte = 0
      room = 8
    }
    room -= left
    byte |= (code << room) & 0xff
  }
  if (room < 8) out[at++] = byte | (0xff >>> (8 - room))
  return at
}
