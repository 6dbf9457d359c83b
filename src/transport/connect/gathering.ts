/**
 * Gathering: bytes that arrive in pieces become as few as Connect-ES can do something with.
 *
 * It keeps each piece as it came until it has a whole message, counts all of them at each new one, and reserves what a
 * message or a content-length says it will have. So a client that sends single bytes would cost it hundreds of times
 * their memory and the square of their number in time, and one that sends nothing but a length as much as that says.
 */
import { envelopeLength, readLength } from "../grpc/envelope.ts"

const none = new Uint8Array(0)

/** Bytes in a buffer that grows by as much as it has. */
export class Gathering {
  length = 0
  private bytes = none

  add(piece: Uint8Array): void {
    const length = this.length + piece.length
    if (length > this.bytes.length) {
      const larger = new Uint8Array(Math.max(length, 2 * this.length))
      larger.set(this.bytes.subarray(0, this.length))
      this.bytes = larger
    }
    this.bytes.set(piece, this.length)
    this.length = length
  }

  /** Takes the first so many bytes. */
  take(length: number): Uint8Array {
    const taken = this.bytes.subarray(0, length)
    // The rest may be written behind, but never over what was taken.
    this.bytes = length === this.length ? none : this.bytes.slice(length, this.length)
    this.length -= length
    return taken
  }

  /** How many bytes whole messages in their envelopes have; `undefined` if one says it is longer than `maxBytes`. */
  whole(maxBytes: number): number | undefined {
    let end = 0
    while (this.length - end >= envelopeLength) {
      const length = readLength(this.bytes, end)
      if (length > maxBytes) return undefined
      if (this.length - end - envelopeLength < length) break
      end += envelopeLength + length
    }
    return end
  }
}

// Fewer bytes of what has no envelopes are kept until there are more.
const enough = 16_384

const isEnveloped = (contentType: string | null): boolean => /^application\/(connect\+|grpc)/.test(contentType ?? "")

/**
 * The body of a request, gathered: in whole messages where it has envelopes, in large pieces where it has none. `maxBytes`
 * is how long a message may be; what says that it is longer goes on as it comes, to be refused without its rest. Takes a
 * content-length away from the headers, unless that is to be refused too.
 */
export const gather = (
  header: Headers,
  pieces: AsyncIterable<Uint8Array>,
  maxBytes: number,
): AsyncGenerator<Uint8Array> => {
  if (Number(header.get("content-length")) <= maxBytes) header.delete("content-length")
  return isEnveloped(header.get("content-type")) ? messages(pieces, maxBytes) : large(pieces)
}

async function* messages(pieces: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<Uint8Array> {
  const gathering = new Gathering()
  let tooLong = false
  for await (const piece of pieces) {
    gathering.add(piece)
    const whole: number | undefined = tooLong ? undefined : gathering.whole(maxBytes)
    tooLong = whole === undefined
    if (whole !== 0) yield gathering.take(whole ?? gathering.length)
  }
  if (gathering.length > 0) yield gathering.take(gathering.length)
}

async function* large(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gathering = new Gathering()
  for await (const piece of pieces) {
    gathering.add(piece)
    if (gathering.length >= enough) yield gathering.take(gathering.length)
  }
  if (gathering.length > 0) yield gathering.take(gathering.length)
}
