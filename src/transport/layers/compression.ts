/**
 * `compression`: makes messages smaller on the wire, with the encodings of the runtime's zlib.
 */
import * as zlib from "node:zlib"
import { Effect, Semaphore } from "effect"
import type { CallLayer } from "../../core/layers/intercept.ts"
import type { Encoding } from "../../core/rpc/compression.ts"
import { RpcError } from "../../core/rpc/error.ts"
import { othersTurn } from "../othersTurn.ts"
import { isWholeFrame } from "./zstdFrame.ts"

type Callback = (error: Error | null, result: Uint8Array) => void

const isDeno = "Deno" in globalThis

// A message that waits to be decompressed is short, and may be a thousand times as long once it is. So many at once keep
// all of zlib's threads busy. Deno has none for them: there it is one at a time, and the others' turn after each.
const turns = Semaphore.makeUnsafe(isDeno ? 1 : 4)
const turnAfter = isDeno ? othersTurn : Effect.void

interface Zlib {
  readonly name: string
  readonly compress: (bytes: Uint8Array, done: Callback) => void
  readonly decompress: (bytes: Uint8Array, options: { maxOutputLength: number }, done: Callback) => void
  /** Whether bytes that could be decompressed were whole, where zlib doesn't miss their rest. */
  readonly isWhole?: (bytes: Uint8Array) => Effect.Effect<boolean>
}

const zlibEncoding = ({ name, compress, decompress, isWhole = () => Effect.succeed(true) }: Zlib): Encoding => {
  const decompressed = (bytes: Uint8Array, maxBytes: number) =>
    Effect.callback<Uint8Array, RpcError>((resume) =>
      // zlib takes no 0 here; an empty message is 1 byte short of the limit then, which harms nobody.
      decompress(bytes, { maxOutputLength: Math.max(1, maxBytes) }, (error, result) =>
        resume(error === null ? Effect.succeed(result) : Effect.fail(decompressError(name, error, maxBytes))),
      ),
    )
  const checked = (bytes: Uint8Array, maxBytes: number) =>
    Effect.flatMap(decompressed(bytes, maxBytes), (result) =>
      Effect.flatMap(isWhole(bytes), (whole) =>
        whole
          ? Effect.succeed(result)
          : Effect.fail(new RpcError({ code: "internal", message: `the message is not valid ${name}: it is cut off` })),
      ),
    )
  return {
    name,
    compress: (bytes) =>
      Effect.callback<Uint8Array, RpcError>((resume) =>
        compress(bytes, (error, result) =>
          resume(
            error === null
              ? Effect.succeed(result)
              : Effect.fail(new RpcError({ code: "internal", message: `${name} compression failed`, cause: error })),
          ),
        ),
      ),
    // zlib can't be stopped: who is interrupted keeps its turn until it is done.
    decompress: (bytes, maxBytes) =>
      turns.withPermit(Effect.uninterruptible(Effect.ensuring(checked(bytes, maxBytes), turnAfter))),
  }
}

const decompressError = (name: string, error: Error, maxBytes: number): RpcError =>
  "code" in error && error.code === "ERR_BUFFER_TOO_LARGE"
    ? new RpcError({ code: "resource_exhausted", message: `the message is over ${maxBytes} bytes when decompressed` })
    : new RpcError({ code: "internal", message: `the message is not valid ${name}`, cause: error })

/** RFC 1952, the one encoding that every gRPC implementation has. */
export const gzip: Encoding = zlibEncoding({ name: "gzip", compress: zlib.gzip, decompress: zlib.gunzip })

// The slowest of brotli's 11 levels is its default and takes 100 times what gzip does; at 4 it beats gzip in both.
const brotliLevel = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }

