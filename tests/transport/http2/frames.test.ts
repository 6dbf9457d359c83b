import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { errorCode, errorName } from "../../../src/transport/http2/frames.ts"

describe("an error code", () => {
  test("has the name that the RFC has for it", () => {
    assert.deepEqual(Object.values(errorCode).map(errorName), [
      "NO_ERROR",
      "PROTOCOL_ERROR",
      "INTERNAL_ERROR",
      "FLOW_CONTROL_ERROR",
      "SETTINGS_TIMEOUT",
      "STREAM_CLOSED",
      "FRAME_SIZE_ERROR",
      "REFUSED_STREAM",
      "CANCEL",
      "COMPRESSION_ERROR",
      "CONNECT_ERROR",
      "ENHANCE_YOUR_CALM",
      "INADEQUATE_SECURITY",
      "HTTP_1_1_REQUIRED",
    ])
  })

  test("that the RFC doesn't know has its number", () => {
    assert.equal(errorName(0x4321), `error ${0x4321}`)
  })
})
