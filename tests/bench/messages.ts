/**
 * The messages of pi.proto and cache.proto, in bytes: what goes in is made once, and of what comes out the lengths are known.
 */

import { create, toBinary } from "@bufbuild/protobuf"
import { EntrySchema, GetRequestSchema } from "../../src/transport/gen/cache_pb.ts"
import { PiRangeSchema, PiRequestSchema } from "../../src/transport/gen/pi_pb.ts"

export const calcPath = "/pi.PiCalculator/Calc"
export const calcStreamPath = "/pi.PiCalculator/CalcStream"
export const calcRangePath = "/pi.PiCalculator/CalcRange"

/** A flag and the length. */
export const prefixLength = 5

/** A message as gRPC sends it, uncompressed. */
export const prefixed = (message: Uint8Array): Uint8Array => {
  const bytes = new Uint8Array(prefixLength + message.length)
  new DataView(bytes.buffer).setUint32(1, message.length)
  bytes.set(message, prefixLength)
  return bytes
}

export const request = (n: number): Uint8Array => toBinary(PiRequestSchema, create(PiRequestSchema, { n }))
export const range = (last: number): Uint8Array => toBinary(PiRangeSchema, create(PiRangeSchema, { first: 1, last }))

// A tag and eight bytes.
const doubleLength = 9

/** How long an answer of `Calc` is as gRPC sends it. */
export const calcResponseLength = prefixLength + doubleLength

/** How long the point of a number is as gRPC sends it. */
export const pointLength = (n: number): number => prefixLength + request(n).length + doubleLength

/** A call that is made again and again, as gRPC sends it, and how long its answers are. */
export interface Calling {
  readonly path: string
  readonly body: Uint8Array
  readonly responseLength: number
}

export const calling = (n: number): Calling => ({
  path: calcPath,
  body: prefixed(request(n)),
  responseLength: calcResponseLength,
})

/** A `Get` of the cache, of a key with a value of so many bytes. */
export const getting = (key: string, valueLength: number): Calling => {
  const entry = create(EntrySchema, { key, value: new Uint8Array(valueLength), version: 1n })
  return {
    path: "/cache.Cache/Get",
    body: prefixed(toBinary(GetRequestSchema, create(GetRequestSchema, { key }))),
    responseLength: prefixLength + toBinary(EntrySchema, entry).length,
  }
}
