/**
 * Limits on messages, the same for servers and clients.
 */
export interface MessageLimits {
  /** The largest message that is read, in bytes, once decompressed. Default: 4 MiB. Over it: `resource_exhausted`. */
  readonly maxReceiveBytes?: number
  /** The largest message that is sent, in bytes. Default: 2³² − 1, the most an envelope can say. */
  readonly maxSendBytes?: number
}

export const defaultMaxReceiveBytes = 4 * 1024 * 1024

/** The limits as Connect-ES takes them. */
export const toConnectLimits = ({ maxReceiveBytes = defaultMaxReceiveBytes, maxSendBytes }: MessageLimits) => ({
  readMaxBytes: maxReceiveBytes,
  ...(maxSendBytes === undefined ? {} : { writeMaxBytes: maxSendBytes }),
})
