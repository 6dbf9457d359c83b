/**
 * The core's encodings as Connect-ES takes them.
 */
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect"
import type { Compression as ConnectCompression } from "@connectrpc/connect/protocol"
import { Effect } from "effect"
import type { Compression, Encoding } from "../../core/rpc/compression.ts"
import type { RpcError } from "../../core/rpc/error.ts"
import * as Status from "../../core/rpc/status.ts"

const run = (
  bytes: Effect.Effect<Uint8Array, RpcError>,
  code = ({ code }: RpcError): Code => Status.toNumber(code),
): Promise<Uint8Array<ArrayBuffer>> =>
  Effect.runPromise(
    Effect.mapError(bytes, (error) => new ConnectError(error.message, code(error))),
    // Encodings never give back a view of shared memory, which is all that this type adds.
  ) as Promise<Uint8Array<ArrayBuffer>>

// In Connect it is the fault of who sent it that a message is not in its encoding, where gRPC has `internal` for that.
const decompressCode = ({ code }: RpcError): Code =>
  code === "internal" ? Code.InvalidArgument : Status.toNumber(code)

const toConnect = ({ name, compress, decompress }: Encoding): ConnectCompression => ({
  name,
  compress: (bytes) => run(compress(bytes)),
  decompress: (bytes, readMaxBytes) => run(decompress(bytes, readMaxBytes), decompressCode),
})

/** What a service or channel accepts and from which size on it compresses; nothing at all without the layer. */
export const toConnectCompression = (
  compression: Compression | undefined,
): { acceptCompression: Array<ConnectCompression>; compressMinBytes: number } => ({
  acceptCompression: compression?.encodings.map(toConnect) ?? [],
  compressMinBytes: compression?.minBytes ?? 0,
})

// Where a request says its encoding, and where an answer says which ones there are: gRPC, Connect's streams, its unary.
const headerNames = [
  ["grpc-encoding", "grpc-accept-encoding"],
  ["connect-content-encoding", "connect-accept-encoding"],
  ["content-encoding", "accept-encoding"],
] as const

/** Tells who sent an encoding that isn't accepted which ones are; Connect-ES leaves the header out of its error. */
export const nameEncodings =
  (compression: Compression | undefined) =>
  ({ requestHeader, responseHeader }: HandlerContext): void => {
    const accepted = ["identity", ...(compression?.encodings ?? []).map(({ name }) => name)]
    for (const [request, answer] of headerNames) {
      const encoding = requestHeader.get(request)
      if (encoding !== null && !accepted.includes(encoding)) responseHeader.set(answer, accepted.join(","))
    }
  }
