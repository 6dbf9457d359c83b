/**
 * Frames: the nine bytes before each payload, the ten types, and the flags and error codes they carry.
 *
 * Source: RFC 9113, sections 4.1, 6 and 7.
 */

export const frameType = {
  data: 0x0,
  headers: 0x1,
  priority: 0x2,
  rstStream: 0x3,
  settings: 0x4,
  pushPromise: 0x5,
  ping: 0x6,
  goaway: 0x7,
  windowUpdate: 0x8,
  continuation: 0x9,
} as const

export const flag = {
  ack: 0x1,
  endStream: 0x1,
  endHeaders: 0x4,
  padded: 0x8,
  priority: 0x20,
} as const

export const errorCode = {
  noError: 0x0,
  protocolError: 0x1,
  internalError: 0x2,
  flowControlError: 0x3,
  settingsTimeout: 0x4,
  streamClosed: 0x5,
  frameSizeError: 0x6,
  refusedStream: 0x7,
  cancel: 0x8,
  compressionError: 0x9,
  connectError: 0xa,
  enhanceYourCalm: 0xb,
  inadequateSecurity: 0xc,
  http11Required: 0xd,
} as const

export type ErrorCode = (typeof errorCode)[keyof typeof errorCode]

const errorNames: ReadonlyMap<number, string> = new Map(
  Object.entries(errorCode).map(([name, code]) => [code, name.replace(/[A-Z1]/g, "_$&").toUpperCase()]),
)

/** What the RFC calls an error code, for a person to read: `ENHANCE_YOUR_CALM`. */
export const errorName = (code: number): string => errorNames.get(code) ?? `error ${code}`

/** What a client says first on a connection: `PRI * HTTP/2.0`, and nothing an HTTP/1.1 server would take for a request. */
export const preface: Uint8Array = Uint8Array.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (char) => char.charCodeAt(0))

export const frameHeaderLength = 9
/** The largest payload that every endpoint must take, and the default of SETTINGS_MAX_FRAME_SIZE. */
export const defaultMaxFrameSize = 16_384
export const largestMaxFrameSize = 16_777_215
/** The largest flow-control window, and the largest stream identifier. */
export const maxInt31 = 0x7fff_ffff

/** Writes a frame's header and gives the offset behind it. */
export const writeFrameHeader = (
  out: Uint8Array,
  offset: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): number => {
  out[offset] = length >>> 16
  out[offset + 1] = length >>> 8
  out[offset + 2] = length
  out[offset + 3] = type
  out[offset + 4] = flags
  return writeUint32(out, offset + 5, streamId)
}

export const writeUint32 = (out: Uint8Array, offset: number, value: number): number => {
  out[offset] = value >>> 24
  out[offset + 1] = value >>> 16
  out[offset + 2] = value >>> 8
  out[offset + 3] = value
  return offset + 4
}

// The callers have checked that the bytes are there; `?? 0` only says so to the compiler, and costs nothing.
const byte = (bytes: Uint8Array, offset: number): number => bytes[offset] ?? 0

export const readUint24 = (bytes: Uint8Array, offset: number): number =>
  (byte(bytes, offset) << 16) | (byte(bytes, offset + 1) << 8) | byte(bytes, offset + 2)

export const readUint16 = (bytes: Uint8Array, offset: number): number =>
  (byte(bytes, offset) << 8) | byte(bytes, offset + 1)

export const readUint32 = (bytes: Uint8Array, offset: number): number =>
  ((byte(bytes, offset) << 24) |
    (byte(bytes, offset + 1) << 16) |
    (byte(bytes, offset + 2) << 8) |
    byte(bytes, offset + 3)) >>>
  0

/** The same without the reserved bit that stream identifiers and window increments have in front. */
export const readUint31 = (bytes: Uint8Array, offset: number): number => readUint32(bytes, offset) & maxInt31

/**
 * What a peer did wrong on the connection as a whole: the connection answers with GOAWAY and ends (section 5.4.1). All
 * that bytes from the network can make `http2/` throw is this, and the connection catches it itself.
 */
export class ConnectionError extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string) {
    super(message)
    this.name = "Http2ConnectionError"
    this.code = code
  }
}
