/**
 * The port for compression: what an encoding does, and how a service or channel uses it. The encodings themselves need
 * a runtime's own code and live with the transport.
 *
 * Source: grpc/doc/compression.md.
 */
import type { Effect } from "effect"
import type { RpcError } from "./error.ts"

export interface Encoding {
  /** The name on the wire, such as `gzip`. */
  readonly name: string
  readonly compress: (bytes: Uint8Array) => Effect.Effect<Uint8Array, RpcError>
  /**
   * Fails with `resource_exhausted` as soon as the result would be over `maxBytes`, and never holds more than that; and with
   * `internal` for bytes that are not in the encoding (grpc/doc/statuscodes.md).
   */
  readonly decompress: (bytes: Uint8Array, maxBytes: number) => Effect.Effect<Uint8Array, RpcError>
}

export interface Compression {
  /** What responses may be in, the preferred one first. A client sends with the first. */
  readonly encodings: ReadonlyArray<Encoding>
  /** What a service accepts in requests. */
  readonly requests: ReadonlyArray<Encoding>
  /** Messages below this many bytes are sent as they are. */
  readonly minBytes: number
}
