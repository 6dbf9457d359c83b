import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import { ConnectionError, errorCode, flag } from "../../../src/transport/http2/frames.ts"
import { HeaderBlock } from "../../../src/transport/http2/headerBlock.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import { uint32 } from "./support.ts"

const nobody = { skim: () => assert.fail("the block is small") }
const newBlock = () => new HeaderBlock(limitsOf({ maxHeaderBlockSize: 10, maxContinuations: 3 }), nobody)

/** Puts a payload in the middle of a socket's bytes, and gives it to a block as a frame. */
const begin = (block: HeaderBlock, flags: number, streamId: number, ...payload: ReadonlyArray<number>) => {
  const bytes = Uint8Array.of(0xff, 0xff, ...payload, 0xff)
  return { bytes, whole: block.begin(flags, streamId, bytes, 2, bytes.length - 1) }
}
const goOn = (block: HeaderBlock, flags: number, ...payload: ReadonlyArray<number>) => {
  const bytes = Uint8Array.of(0xff, ...payload, 0xff)
  return block.goOn(flags, bytes, 1, bytes.length - 1)
}
const inside = ({ start, end }: HeaderBlock, whole: Uint8Array | undefined) => [...(whole ?? []).slice(start, end)]

const fails = (code: number, run: () => unknown) =>
  assert.throws(run, (error) => error instanceof ConnectionError && error.code === code)

const { endHeaders, endStream, padded, priority } = flag

describe("a header block", () => {
  test("of one frame stays in the bytes that it came in", () => {
    const block = newBlock()
    const { bytes, whole } = begin(block, endHeaders | endStream, 5, 1, 2, 3)
    assert.equal(whole, bytes)
    assert.deepEqual(inside(block, whole), [1, 2, 3])
    assert.deepEqual([block.streamId, block.endStream, block.open], [5, true, false])
    assert.deepEqual(inside(block, begin(block, endHeaders, 7).whole), [])
    assert.deepEqual([block.streamId, block.endStream], [7, false])
  })

  test("is put together out of several, and is whole with the last", () => {
    const block = newBlock()
    for (let again = 0; again < 2; again++) {
      assert.equal(begin(block, endStream, 5, 1, 2).whole, undefined)
      assert.ok(block.open)
      assert.equal(goOn(block, 0, 3), undefined)
      assert.equal(goOn(block, 0), undefined)
      assert.deepEqual(inside(block, goOn(block, endHeaders, 4, 5)), [1, 2, 3, 4, 5])
      assert.deepEqual([block.streamId, block.endStream, block.open], [5, true, false])
    }
  })

  test("is told from padding and priority, in any frame that begins one", () => {
    const depends = [...uint32(3), 0]
    for (const [flags, payload] of [
      [padded, [2, 8, 9, 0, 0]],
      [priority, [...depends, 8, 9]],
      [padded | priority, [1, ...depends, 8, 9, 0]],
    ] as const) {
      const block = newBlock()
      assert.deepEqual(inside(block, begin(block, flags | endHeaders, 1, ...payload).whole), [8, 9])
      assert.equal(begin(block, flags, 1, ...payload).whole, undefined)
      assert.deepEqual(inside(block, goOn(block, endHeaders, 10)), [8, 9, 10])
      assert.ok(!block.dependsOnItself)
    }
  })

  test("may be padded so far that nothing is left of it, and no further", () => {
    const block = newBlock()
    assert.deepEqual(inside(block, begin(block, padded | endHeaders, 1, 2, 0, 0).whole), [])
    fails(errorCode.protocolError, () => begin(block, padded | endHeaders, 1, 3, 0, 0))
    fails(errorCode.frameSizeError, () => begin(block, padded | endHeaders, 1))
    fails(errorCode.frameSizeError, () => begin(block, priority | endHeaders, 1, 0, 0, 0, 3))
  })

  test("says that its stream depends on itself, until the next one begins", () => {
    const block = newBlock()
    begin(block, priority, 5, ...uint32(0x8000_0005), 0)
    assert.ok(block.dependsOnItself)
    goOn(block, endHeaders)
    assert.ok(block.dependsOnItself)
    begin(block, endHeaders, 7)
    assert.ok(!block.dependsOnItself)
  })

  test("is on a stream, and continues one", () => {
    const block = newBlock()
    fails(errorCode.protocolError, () => begin(block, endHeaders, 0))
    fails(errorCode.protocolError, () => goOn(block, endHeaders))
    begin(block, endHeaders, 1)
    fails(errorCode.protocolError, () => goOn(block, endHeaders))
  })

  test("has no more bytes and frames than its limits, which those of one frame that the reader took don't concern", () => {
    const ten = Buffer.alloc(10)
    const block = newBlock()
    assert.equal(begin(block, endHeaders, 1, ...ten, 0).whole?.length, 14)
    fails(errorCode.enhanceYourCalm, () => begin(block, 0, 1, ...ten, 0))
    begin(block, 0, 1, ...ten)
    assert.equal(inside(block, goOn(block, endHeaders)).length, 10)
    begin(block, 0, 1, ...ten)
    fails(errorCode.enhanceYourCalm, () => goOn(block, endHeaders, 0))
    const fine = newBlock()
    begin(fine, 0, 1)
    for (let i = 0; i < 3; i++) goOn(fine, 0, i)
    fails(errorCode.enhanceYourCalm, () => goOn(fine, endHeaders))
  })

  test("is skimmed once it outgrows the list that is taken, with what there was of it first", () => {
    const parts: Array<ReadonlyArray<number>> = []
    const skim = (bytes: Uint8Array, start: number, end: number) => parts.push([...bytes.subarray(start, end)])
    const limits = limitsOf({ maxHeaderListSize: 3, maxHeaderBlockSize: 6, maxContinuations: 3 })
    const block = new HeaderBlock(limits, { skim })
    begin(block, 0, 1, 1, 2)
    goOn(block, 0, 3)
    assert.deepEqual(parts, [])
    goOn(block, 0, 4)
    assert.deepEqual(inside(block, goOn(block, endHeaders, 5, 6)), [])
    assert.deepEqual(parts, [[1, 2, 3], [4], [5, 6]])
    assert.deepEqual([block.skimmed, block.size, block.open], [true, 6, false])
    assert.deepEqual(inside(block, begin(block, endHeaders, 3, 7).whole), [7])
    assert.ok(!block.skimmed)
    begin(block, 0, 1, 1, 2, 3, 4, 5)
    fails(errorCode.enhanceYourCalm, () => goOn(block, endHeaders, 6, 7))
  })
})
