/**
 * Messages out of bytes that came from the network: within bounds, and with what their type has alone.
 */
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf"
import { defaultMaxReceiveBytes, type MessageLimits } from "../limits.ts"
import { type ScanLimits, scanned } from "./scan.ts"
import { shapeOf } from "./shape.ts"

// What comes of a message takes more room than its bytes: at most so many times as much of as many bytes as one may have, and
// so much even of less.
const perByte = 4
const leastMemory = 64 * 1024

/** The limits of messages as a scan of one takes them. */
export const scanLimits = ({
  maxReceiveBytes = defaultMaxReceiveBytes,
  maxMessageMemory = Math.max(leastMemory, perByte * maxReceiveBytes),
  keepUnknownFields = false,
}: MessageLimits): ScanLimits => ({ maxWeight: maxMessageMemory, keepUnknownFields })

export const defaultScanLimits: ScanLimits = scanLimits({})

/** Throws for bytes that are not the message, and an `RpcError` for what is over the limits. */
export const readBinary = <D extends DescMessage>(
  desc: D,
  bytes: Uint8Array,
  limits: ScanLimits = defaultScanLimits,
): MessageShape<D> => fromBinary(desc, scanned(shapeOf(desc), bytes, limits))
