/**
 * `compression`: makes messages smaller on the wire, with the encodings of the runtime's zlib.
 */
import * as zlib from "node:zlib"
import { Effect, Semaphore } from "effect"
import type { CallLayer } from "../../core/layers/intercept.ts"
import type { Encoding } from "../../core/rpc/compression.ts"
import { RpcError } from "../../core/rpc/error.ts"

type Callback = (error: Error | null, result: Uint8Array) => void

// A message that waits to be decompressed is short, and may be a thousand times as long once it is. So many at once keep
// all of zlib's threads busy.
const turns = Semaphore.makeUnsafe(4)

const zlibEncoding = (
  name: string,
  compress: (bytes: Uint8Array, done: Callback) => void,
  decompress: (bytes: Uint8Array, options: { maxOutputLength: number }, done: Callback) => void,
): Encoding => ({
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
  decompress: (bytes, maxBytes) =>
    turns.withPermit(
      // zlib can't be stopped: who is interrupted keeps its turn until it is done.
      Effect.uninterruptible(
        Effect.callback<Uint8Array, RpcError>((resume) =>
          // zlib takes no 0 here; an empty message is 1 byte short of the limit then, which harms nobody.
          decompress(bytes, { maxOutputLength: Math.max(1, maxBytes) }, (error, result) =>
            resume(error === null ? Effect.succeed(result) : Effect.fail(decompressError(name, error, maxBytes))),
          ),
        ),
      ),
    ),
})

const decompressError = (name: string, error: Error, maxBytes: number): RpcError =>
  "code" in error && error.code === "ERR_BUFFER_TOO_LARGE"
    ? new RpcError({ code: "resource_exhausted", message: `the message is over ${maxBytes} bytes when decompressed` })
    : new RpcError({ code: "internal", message: `the message is not valid ${name}`, cause: error })

/** RFC 1952, the one encoding that every gRPC implementation has. */
export const gzip: Encoding = zlibEncoding("gzip", zlib.gzip, zlib.gunzip)

// The slowest of brotli's 11 levels is its default and takes 100 times what gzip does; at 4 it beats gzip in both.
const brotliLevel = { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 4 } }

/** RFC 7932. */
export const brotli: Encoding = zlibEncoding(
  "br",
  (bytes, done) => zlib.brotliCompress(bytes, brotliLevel, done),
  zlib.brotliDecompress,
)

/** RFC 8878; `undefined` where the runtime's zlib is too old to have it (Node before 22.15). */
export const zstd: Encoding | undefined =
  "zstdCompress" in zlib ? zlibEncoding("zstd", zlib.zstdCompress, zlib.zstdDecompress) : undefined

/** All the encodings that this runtime has, gzip first. */
export const encodings: ReadonlyArray<Encoding> = [gzip, brotli, ...(zstd === undefined ? [] : [zstd])]

export interface CompressionOptions {
  /** Messages below this many bytes are sent as they are: compressed they would hardly be smaller. Default: 1024. */
  readonly minBytes?: number
}

/**
 * A layer that compresses messages, one by one: on a channel requests are sent in the first of the encodings, on a
 * service answers in whichever the client accepts; both accept all of them. Without this layer nothing is compressed
 * and nothing compressed is accepted. An encoding that isn't here gets `unimplemented`, and the peer is told which are.
 *
 * Unary calls and streams are treated alike; metadata is left alone. It sees bytes where all other layers see messages,
 * so it commutes with them. Of two, the last one in the pipe counts.
 *
 * @example
 * const pi = Service.make(PiCalculator, calculator).pipe(compression([gzip, brotli]))
 */
export const compression =
  (accepted: ReadonlyArray<Encoding> = encodings, { minBytes = 1024 }: CompressionOptions = {}): CallLayer =>
  (target) => ({ ...target, compression: { encodings: accepted, minBytes } })
