/**
 * Limits on messages and what else holds for all of them, the same for servers and clients.
 */
import type { Registry } from "@bufbuild/protobuf"

export interface MessageLimits {
  /** The largest message that is read, in bytes, once decompressed. Default: 4 MiB. Over it: `resource_exhausted`. */
  readonly maxReceiveBytes?: number
  /** The largest message that is sent, in bytes. Default: 2³² − 1, the most an envelope can say. */
  readonly maxSendBytes?: number
  /**
   * How much memory a received message may take once it is decoded, in bytes, as its fields and their types tell before it is.
   * Over it: `resource_exhausted`. An empty message in a list takes two bytes on the wire and a hundred in memory. Default:
   * four times `maxReceiveBytes`, and 64 KiB at least.
   *
   * @example serve(points, { maxMessageMemory: 64 * 1024 * 1024 })
   */
  readonly maxMessageMemory?: number
  /**
   * Whether fields of received messages that their type doesn't have are kept, to go on with the message where it is sent
   * again: a gateway needs that whose types may be older than those of its peers. Each takes 192 bytes of `maxMessageMemory`.
   * Extensions are kept always. Default: false.
   *
   * @example serve(gateway, { keepUnknownFields: true })
   */
  readonly keepUnknownFields?: boolean
  /**
   * More types for what a message carries without its type's file saying so: messages in an `Any` or in details of an error,
   * and extensions, wherever they are written as JSON. Default: the types of the service's own file, of all that it imports,
   * protobuf's well-known ones and google.rpc's.
   *
   * @example serve(events, { types: createRegistry(OrderPlacedSchema, OrderShippedSchema) })
   */
  readonly types?: Registry
}

export const defaultMaxReceiveBytes = 4 * 1024 * 1024

/** The limits as Connect-ES takes them. */
export const toConnectLimits = ({ maxReceiveBytes = defaultMaxReceiveBytes, maxSendBytes }: MessageLimits) => ({
  readMaxBytes: maxReceiveBytes,
  ...(maxSendBytes === undefined ? {} : { writeMaxBytes: maxSendBytes }),
})
