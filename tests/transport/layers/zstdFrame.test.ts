import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { Effect } from "effect"
import fc from "fast-check"
import { zstd } from "../../../src/transport/layers/compression.ts"
import { isWholeFrame } from "../../../src/transport/layers/zstdFrame.ts"

const frame = (message: Uint8Array) => Effect.runPromise(zstd?.compress(message) ?? Effect.die("there is no zstd"))

describe("a frame of Zstandard", { skip: zstd === undefined }, () => {
  test("is whole with all of its bytes, and with no byte less or more", async () => {
    const message = fc.oneof(
      fc.uint8Array(),
      fc.nat(600_000).map((length) => new Uint8Array(length)),
    )
    await fc.assert(
      fc.asyncProperty(message, fc.nat(), async (bytes, at) => {
        const whole = await frame(bytes)
        assert.ok(isWholeFrame(whole))
        assert.ok(!isWholeFrame(whole.subarray(0, at % whole.length)))
        assert.ok(!isWholeFrame(new Uint8Array([...whole, 0])))
        assert.ok(!isWholeFrame(new Uint8Array([...whole, ...whole])))
      }),
      { numRuns: 50 },
    )
  })

  test("may have a checksum, a window and several blocks", () => {
    const header = [0x28, 0xb5, 0x2f, 0xfd]
    // A window and a checksum; a raw block of two bytes, then the last, of 300 times the same byte.
    const bytes = [...header, 0x04, 0x58, 0x10, 0, 0, 1, 2, 0x63, 0x09, 0, 7, 0xaa, 0xbb, 0xcc, 0xdd]
    assert.ok(isWholeFrame(Uint8Array.from(bytes)))
    for (let length = 0; length < bytes.length; length++)
      assert.ok(!isWholeFrame(Uint8Array.from(bytes.slice(0, length))))
  })
})
