import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import { errorCode, flag, frameType } from "../../../src/transport/http2/frames.ts"
import { defaultLimits } from "../../../src/transport/http2/limits.ts"
import { frame } from "../support.ts"
import {
  block,
  data,
  fields,
  headers,
  longHeaders,
  ping,
  requestFields,
  rstStream,
  settings,
  uint32,
  type Victim,
  victim,
  windowUpdate,
} from "./support.ts"

const empty = Buffer.alloc(0)
const times = (count: number, make: (index: number) => Uint8Array): Buffer =>
  Buffer.concat(Array.from({ length: count }, (_, i) => make(i)))

/** The connection goes on: a new call is taken. */
const goesOn = ({ send, ended, failures }: Victim, id: number) => {
  send(headers(id, true))
  assert.deepEqual(failures, [])
  assert.ok(ended.includes(id), `stream ${id} was not taken`)
}

/** The connection has ended, and said why. */
const endsWith = ({ connection, goaway, failures, send, sent }: Victim, code: number) => {
  assert.equal(goaway(), code)
  assert.deepEqual(failures, [code])
  assert.ok(connection.over)
  assert.equal(connection.openStreams, 0)
  const { length } = sent
  send(ping)
  assert.equal(sent.length, length, "what comes after the end is not read")
}

describe("maxConcurrentStreams", () => {
  test("is announced, and one stream more is refused, until one of them has ended", () => {
    const server = victim({ maxConcurrentStreams: 2 })
    const [announced] = server.sent
    assert.ok(announced?.payload.includes(Buffer.of(0, 3, 0, 0, 0, 2)))
    server.send(headers(1), headers(3), headers(5), headers(7))
    assert.equal(server.connection.openStreams, 2)
    assert.deepEqual([5, 7].map(server.resets), [[errorCode.refusedStream], [errorCode.refusedStream]])
    // What the client had under way for it is no fault of its own.
    server.send(data(5, Buffer.alloc(100)), headers(5, true), windowUpdate(5, 1), rstStream(5))
    server.send(rstStream(1))
    goesOn(server, 9)
  })

  test("counts a stream until its answer has ended, too", () => {
    const server = victim({ maxConcurrentStreams: 1 })
    server.send(headers(1, true), headers(3, true))
    assert.deepEqual(server.resets(3), [errorCode.refusedStream])
    server.connection.sendHeaders(server.stream(1), fields({ ":status": "200" }), true)
    goesOn(server, 5)
  })
})

describe("maxHeaderListSize", () => {
  const long = (size: number) => headers(1, false, block([...requestFields, { name: "x", value: "v".repeat(size) }]))

  test("is told to who asks for more, on the stream alone", () => {
    let tooLong = 0
    const server = victim(
      { maxHeaderListSize: 1000 },
      {
        headTooLong: (stream) => {
          tooLong += 1
          server.connection.sendHeaders(stream, fields({ ":status": "431" }), true)
        },
      },
    )
    server.send(long(1000))
    assert.equal(tooLong, 1)
    assert.equal(server.sent.filter(({ type }) => type === frameType.headers).length, 1)
    goesOn(server, 3)
  })

  test("counts 32 bytes a field, so that many empty ones are over it as well", () => {
    let tooLong = 0
    const server = victim({ maxHeaderListSize: 1000 }, { headTooLong: () => (tooLong += 1) })
    server.send(headers(1, true, Buffer.concat([block(requestFields), times(30, () => block(fields({ x: "" })))])))
    assert.equal(tooLong, 1)
  })

  test("holds for what a small block makes of the table: an HPACK bomb is counted, not built", () => {
    let tooLong = 0
    const server = victim({}, { headTooLong: () => (tooLong += 1) })
    // A field of 4 KB enters the table, and 4,000 single bytes name it: 16 MB of headers in 8 KB.
    const large = Buffer.concat([
      Buffer.of(0x40, 1, 0x78, 0x7f, 0x80 | (3800 & 0x7f), 3800 >> 7),
      Buffer.alloc(3800 + 127, "v"),
    ])
    server.send(headers(1, true, Buffer.concat([block(requestFields), large, Buffer.alloc(4000, 0xbe)])))
    assert.deepEqual(server.failures, [])
    assert.equal(tooLong, 1)
    goesOn(server, 3)
  })
})

