import assert from "node:assert/strict"
import { describe, test } from "node:test"
import fc from "fast-check"
import { ConnectionError, errorCode } from "../../../src/transport/http2/frames.ts"
import {
  defaultSettings,
  isSettingsLength,
  readSettings,
  type Settings,
  settingsAck,
  settingsFrame,
} from "../../../src/transport/http2/settings.ts"
import { frames, settings } from "./support.ts"

const read = (frame: Uint8Array, before: Settings = defaultSettings): Settings =>
  readSettings(frame, 9, frame.length, before)

const some: fc.Arbitrary<Settings> = fc.record({
  headerTableSize: fc.nat(0xffff_ffff),
  enablePush: fc.boolean(),
  maxConcurrentStreams: fc.oneof(fc.nat(0xffff_ffff), fc.constant(Number.POSITIVE_INFINITY)),
  initialWindowSize: fc.nat(0x7fff_ffff),
  maxFrameSize: fc.integer({ min: 16_384, max: 16_777_215 }),
  maxHeaderListSize: fc.oneof(fc.nat(0xffff_ffff), fc.constant(Number.POSITIVE_INFINITY)),
})

describe("settings", () => {
  test("come back as they were sent", () => {
    fc.assert(fc.property(some, (sent) => assert.deepEqual(read(settingsFrame(sent)), { ...sent })))
  })

  test("leave those that they don't name as they were, ignore unknown ones, and count the last of a kind", () => {
    const before = { ...defaultSettings, initialWindowSize: 7, headerTableSize: 9 }
    assert.deepEqual(read(settings([0xff, 1], [0, 2], [3, 5], [3, 6]), before), { ...before, maxConcurrentStreams: 6 })
  })

  test("that are the defaults are an empty frame, as is the acknowledgement but for its flag", () => {
    assert.deepEqual([...settingsFrame(defaultSettings)], [0, 0, 0, 4, 0, 0, 0, 0, 0])
    assert.deepEqual([...settingsAck], [0, 0, 0, 4, 1, 0, 0, 0, 0])
    assert.equal(frames(settingsFrame({ ...defaultSettings, enablePush: false }))[0]?.payload.length, 6)
  })

  test("are six bytes each", () => {
    assert.deepEqual([0, 6, 12, 1, 5, 7].map(isSettingsLength), [true, true, true, false, false, false])
  })

  for (const [name, id, value, code] of [
    ["ENABLE_PUSH", 2, 2, errorCode.protocolError],
    ["ENABLE_PUSH", 2, 0xffff_ffff, errorCode.protocolError],
    ["INITIAL_WINDOW_SIZE", 4, 0x8000_0000, errorCode.flowControlError],
    ["INITIAL_WINDOW_SIZE", 4, 0xffff_ffff, errorCode.flowControlError],
    ["MAX_FRAME_SIZE", 5, 16_383, errorCode.protocolError],
    ["MAX_FRAME_SIZE", 5, 16_777_216, errorCode.protocolError],
    ["MAX_FRAME_SIZE", 5, 0, errorCode.protocolError],
  ] as const) {
    test(`with ${name} ${value} are an error with code ${code}`, () => {
      assert.throws(
        () => read(settings([id, value])),
        (error) => error instanceof ConnectionError && error.code === code,
      )
    })
  }
})
