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

  test("of streams that were reset are remembered, the latest 4096 of them", () => {
    const ids = new StreamIds("server")
    assert.ok(!ids.wasReset(1))
    for (let i = 0; i < 4096; i++) ids.remember(2 * i + 1)
    assert.ok(ids.wasReset(1) && ids.wasReset(8191))
    ids.remember(8193)
    assert.deepEqual(
      [1, 3, 8193].map((id) => ids.wasReset(id)),
      [false, true, true],
    )
  })
})