describe("a head that is larger than the limit, in many frames", () => {
  const entering = Buffer.of(0x40, 1, 0x61, 1, 0x62)
  /** A head of so many bytes, of which the last field enters the table. */
  const large = (streamId: number, size: number, end = false): Buffer => {
    const value = Buffer.alloc(size, "v")
    const length = Buffer.of(
      0x7f,
      0x80 | ((size - 127) & 0x7f),
      0x80 | (((size - 127) >> 7) & 0x7f),
      (size - 127) >> 14,
    )
    return longHeaders(
      streamId,
      end,
      Buffer.concat([block(requestFields), Buffer.of(0, 1, 0x78), length, value, entering]),
    )
  }

  test("ends its own call, and no other: the tables are in step behind it", () => {
    let tooLong = 0
    const seen: Array<unknown> = []
    const server = victim(
      {},
      {
        headTooLong: (stream) => {
          tooLong += 1
          server.connection.sendHeaders(stream, fields({ ":status": "431" }), true)
        },
        head: (_, head) => seen.push(head.fields),
      },
    )
    server.send(headers(1))
    for (const [i, size] of [70_000, 300_000, 1_000_000].entries()) {
      const id = 2 * i + 3
      server.send(large(id, size))
      assert.equal(tooLong, i + 1)
      assert.deepEqual(server.resets(id), [errorCode.noError])
    }
    server.send(headers(9, true, Buffer.concat([block(requestFields), Buffer.of(0xbe)])))
    assert.deepEqual(seen.at(-1), fields({ a: "b" }))
    server.send(data(1, Buffer.of(1), true))
    assert.deepEqual(server.ended, [9, 1])
    assert.deepEqual(server.failures, [])
  })

  test("is decoded too where nobody wants it", () => {
    const server = victim({ maxConcurrentStreams: 1 })
    server.send(headers(1), large(3, 100_000, true))
    assert.deepEqual(server.resets(3), [errorCode.refusedStream])
    server.send(rstStream(1), headers(5, true, Buffer.concat([block(requestFields), Buffer.of(0xbe)])))
    assert.deepEqual(server.ended, [5])
  })
})

describe("maxDroppedHeaderBytes", () => {
  const limits = { maxHeaderListSize: 1000, maxDroppedHeaderBytes: 20_000, maxDroppedHeaderBytesPerSecond: 5000 }
  const payload = block([...requestFields, { name: "x", value: "v".repeat(5000) }])
  const most = Math.floor(20_000 / payload.length)

  test("ends the connection of who floods it with heads that are too large", () => {
    const server = victim(limits, { headTooLong: (stream) => server.connection.reset(stream, errorCode.cancel) })
    for (let i = 0; i < most; i++) server.send(headers(2 * i + 1, true, payload))
    assert.deepEqual(server.failures, [])
    server.send(headers(2 * most + 1, true, payload))
    endsWith(server, errorCode.enhanceYourCalm)
  })

  test("bears them now and then for ever", () => {
    const server = victim(limits, { headTooLong: (stream) => server.connection.reset(stream, errorCode.cancel) })
    for (let i = 0; i < 100; i++) {
      server.clock.now += 2000
      server.send(headers(2 * i + 1, true, payload))
    }
    goesOn(server, 201)
  })
})

describe("maxHeaderBlockSize", () => {
  test("ends the connection of who goes over it with CONTINUATION frames", () => {
    const server = victim({ maxHeaderBlockSize: 20_000 })
    server.send(
      frame(frameType.headers, 0, 1, Buffer.alloc(16_384)),
      frame(frameType.continuation, 0, 1, Buffer.alloc(3616)),
    )
    assert.deepEqual(server.failures, [])
    server.send(frame(frameType.continuation, 0, 1, Buffer.alloc(1)))
    endsWith(server, errorCode.enhanceYourCalm)
  })
})

