import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { event, illegal, next, state } from "../../../src/transport/http2/states.ts"
import { ReceiveWindow, SendWindow } from "../../../src/transport/http2/windows.ts"

/** The arrows of the figure in RFC 9113, section 5.1, but for the reserved states; what isn't here is not allowed. */
const figure = {
  idle: { sendHeaders: "open", receiveHeaders: "open" },
  open: {
    // Trailers, or a response after the informational ones.
    sendHeaders: "open",
    receiveHeaders: "open",
    sendEnd: "halfClosedLocal",
    receiveEnd: "halfClosedRemote",
    reset: "closed",
  },
  halfClosedLocal: { receiveHeaders: "halfClosedLocal", receiveEnd: "closed", reset: "closed" },
  halfClosedRemote: { sendHeaders: "halfClosedRemote", sendEnd: "closed", reset: "closed" },
  closed: { reset: "closed" },
} as const satisfies Record<keyof typeof state, Partial<Record<keyof typeof event, keyof typeof state>>>

describe("a stream's states", () => {
  for (const [from, arrows] of Object.entries(figure)) {
    test(`from ${from} are those of RFC 9113, and no others`, () => {
      for (const [name, on] of Object.entries(event)) {
        const to = Object.entries(arrows).find(([arrow]) => arrow === name)?.[1]
        assert.equal(next(state[from as keyof typeof state], on), to === undefined ? illegal : state[to], name)
      }
    })
  }
})

describe("a send window", () => {
  test("may become as large as 2³¹ − 1 and no larger, and may be negative", () => {
    const window = new SendWindow(100)
    assert.ok(window.open(-300))
    assert.equal(window.size, -200)
    assert.ok(window.open(0x7fff_ffff + 200))
    assert.ok(!window.open(1))
  })
})

describe("a receive window", () => {
  test("bears what it was opened for, to the byte", () => {
    const window = new ReceiveWindow(10)
    assert.deepEqual(
      [window.receive(9), window.receive(1), window.receive(0), window.receive(1)],
      [true, true, true, false],
    )
  })

  test("is opened again by all that was taken in, once that is half of it", () => {
    const window = new ReceiveWindow(10)
    assert.ok(window.receive(10))
    assert.deepEqual([window.take(4), window.take(2), window.take(4), window.take(0)], [0, 6, 0, 0])
    assert.ok(window.receive(6))
    assert.ok(!window.receive(1))
  })
})