/** True if brotli's bytes have their end, as a reader says that throws away what comes of them. */
const isWholeBrotli = (bytes: Uint8Array): Effect.Effect<boolean> =>
  Effect.promise(async () => {
    // Deno has it, though the types of HTML's standard don't.
    const { readable, writable } = new DecompressionStream("brotli" as CompressionFormat)
    try {
      // A copy, since the stream takes no view of memory that may be shared.
      const written = new Blob([new Uint8Array(bytes)]).stream().pipeTo(writable)
      await Promise.all([written, readable.pipeTo(new WritableStream())])
      return true
    } catch {
      return false
    }
  })

/** RFC 7932. */
export const brotli: Encoding = zlibEncoding({
  name: "br",
  compress: (bytes, done) => zlib.brotliCompress(bytes, brotliLevel, done),
  decompress: zlib.brotliDecompress,
  ...(isDeno ? { isWhole: isWholeBrotli } : {}),
})

/** RFC 8878; `undefined` where the runtime's zlib is too old to have it (Node before 22.15). */
export const zstd: Encoding | undefined =
  "zstdCompress" in zlib
    ? zlibEncoding({
        name: "zstd",
        compress: zlib.zstdCompress,
        decompress: zlib.zstdDecompress,
        isWhole: (bytes) => Effect.succeed(isWholeFrame(bytes)),
      })
    : undefined

/** All the encodings that this runtime has, gzip first. */
export const encodings: ReadonlyArray<Encoding> = [gzip, brotli, ...(zstd === undefined ? [] : [zstd])]

export interface CompressionOptions {
  /** Messages below this many bytes are sent as they are: compressed they would hardly be smaller. Default: 1024. */
  readonly minBytes?: number
  /**
   * What a service accepts in requests. Default: the encodings that the layer is given, and gzip alone where it is given
   * none: others take more to decompress, so whoever wants them in requests says so.
   *
   * @example compression(encodings, { requests: [gzip, brotli] })
   */
  readonly requests?: ReadonlyArray<Encoding>
  /**
   * How many times as long a message may be once it is decompressed, as soon as it has more than 1 MiB then. Over it:
   * `resource_exhausted`. Default: 100, as Envoy's `max_inflate_ratio`.
   *
   * @example compression([gzip], { maxRatio: 1000 })
   */
  readonly maxRatio?: number
}

// Below so many bytes a ratio says nothing: a row of zeros is short.
const freeBytes = 1024 * 1024

/** An encoding whose messages may become no longer than so many times what they are. */
const within = (encoding: Encoding, maxRatio: number): Encoding => ({
  ...encoding,
  decompress: (bytes, maxBytes) => {
    const most = Math.max(freeBytes, maxRatio * bytes.length)
    if (most >= maxBytes) return encoding.decompress(bytes, maxBytes)
    return Effect.mapError(encoding.decompress(bytes, most), (error) =>
      error.code === "resource_exhausted"
        ? new RpcError({
            code: "resource_exhausted",
            message: `a message of ${bytes.length} bytes is over ${most} when decompressed: ${maxRatio} times is the limit`,
          })
        : error,
    )
  },
})

/**
 * A layer that compresses messages, one by one: on a channel requests are sent in the first of the encodings, on a
 * service responses in whichever the client accepts; a channel accepts all of them. Without this layer nothing is
 * compressed and nothing compressed is accepted. An encoding that isn't here gets `unimplemented`, and the peer is told
 * which are.
 *
 * Unary calls and streams are treated alike; metadata is left alone. It sees bytes where all other layers see messages,
 * so it commutes with them. Of two, the last one in the pipe counts.
 *
 * @example
 * const pi = Service.make(PiCalculator, calculator).pipe(compression([gzip, brotli]))
 */
export const compression = (
  given?: ReadonlyArray<Encoding>,
  { minBytes = 1024, maxRatio = 100, requests = given ?? [gzip] }: CompressionOptions = {},
): CallLayer => {
  const bounded = (all: ReadonlyArray<Encoding>) => all.map((encoding) => within(encoding, maxRatio))
  const compressed = { encodings: bounded(given ?? encodings), requests: bounded(requests), minBytes }
  return (target) => ({ ...target, compression: compressed })
}