describe("maxContinuations", () => {
  for (const [what, piece] of [
    ["empty", empty],
    ["small", Buffer.alloc(1, 0x82)],
  ] as const) {
    test(`ends the connection of who sends ${what} CONTINUATION frames for ever`, () => {
      const server = victim({ maxContinuations: 8 })
      server.send(
        frame(frameType.headers, 0, 1, empty),
        times(8, () => frame(frameType.continuation, 0, 1, piece)),
      )
      assert.deepEqual(server.failures, [])
      server.send(frame(frameType.continuation, 0, 1, piece))
      endsWith(server, errorCode.enhanceYourCalm)
    })
  }

  test("lets a request through that is cut as finely as that", () => {
    const server = victim({ maxContinuations: 8 })
    const whole = block(requestFields)
    const at = (i: number) => whole.subarray(i, i === 8 ? whole.length : i + 1)
    server.send(frame(frameType.headers, flag.endStream, 1, at(0)))
    for (let i = 1; i < 9; i++) server.send(frame(frameType.continuation, i === 8 ? flag.endHeaders : 0, 1, at(i)))
    assert.deepEqual(server.ended, [1])
  })
})

describe("maxResets", () => {
  const limits = { maxResets: 10, maxResetsPerSecond: 5 }
  const status200 = fields({ ":status": "200" })

  test("ends the connection of who opens streams only to reset them (CVE-2023-44487)", () => {
    const server = victim(limits)
    for (let id = 1; id <= 19; id += 2) server.send(headers(id), rstStream(id))
    assert.deepEqual(server.failures, [])
    server.send(headers(21), rstStream(21))
    endsWith(server, errorCode.enhanceYourCalm)
  })

  test("bears who resets streams as seldom as that for ever", () => {
    const server = victim(limits)
    for (let id = 1; id < 1001; id += 2) {
      server.clock.now += 200
      server.send(headers(id), rstStream(id))
    }
    goesOn(server, 1001)
  })

  test("doesn't count a stream that is reset once its response has begun to leave: its client wants no more of it", () => {
    const server = victim(limits)
    for (let id = 1; id < 2001; id += 2) {
      server.send(headers(id, true))
      server.connection.sendHeaders(server.stream(id), status200, false)
      server.flush()
      server.send(rstStream(id))
    }
    goesOn(server, 2001)
  })

  test("counts a stream whose response can't have left, though it has begun, or only says to go on", () => {
    for (const status of ["200", "100"]) {
      const begun = victim(limits, {
        head: (stream) => begun.connection.sendHeaders(stream, fields({ ":status": status }), false),
      })
      for (let id = 1; id <= 19; id += 2) begun.send(Buffer.concat([headers(id), rstStream(id)]))
      assert.deepEqual(begun.failures, [])
      begun.send(Buffer.concat([headers(21), rstStream(21)]))
      endsWith(begun, errorCode.enhanceYourCalm)
    }
    const told = victim(limits)
    for (let id = 1; id <= 21; id += 2) {
      told.send(headers(id))
      told.connection.sendHeaders(told.stream(id), fields({ ":status": "100" }), false)
      told.flush()
      told.send(rstStream(id))
    }
    endsWith(told, errorCode.enhanceYourCalm)
  })

  test("doesn't count a stream that has waited for its response, as one with a deadline does", () => {
    const server = victim({ ...limits, maxResetsPerSecond: 0 })
    for (let id = 1; id < 1001; id += 2) {
      server.send(headers(id))
      server.clock.now += 50
      server.send(rstStream(id))
    }
    goesOn(server, 1001)
  })

  test("is made up for by streams whose responses are whole, one for one: losers of a race are no attack", () => {
    const server = victim({ ...limits, maxResetsPerSecond: 0 })
    for (let id = 1; id < 2001; id += 4) {
      server.send(headers(id, true), headers(id + 2), rstStream(id + 2))
      server.connection.sendHeaders(server.stream(id), status200, true)
      server.flush()
    }
    goesOn(server, 2001)
    for (let id = 2003; id <= 2023; id += 2) server.send(headers(id), rstStream(id))
    endsWith(server, errorCode.enhanceYourCalm)
  })

  test("counts streams that are refused", () => {
    const server = victim({ ...limits, maxConcurrentStreams: 0 })
    server.send(times(11, (i) => headers(2 * i + 1)))
    endsWith(server, errorCode.enhanceYourCalm)
  })

  // What makes a server reset streams by itself, at no cost for who does it.
  const provocations: Readonly<Record<string, { code: number; with: (id: number) => Uint8Array }>> = {
    "a window update of nothing": { code: errorCode.protocolError, with: (id) => windowUpdate(id, 0) },
    "a window opened too far": { code: errorCode.flowControlError, with: (id) => windowUpdate(id, 0x7fff_ffff) },
    "data behind the end": { code: errorCode.streamClosed, with: (id) => data(id, Buffer.of(1)) },
    "headers behind the end": { code: errorCode.streamClosed, with: (id) => headers(id, true) },
    "a stream that depends on itself": {
      code: errorCode.protocolError,
      with: (id) => frame(frameType.priority, 0, id, Buffer.concat([uint32(id), Buffer.of(1)])),
    },
    "a priority of the wrong length": {
      code: errorCode.frameSizeError,
      with: (id) => frame(frameType.priority, 0, id, Buffer.of(1)),
    },
  }
  for (const [what, { code, with: provoke }] of Object.entries(provocations)) {
    test(`counts streams that the server is made to reset: ${what} (CVE-2025-8671)`, () => {
      const server = victim(limits)
      for (let id = 1; id <= 19; id += 2) {
        server.send(headers(id, true), provoke(id))
        assert.deepEqual(server.resets(id), [code])
        assert.equal(server.connection.openStreams, 0)
      }
      assert.deepEqual(server.failures, [])
      server.send(headers(21, true), provoke(21))
      endsWith(server, errorCode.enhanceYourCalm)
    })
  }

  test("counts malformed requests", () => {
    const server = victim(limits)
    server.send(times(10, (i) => headers(2 * i + 1, true, block(fields({ ":method": "POST" })))))
    assert.deepEqual(server.resets(19), [errorCode.protocolError])
    server.send(headers(21, true, block(fields({ ":method": "POST" }))))
    endsWith(server, errorCode.enhanceYourCalm)
  })
})

