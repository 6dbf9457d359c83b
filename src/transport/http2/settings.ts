/**
 * Settings: what each end tells the other about itself at the start of a connection, and may change later.
 *
 * Source: RFC 9113, section 6.5.
 */
import {
  ConnectionError,
  defaultMaxFrameSize,
  errorCode,
  flag,
  frameHeaderLength,
  frameType,
  largestMaxFrameSize,
  maxInt31,
  readUint16,
  readUint32,
  writeFrameHeader,
  writeUint32,
} from "./frames.ts"

export interface Settings {
  readonly headerTableSize: number
  readonly enablePush: boolean
  readonly maxConcurrentStreams: number
  readonly initialWindowSize: number
  readonly maxFrameSize: number
  readonly maxHeaderListSize: number
}

/** What holds until an endpoint has said otherwise. */
export const defaultSettings: Settings = {
  headerTableSize: 4096,
  enablePush: true,
  maxConcurrentStreams: Number.POSITIVE_INFINITY,
  initialWindowSize: 65_535,
  maxFrameSize: defaultMaxFrameSize,
  maxHeaderListSize: Number.POSITIVE_INFINITY,
}

const identifier = {
  headerTableSize: 0x1,
  enablePush: 0x2,
  maxConcurrentStreams: 0x3,
  initialWindowSize: 0x4,
  maxFrameSize: 0x5,
  maxHeaderListSize: 0x6,
} as const

const entryLength = 6

/** The settings after a SETTINGS frame's payload: those it has in place of those before. Unknown ones are ignored. */
export const readSettings = (bytes: Uint8Array, start: number, end: number, before: Settings): Settings => {
  const settings: { -readonly [K in keyof Settings]: Settings[K] } = { ...before }
  for (let at = start; at < end; at += entryLength) {
    const value = readUint32(bytes, at + 2)
    switch (readUint16(bytes, at)) {
      case identifier.headerTableSize:
        settings.headerTableSize = value
        break
      case identifier.enablePush:
        if (value > 1) throw new ConnectionError(errorCode.protocolError, "ENABLE_PUSH is neither 0 nor 1")
        settings.enablePush = value === 1
        break
      case identifier.maxConcurrentStreams:
        settings.maxConcurrentStreams = value
        break
      case identifier.initialWindowSize:
        if (value > maxInt31) throw new ConnectionError(errorCode.flowControlError, "INITIAL_WINDOW_SIZE is too large")
        settings.initialWindowSize = value
        break
      case identifier.maxFrameSize:
        if (value < defaultMaxFrameSize || value > largestMaxFrameSize) {
          throw new ConnectionError(errorCode.protocolError, "MAX_FRAME_SIZE is out of its range")
        }
        settings.maxFrameSize = value
        break
      case identifier.maxHeaderListSize:
        settings.maxHeaderListSize = value
        break
    }
  }
  return settings
}

/**
 * The smallest HEADER_TABLE_SIZE among those that a SETTINGS frame's payload names; infinite if it names none. An encoder
 * must let its peer see that its table was as small as that (RFC 7541, section 4.2).
 */
export const smallestHeaderTableSize = (bytes: Uint8Array, start: number, end: number): number => {
  let smallest = Number.POSITIVE_INFINITY
  for (let at = start; at < end; at += entryLength) {
    if (readUint16(bytes, at) === identifier.headerTableSize) smallest = Math.min(smallest, readUint32(bytes, at + 2))
  }
  return smallest
}

/** The SETTINGS frame that says where settings differ from the defaults. */
export const settingsFrame = (settings: Settings): Uint8Array => {
  const entries: Array<readonly [number, number]> = []
  const add = (id: number, value: number, byDefault: number) => {
    if (value !== byDefault) entries.push([id, value])
  }
  add(identifier.headerTableSize, settings.headerTableSize, defaultSettings.headerTableSize)
  add(identifier.enablePush, settings.enablePush ? 1 : 0, 1)
  add(identifier.maxConcurrentStreams, settings.maxConcurrentStreams, defaultSettings.maxConcurrentStreams)
  add(identifier.initialWindowSize, settings.initialWindowSize, defaultSettings.initialWindowSize)
  add(identifier.maxFrameSize, settings.maxFrameSize, defaultSettings.maxFrameSize)
  add(identifier.maxHeaderListSize, settings.maxHeaderListSize, defaultSettings.maxHeaderListSize)
  const frame = new Uint8Array(frameHeaderLength + entries.length * entryLength)
  let at = writeFrameHeader(frame, 0, entries.length * entryLength, frameType.settings, 0, 0)
  for (const [id, value] of entries) {
    frame[at] = id >>> 8
    frame[at + 1] = id
    at = writeUint32(frame, at + 2, value)
  }
  return frame
}

export const settingsAck: Uint8Array = new Uint8Array(frameHeaderLength)
writeFrameHeader(settingsAck, 0, 0, frameType.settings, flag.ack, 0)

export const isSettingsLength = (length: number): boolean => length % entryLength === 0
