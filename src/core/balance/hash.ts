/**
 * A hash of 32 bits for spreading, not for secrets: FNV-1a, whose bits murmur3's last step mixes once more, since names that
 * differ in the last letter only would be close together else.
 */

const prime = 0x0100_0193

/** The hash of a text, or of bytes, from 0 to 2³² − 1. */
export const hash = (value: string | Uint8Array, seed = 0): number => {
  let mixed = 0x811c_9dc5 ^ seed
  if (typeof value === "string") {
    for (let i = 0; i < value.length; i++) mixed = Math.imul(mixed ^ value.charCodeAt(i), prime)
  } else {
    for (const byte of value) mixed = Math.imul(mixed ^ byte, prime)
  }
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85eb_ca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