describe("maxIdleFrames", () => {
  const limits = { maxIdleFrames: 20, maxIdleFramesPerSecond: 10 }
  const floods: Readonly<Record<string, Uint8Array>> = {
    PING: ping,
    "PING answers": frame(frameType.ping, flag.ack, 0, Buffer.alloc(8)),
    SETTINGS: settings([4, 1000]),
    "SETTINGS answers": frame(frameType.settings, flag.ack, 0, empty),
    "empty DATA": data(1, empty),
    "DATA that is all padding": frame(frameType.data, flag.padded, 1, Buffer.alloc(256, 255)),
    PRIORITY: frame(frameType.priority, 0, 9, Buffer.alloc(5)),
    "WINDOW_UPDATE of the connection": windowUpdate(0, 1),
    "WINDOW_UPDATE of a stream": windowUpdate(1, 1),
    "WINDOW_UPDATE of a closed stream": windowUpdate(3, 1),
    "RST_STREAM of a closed stream": rstStream(3),
    GOAWAY: frame(frameType.goaway, 0, 0, Buffer.alloc(8)),
    "unknown frames": frame(0xfa, 0xff, 0, empty),
  }
  const attacked = () => {
    const server = victim(limits)
    server.send(headers(1), headers(3), rstStream(3))
    return server
  }
  for (const [what, flood] of Object.entries(floods)) {
    test(`ends the connection of who floods it with ${what}`, () => {
      const server = attacked()
      server.send(times(20, () => flood))
      assert.deepEqual(server.failures, [])
      server.send(flood)
      endsWith(server, errorCode.enhanceYourCalm)
    })

    test(`bears ${what} among what is of use`, () => {
      const server = attacked()
      for (let i = 0; i < 10; i++)
        server.send(
          times(8, () => flood),
          data(1, Buffer.of(1)),
        )
      goesOn(server, 5)
    })

    test(`ends the connection of who hides ${what} among single bytes`, () => {
      const server = attacked()
      for (let i = 0; i < 10; i++)
        server.send(
          times(15, () => flood),
          data(1, Buffer.of(1)),
        )
      endsWith(server, errorCode.enhanceYourCalm)
    })

    test(`bears ${what} now and then for ever, with nothing of use in between`, () => {
      const server = attacked()
      for (let i = 0; i < 200; i++) {
        server.clock.now += 100
        server.send(flood)
      }
      goesOn(server, 5)
    })
  }

  test("ends the connection of who sends 900 PINGs and a byte over and over, be it for a stream that was reset", () => {
    for (const id of [1, 3]) {
      const server = victim()
      server.send(headers(1), headers(3))
      server.connection.reset(server.stream(3), errorCode.cancel)
      let rounds = 0
      for (; rounds < 200 && !server.connection.over; rounds++)
        server.send(
          times(900, () => ping),
          data(id, Buffer.of(1)),
        )
      assert.equal(rounds, 2)
      endsWith(server, errorCode.enhanceYourCalm)
    }
  })

  test("isn't made up for by data or headers that nobody wants", () => {
    const unwanted = [data(3, Buffer.alloc(16_384)), headers(3, true)]
    for (const one of unwanted) {
      const server = victim(limits)
      server.send(headers(3))
      server.connection.reset(server.stream(3), errorCode.cancel)
      server.send(
        times(20, () => ping),
        one,
      )
      assert.deepEqual(server.failures, [])
      server.send(ping)
      endsWith(server, errorCode.enhanceYourCalm)
    }
  })

  test("is made up for by the bytes of data", () => {
    const server = attacked()
    for (let i = 0; i < 3; i++)
      server.send(
        times(20, () => ping),
        data(1, Buffer.alloc(16_384)),
      )
    goesOn(server, 5)
  })

  test("lets a client open its windows as often as it likes, as long as it is sent something", () => {
    const server = attacked()
    for (let i = 0; i < 100; i++) {
      server.connection.sendData(server.stream(1), Buffer.alloc(100))
      server.send(windowUpdate(0, 50), windowUpdate(1, 50), windowUpdate(0, 50), windowUpdate(1, 50), ping)
    }
    assert.equal(server.body(1).length, 10_000)
    goesOn(server, 5)
  })
})

