import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import { frameType, preface } from "../../../src/transport/http2/frames.ts"
import { greeting } from "../../../src/transport/http2/greeting.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import { frames, settings, windowUpdate } from "./support.ts"

const maxConcurrentStreams = [0x3, 7] as const
// However far it may be opened later.
const initialWindowSize = [0x4, 65_536] as const
const maxHeaderListSize = [0x6, 1000] as const
const noPush = [0x2, 0] as const

const limits = limitsOf({
  maxConcurrentStreams: 7,
  streamWindow: 70_000,
  connectionWindow: 80_000,
  maxHeaderListSize: 1000,
})

describe("a greeting", () => {
  test("of a server is its settings, and how far its window is open", () => {
    assert.deepEqual(
      Buffer.from(greeting("server", limits)),
      Buffer.concat([
        settings(maxConcurrentStreams, initialWindowSize, maxHeaderListSize),
        windowUpdate(0, 80_000 - 65_535),
      ]),
    )
  })

  test("of a client begins with the preface, and wants nothing pushed", () => {
    assert.deepEqual(
      Buffer.from(greeting("client", limits)),
      Buffer.concat([
        preface,
        settings(noPush, initialWindowSize, maxHeaderListSize),
        windowUpdate(0, 80_000 - 65_535),
      ]),
    )
  })

  test("doesn't open a window that is as large as it begins", () => {
    const [first, ...others] = frames(greeting("server", limitsOf({ connectionWindow: 65_535 })))
    assert.equal(first?.type, frameType.settings)
    assert.deepEqual(others, [])
  })
})
