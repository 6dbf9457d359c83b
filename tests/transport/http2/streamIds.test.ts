import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { StreamIds } from "../../../src/transport/http2/streamIds.ts"

describe("stream ids", () => {
  for (const [role, own, peers] of [
    ["server", [2, 4, 6], [1, 3, 5]],
    ["client", [1, 3, 5], [2, 4, 6]],
  ] as const) {
    test(`are opened in order by a ${role}, and are idle until then`, () => {
      const ids = new StreamIds(role)
      for (const id of own) {
        assert.ok(ids.isIdle(id))
        assert.ok(!ids.isNew(id))
        assert.equal(ids.open(), id)
        assert.ok(!ids.isIdle(id))
      }
    })

    test(`are opened in order by the peer of a ${role}, and those that it left out are then closed`, () => {
      const ids = new StreamIds(role)
      const [first, second, third] = peers
      for (const id of peers) assert.ok(ids.isNew(id) && ids.isIdle(id))
      ids.lastOfPeer = second
      for (const id of [first, second]) assert.ok(!ids.isNew(id) && !ids.isIdle(id))
      assert.ok(ids.isNew(third) && ids.isIdle(third))
      assert.ok(!ids.isNew(own[0]) && ids.isIdle(own[0]))
    })
  }

  test("end with the largest there is", () => {
    const ids = new StreamIds("client")
    assert.ok(!ids.exhausted)
    ;(ids as unknown as { nextOwn: number }).nextOwn = 0x7fff_ffff
    assert.ok(!ids.exhausted)
    assert.equal(ids.open(), 0x7fff_ffff)
    assert.ok(ids.exhausted)
  })

  test("of streams that were reset are remembered; of those before the latest 4096 only how far they went", () => {
    const ids = new StreamIds("server")
    assert.ok(!ids.mayBeReset(1))
    for (let i = 1; i <= 4096; i++) ids.remember(4 * i + 1)
    const were = (...all: ReadonlyArray<number>) => all.map((id) => ids.mayBeReset(id))
    assert.deepEqual(were(3, 5, 7, 9, 16_385), [false, true, false, true, true])
    ids.remember(16_389)
    assert.deepEqual(were(3, 5, 7, 9, 11, 16_385, 16_389, 16_391), [true, true, false, true, false, true, true, false])
  })
})