describe("streamWindow and connectionWindow", () => {
  const small = { streamWindow: 65_535, connectionWindow: 150_000 }
  const full = Buffer.alloc(16_384)

  test("reset the stream alone that goes over its own", () => {
    const server = victim(small)
    server.send(headers(1), headers(3), data(1, full), data(1, full), data(1, full), data(1, full.subarray(1)))
    assert.deepEqual(server.resets(1), [])
    server.send(data(1, Buffer.of(1)))
    assert.deepEqual(server.resets(1), [errorCode.flowControlError])
    server.send(data(3, full))
    goesOn(server, 5)
  })

  test("wait for nobody on the connection, where those of streams wait for their programs", () => {
    const server = victim(small)
    const opened = (id: number) =>
      server.sent
        .filter(({ type, streamId }) => type === frameType.windowUpdate && streamId === id)
        .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0)
    const before = opened(0)
    for (let id = 1; id < 21; id += 2) server.send(headers(id), data(id, full), data(id, full), data(id, full))
    const sent = 10 * 3 * full.length
    assert.ok(opened(0) - before > sent - small.connectionWindow, `${opened(0)} of ${sent} bytes were given back`)
    for (let id = 1; id < 21; id += 2) assert.equal(opened(id), 0)
    goesOn(server, 21)
  })

  test("of a stream begins with 64 KiB, and grows while its program takes what comes, up to its limit", () => {
    const eager = victim({}, { data: (stream, _, start, end) => eager.connection.taken(stream, end - start) })
    const window = (server: Victim) =>
      server.sent
        .filter(({ type, streamId }) => type === frameType.windowUpdate && streamId === 1)
        .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 65_536)
    eager.send(headers(1))
    let sent = 0
    for (; sent < 4 * 2 ** 20; sent += full.length) eager.send(data(1, full))
    assert.equal(window(eager) - sent, 2 ** 20)
    // A program that takes its time needs no larger one.
    const slow = victim({}, { data: (stream, _, start, end) => slow.connection.taken(stream, end - start) })
    slow.send(headers(1))
    for (sent = 0; sent < 4 * 2 ** 20; sent += full.length) {
      slow.clock.now += 200
      slow.send(data(1, full))
    }
    assert.equal(window(slow) - sent, 65_536)
  })

  test("count padding, which nobody takes in, and give it back", () => {
    const server = victim(small, { data: (stream, _, start, end) => server.connection.taken(stream, end - start) })
    const padded = frame(frameType.data, flag.padded, 1, Buffer.concat([Buffer.of(255), Buffer.alloc(256)]))
    server.send(headers(1))
    for (let i = 0; i < 2000; i++) server.send(padded)
    assert.deepEqual(server.resets(1), [])
    goesOn(server, 3)
  })

  test("get back at once what nobody will take in", () => {
    const server = victim(small)
    for (let id = 1; id < 80; id += 2) server.send(headers(id, true), data(id, full), data(id, full))
    assert.deepEqual(server.resets(79), [errorCode.streamClosed])
    goesOn(server, 81)
  })

  test("are never announced as less than what a client may count on anyway", () => {
    const server = victim({ streamWindow: 1, connectionWindow: 1 })
    assert.ok(server.sent.every(({ type }) => type !== frameType.windowUpdate))
    server.send(headers(1), data(1, full))
    goesOn(server, 3)
  })
})

