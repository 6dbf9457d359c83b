/**
 * The greeting: what an endpoint says first on a connection.
 *
 * Source: RFC 9113, section 3.4.
 */
import { frameHeaderLength, frameType, preface, writeFrameHeader, writeUint32 } from "./frames.ts"
import { firstStreamWindow, type Limits } from "./limits.ts"
import { defaultSettings, settingsFrame } from "./settings.ts"

/** A client's preface, the settings that limits make, and the connection's window, which no setting can open. */
export const greeting = (role: "server" | "client", limits: Limits): Uint8Array => {
  const server = role === "server"
  const settings = settingsFrame({
    ...defaultSettings,
    enablePush: server,
    maxConcurrentStreams: server ? limits.maxConcurrentStreams : defaultSettings.maxConcurrentStreams,
    initialWindowSize: Math.min(limits.streamWindow, firstStreamWindow),
    maxHeaderListSize: limits.maxHeaderListSize,
  })
  return Uint8Array.from([
    ...(server ? [] : preface),
    ...settings,
    ...openedBy(limits.connectionWindow - defaultSettings.initialWindowSize),
  ])
}

const openedBy = (increment: number): Uint8Array => {
  if (increment <= 0) return new Uint8Array(0)
  const frame = new Uint8Array(frameHeaderLength + 4)
  writeUint32(frame, writeFrameHeader(frame, 0, 4, frameType.windowUpdate, 0, 0), increment)
  return frame
}