describe("maxOutput", () => {
  const body = Buffer.alloc(1_000_000, "x")

  test("bounds what waits for a peer that opens no window: the rest stays with its stream", () => {
    const server = victim()
    server.send(settings([4, 0]), headers(1, true), headers(3, true))
    const stream = server.stream(1)
    server.connection.sendHeaders(stream, fields({ ":status": "200" }), false)
    assert.equal(server.connection.sendData(stream, body), false, "who writes is told to wait")
    server.flush()
    assert.equal(server.body(1).length, 0)
    server.connection.sendHeaders(server.stream(3), fields({ ":status": "200" }), true)
    server.flush()
    assert.ok(server.sent.some(({ type, streamId }) => type === frameType.headers && streamId === 3))
    // A reset frees what waited.
    server.send(rstStream(1))
    assert.equal(stream.pending.length, 0)
    goesOn(server, 5)
  })

  test("bounds what waits for the socket, whatever frame size the peer asks for", () => {
    const server = victim({ maxOutput: 50_000 })
    server.send(settings([4, 0x7fff_ffff], [5, 16_777_215]), windowUpdate(0, 0x7000_0000), headers(1, true))
    server.connection.sendData(server.stream(1), body)
    assert.ok(server.connection.take().length < 50_000 + 65_536 + 100)
  })

  test("says when to read no more from a peer that doesn't read its answers", () => {
    const { connection } = victim({ maxOutput: 1000 })
    for (let i = 0; i < 200 && !connection.congested; i++) connection.receive(ping)
    assert.ok(connection.congested)
    connection.take()
    assert.ok(!connection.congested)
  })
})

describe("maxOutput, twice", () => {
  test("is as much as a peer that waits for no answers may have made of its calls: further ones are refused", () => {
    const answer = [...fields({ ":status": "200" }), { name: "x", value: "x".repeat(500), sensitive: true }]
    const server = victim(
      { maxOutput: 1000 },
      { head: (stream) => server.connection.sendHeaders(stream, answer, true) },
    )
    const calls = times(1000, (i) => headers(2 * i + 1, true))
    server.connection.receive(calls)
    assert.ok(server.connection.take().length < 2000 + 600 + 1000 * 13)
    // What was sent is out of the way.
    server.send(headers(2001, true), headers(2003, true))
    assert.deepEqual([2001, 2003].flatMap(server.resets), [])
    assert.deepEqual(server.failures, [])
  })
})

describe("the defaults", () => {
  test("are bounds, every one of them", () => {
    for (const [name, limit] of Object.entries(defaultLimits)) assert.ok(limit > 0 && limit < 1e8, name)
  })
})
