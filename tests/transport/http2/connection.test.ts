import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import { Connection } from "../../../src/transport/http2/connection.ts"
import { errorCode, flag, frameType } from "../../../src/transport/http2/frames.ts"
import type { Field } from "../../../src/transport/http2/hpack.ts"
import { limitsOf } from "../../../src/transport/http2/limits.ts"
import type { Stream } from "../../../src/transport/http2/stream.ts"
import { frame } from "../support.ts"
import {
  block,
  cut,
  data,
  eventsOf,
  type Frame,
  fields,
  frames,
  goaway,
  headers,
  hello,
  ping,
  requestFields,
  rstStream,
  settings,
  type Victim,
  victim,
  windowUpdate,
} from "./support.ts"

describe("a client", () => {
  test("opens no more than 100 streams before it knows how many its server takes", () => {
    const server = new Connection<never>(eventsOf<never>({}), {
      role: "server",
      limits: limitsOf({ maxConcurrentStreams: 102 }),
    })
    const client = new Connection<number>(eventsOf<number>({}), { role: "client" })
    const openAll = () => {
      let opened = 0
      while (client.open(requestFields, opened) !== undefined) opened++
      return opened
    }
    assert.equal(client.full, false)
    assert.equal(openAll(), 100)
    assert.equal(client.full, true)
    client.receive(server.take())
    assert.equal(client.full, false)
    assert.equal(openAll(), 2)
    assert.equal(client.full, true)
    const [first] = client.all()
    if (first !== undefined) client.reset(first, errorCode.cancel)
    assert.equal(client.full, false)
  })

  for (const [what, end] of [
    ["the last of its data", (client, stream) => client.sendLast(stream, Buffer.alloc(100_000))],
    [
      "an end that waits for data",
      (client, stream) => {
        client.sendData(stream, Buffer.alloc(100_000))
        client.sendEnd(stream)
      },
    ],
    ["its end", (client, stream) => client.sendEnd(stream)],
  ] as ReadonlyArray<readonly [string, (client: Connection<number>, stream: Stream<number>) => void]>) {
    test(`sends nothing behind ${what}, whoever asks for it`, () => {
      const client = new Connection<number>(eventsOf<number>({}), { role: "client" })
      client.receive(settings())
      const stream = client.open(requestFields, 0)
      assert.ok(stream)
      end(client, stream)
      const more = () => {
        assert.equal(client.sendData(stream, Buffer.from("more")), true)
        client.sendLast(stream, Buffer.from("more"))
        client.sendEnd(stream)
        client.sendEnd(stream, fields({ more: "1" }))
      }
      more()
      const sent: Array<Frame> = []
      const flush = () => {
        for (let bytes = client.take(); bytes.length > 0; bytes = client.take()) {
          sent.push(...frames(sent.length === 0 ? bytes.subarray(24) : bytes))
        }
      }
      flush()
      client.receive(Buffer.concat([windowUpdate(0, 100_000), windowUpdate(stream.id, 100_000)]))
      more()
      flush()
      const own = sent.filter(({ streamId }) => streamId === stream.id)
      assert.equal(own.filter(({ flags, type }) => type === frameType.data && (flags & flag.endStream) !== 0).length, 1)
      assert.equal((own.at(-1)?.flags ?? 0) & flag.endStream, flag.endStream)
      assert.ok(!own.some(({ payload }) => payload.includes("more")))
      // The server may answer still.
      assert.equal(stream.closed, false)
    })
  }

  /** A client with one call under way, and what it hears of it. */
  const asking = (method: string) => {
    const log: Array<string> = []
    const client: Connection<number> = new Connection<number>(
      eventsOf<number>({
        head: (_, head) => log.push(`head ${"status" in head ? head.status : ""}`),
        end: () => log.push("end"),
        reset: (_, code) => log.push(`reset ${code}`),
        failed: ({ code }) => log.push(`failed ${code}`),
      }),
      { role: "client" },
    )
    client.receive(settings())
    const stream = client.open([...fields({ ":method": method }), ...requestFields.slice(1)], 0)
    assert.ok(stream)
    client.sendEnd(stream)
    return { client, stream, log }
  }
  const answer = (status: string, length: string) => block(fields({ ":status": status, "content-length": length }))

  for (const [what, method, status, given, fits] of [
    ["all of it", "POST", "200", 5, true],
    ["less", "POST", "200", 4, false],
    ["more", "POST", "200", 6, false],
    ["nothing", "POST", "200", 0, false],
    ["nothing, as an answer to HEAD", "HEAD", "200", 0, true],
    ["nothing, since nothing has changed", "GET", "304", 0, true],
    ["what CONNECT has opened", "CONNECT", "200", 100, true],
  ] as const) {
    test(`${fits ? "takes" : "resets"} a response that says it has five bytes, and has ${what}`, () => {
      const body = [headers(1, false, answer(status, "5")), data(1, Buffer.alloc(given), true)]
      const head = [headers(1, true, answer(status, "5"))]
      for (const parts of given === 0 ? [body, head] : [body]) {
        const { client, log } = asking(method)
        client.receive(Buffer.concat(parts))
        assert.equal(log.at(-1), fits ? "end" : `reset ${errorCode.protocolError}`)
        assert.equal(client.openStreams, 0)
        assert.equal(client.over, false)
      }
    })
  }

  test("is told by no server that it may push to it", () => {
    for (const [first, later, wrong] of [
      [settings([2, 1]), [], true],
      [settings([2, 0]), [settings([2, 1])], true],
      [settings([2, 0]), [settings([2, 0]), settings([1, 0])], false],
      [settings(), [settings([2, 1])], true],
    ] as const) {
      const failures: Array<number> = []
      const client = new Connection<never>(eventsOf<never>({ failed: ({ code }) => failures.push(code) }), {
        role: "client",
      })
      client.receive(Buffer.concat([first, ...later]))
      assert.deepEqual(failures, wrong ? [errorCode.protocolError] : [])
    }
  })

  test("hears no end of a response that it has cut short at its head, and ends its request there if it likes", () => {
    for (const [act, heard] of [
      ["reset", []],
      ["abandon", ["reset"]],
      ["sendEnd", ["end"]],
      ["nothing", ["end"]],
    ] as const) {
      for (const whole of [true, false]) {
        const seen: Array<string> = []
        const client: Connection<number> = new Connection<number>(
          eventsOf<number>({
            head: (stream) => {
              if (act === "reset") client.reset(stream, errorCode.cancel)
              if (act === "abandon") client.abandon()
              if (act === "sendEnd") client.sendEnd(stream)
            },
            end: () => seen.push("end"),
            reset: () => seen.push("reset"),
          }),
          { role: "client" },
        )
        client.receive(settings())
        const stream = client.open(requestFields, 0)
        assert.ok(stream)
        if (whole) client.sendEnd(stream)
        client.receive(headers(1, true, block(fields({ ":status": "200" }))))
        assert.deepEqual(seen, heard)
      }
    }
  })

  test("opens no stream once the server takes no more, also when it hears so", () => {
    const opened: Array<Stream<number> | undefined> = []
    const client: Connection<number> = new Connection<number>(
      eventsOf<number>({ goaway: () => opened.push(client.open(requestFields, 0)) }),
      { role: "client" },
    )
    client.receive(Buffer.concat([settings(), goaway(0x7fff_ffff)]))
    opened.push(client.open(requestFields, 0))
    assert.deepEqual(opened, [undefined, undefined])
  })

  test("reads nothing any more once it is abandoned, not even the rest of a chunk", () => {
    const log: Array<string> = []
    const client: Connection<number> = new Connection<number>(
      eventsOf<number>({
        head: () => client.abandon(),
        data: () => log.push("data"),
        end: () => log.push("end"),
        failed: ({ message }) => log.push(message),
      }),
      { role: "client" },
    )
    client.receive(settings())
    client.open(requestFields, 0)
    const head = headers(1, false, block(fields({ ":status": "200" })))
    client.receive(Buffer.concat([head, data(1, Buffer.from("a")), data(9, Buffer.from("b")), ping]))
    assert.deepEqual(log, [])
  })

  test("tells why it fails before its streams end", () => {
    const log: Array<string> = []
    const client: Connection<number> = new Connection<number>(
      eventsOf<number>({
        failed: ({ message }) => log.push(`${message}, over: ${client.over}`),
        reset: (stream) => log.push(`reset ${stream.id}`),
      }),
      { role: "client" },
    )
    client.receive(settings())
    client.open(requestFields, 0)
    client.receive(data(2, Buffer.of(1)))
    assert.deepEqual(log, ["DATA is on an idle stream, over: true", "reset 1"])
  })
})

describe("a server's connection", () => {
  const types = (...all: ReadonlyArray<Uint8Array>) => {
    const server = victim()
    server.send(...all)
    return server
  }

  test("begins with its settings, and acknowledges those of the client", () => {
    const { sent } = victim()
    assert.deepEqual(
      sent.map(({ type, flags }) => [type, flags]),
      [
        [frameType.settings, 0],
        [frameType.windowUpdate, 0],
        [frameType.settings, flag.ack],
      ],
    )
  })

  test("shows the client that its table was as small as the client has said in between", () => {
    const server = victim(
      {},
      { head: (stream) => server.connection.sendHeaders(stream, fields({ ":status": "200" }), true) },
    )
    server.send(settings([1, 0], [1, 4096]), headers(1, true))
    const [answer] = server.sent.filter(({ type }) => type === frameType.headers)
    // Size 0, size 4096 (RFC 7541, section 6.3), and :status 200 out of the static table.
    assert.deepEqual([...(answer?.payload ?? [])], [0x20, 0x3f, 0xe1, 0x1f, 0x88])
  })

  test("knows what the client takes of header lists, and presumes 64 KiB where it says nothing or more", () => {
    const { connection, send } = victim()
    assert.equal(connection.maxHeaderListSize, 65_536)
    send(settings([6, 8192]))
    assert.equal(connection.maxHeaderListSize, 8192)
    send(settings([6, 1_000_000]))
    assert.equal(connection.maxHeaderListSize, 65_536)
  })

  const length = (value: string) => block([...requestFields, ...fields({ "content-length": value })])
  for (const [given, said, fits] of [
    [5, "5", true],
    [0, "0", true],
    [4, "5", false],
    [6, "5", false],
    [7, "5", false],
    [1, "0", false],
    [500, "5", false],
  ] as const) {
    test(`${fits ? "takes" : "resets"} a request of ${given} bytes that says it has ${said}`, () => {
      for (const parts of [1, 2]) {
        const server = victim()
        const body = Buffer.alloc(given, "x")
        const at = parts === 1 ? given : Math.min(given, Number(said))
        server.send(headers(1, false, length(said)), data(1, body.subarray(0, at)), data(1, body.subarray(at), true))
        assert.deepEqual(server.resets(1), fits ? [] : [errorCode.protocolError])
        assert.deepEqual(server.ended, fits ? [1] : [])
        assert.deepEqual(server.failures, [])
      }
    })
  }

  test("resets a request that says it has a body and ends with its head", () => {
    assert.deepEqual(types(headers(1, true, length("1"))).resets(1), [errorCode.protocolError])
  })

  test("gives trailers with the end", () => {
    const seen: Array<ReadonlyArray<Field>> = []
    const server = victim({}, { end: (_, trailers) => seen.push(trailers) })
    server.send(headers(1), data(1, Buffer.of(1)), headers(1, true, block(fields({ checksum: "1" }))))
    assert.deepEqual(
      seen.map((all) => all.map(({ name, value }) => [name, value])),
      [[["checksum", "1"]]],
    )
  })

  const wrong: Readonly<Record<string, readonly [code: number, ...frames: ReadonlyArray<Uint8Array>]>> = {
    "a frame before the settings": [errorCode.protocolError, ping],
    "DATA on stream 0": [errorCode.protocolError, settings(), data(0, Buffer.of(1))],
    "DATA on an idle stream": [errorCode.protocolError, settings(), data(1, Buffer.of(1))],
    "DATA that is all padding and more": [
      errorCode.protocolError,
      settings(),
      headers(1),
      frame(frameType.data, flag.padded, 1, Buffer.of(2, 0)),
    ],
    "DATA on a stream that has ended at both ends": [
      errorCode.streamClosed,
      settings(),
      headers(1),
      rstStream(1),
      data(1, Buffer.of(1)),
    ],
    "HEADERS on stream 0": [errorCode.protocolError, settings(), headers(0)],
    "HEADERS on a stream of the server's": [errorCode.protocolError, settings(), headers(2)],
    "HEADERS on a stream that was passed over": [errorCode.streamClosed, settings(), headers(3), headers(1)],
    "HEADERS with more padding than there is": [
      errorCode.protocolError,
      settings(),
      frame(frameType.headers, flag.padded | flag.endHeaders, 1, Buffer.of(9, 0x82)),
    ],
    "HEADERS too short for a priority": [
      errorCode.frameSizeError,
      settings(),
      frame(frameType.headers, flag.priority | flag.endHeaders, 1, Buffer.of(0, 0)),
    ],
    "a block that is no HPACK": [errorCode.compressionError, settings(), headers(1, true, Buffer.of(0xff, 0xff, 0xff))],
    "a block that another frame interrupts": [
      errorCode.protocolError,
      settings(),
      frame(frameType.headers, 0, 1, Buffer.of(0x82)),
      ping,
    ],
    "a block that DATA interrupts": [
      errorCode.protocolError,
      settings(),
      headers(1),
      frame(frameType.headers, 0, 3, Buffer.of(0x82)),
      data(1, Buffer.of(1)),
    ],
    "a block that another stream goes on with": [
      errorCode.protocolError,
      settings(),
      frame(frameType.headers, 0, 1, Buffer.of(0x82)),
      frame(frameType.continuation, flag.endHeaders, 3, Buffer.of(0x82)),
    ],
    "CONTINUATION of nothing": [
      errorCode.protocolError,
      settings(),
      frame(frameType.continuation, flag.endHeaders, 1, Buffer.of(0x82)),
    ],
    "PRIORITY on stream 0": [errorCode.protocolError, settings(), frame(frameType.priority, 0, 0, Buffer.alloc(5))],
    "RST_STREAM on stream 0": [errorCode.protocolError, settings(), rstStream(0)],
    "RST_STREAM on an idle stream": [errorCode.protocolError, settings(), rstStream(1)],
    "RST_STREAM of the wrong length": [
      errorCode.frameSizeError,
      settings(),
      headers(1),
      frame(frameType.rstStream, 0, 1, Buffer.alloc(3)),
    ],
    "SETTINGS on a stream": [errorCode.protocolError, settings(), frame(frameType.settings, 0, 1, Buffer.alloc(0))],
    "SETTINGS of the wrong length": [errorCode.frameSizeError, frame(frameType.settings, 0, 0, Buffer.alloc(5))],
    "an acknowledgement with settings": [
      errorCode.frameSizeError,
      settings(),
      frame(frameType.settings, flag.ack, 0, Buffer.alloc(6)),
    ],
    "a push": [errorCode.protocolError, settings(), frame(frameType.pushPromise, flag.endHeaders, 1, Buffer.alloc(4))],
    "PING on a stream": [errorCode.protocolError, settings(), frame(frameType.ping, 0, 1, Buffer.alloc(8))],
    "PING of the wrong length": [errorCode.frameSizeError, settings(), frame(frameType.ping, 0, 0, Buffer.alloc(7))],
    "GOAWAY on a stream": [errorCode.protocolError, settings(), frame(frameType.goaway, 0, 1, Buffer.alloc(8))],
    "GOAWAY that is too short": [errorCode.frameSizeError, settings(), frame(frameType.goaway, 0, 0, Buffer.alloc(7))],
    "WINDOW_UPDATE of nothing": [errorCode.protocolError, settings(), windowUpdate(0, 0)],
    "WINDOW_UPDATE too far": [errorCode.flowControlError, settings(), windowUpdate(0, 0x7fff_ffff)],
    "WINDOW_UPDATE on an idle stream": [errorCode.protocolError, settings(), windowUpdate(1, 1)],
    "WINDOW_UPDATE of the wrong length": [
      errorCode.frameSizeError,
      settings(),
      frame(frameType.windowUpdate, 0, 0, Buffer.alloc(3)),
    ],
    "settings that open a window too far": [
      errorCode.flowControlError,
      settings(),
      headers(1),
      windowUpdate(1, 0x7fff_ffff - 65_535),
      settings([4, 65_536]),
    ],
    "a frame that is too large": [
      errorCode.frameSizeError,
      settings(),
      frame(0xfa, 0, 0, Buffer.alloc(16_385)).subarray(0, 9),
    ],
  }
  for (const [what, [code, ...bad]] of Object.entries(wrong)) {
    test(`ends with GOAWAY and code ${code} for ${what}`, () => {
      const resets: Array<number> = []
      const failures: Array<number> = []
      const connection: Connection<never> = new Connection<never>(
        eventsOf<never>({
          reset: ({ id }) => resets.push(id),
          failed: (error) => failures.push(error.code),
        }),
        { role: "server" },
      )
      connection.receive(Buffer.concat([hello.subarray(0, 24), ...bad]))
      assert.deepEqual(failures, [code])
      const last = frames(connection.take()).at(-1)
      assert.equal(last?.type, frameType.goaway)
      assert.equal(last?.payload.readUInt32BE(4), code)
      assert.ok(connection.over)
    })
  }

  test("ends for what doesn't begin with the preface, at its first wrong byte", () => {
    const failures: Array<number> = []
    const connection = new Connection<never>(eventsOf<never>({ failed: ({ code }) => failures.push(code) }), {
      role: "server",
    })
    connection.receive(Buffer.from("PRI * HTTP/2.0\r\n"))
    assert.deepEqual(failures, [])
    connection.receive(Buffer.from("X"))
    assert.deepEqual(failures, [errorCode.protocolError])
  })

  test("bears what was under way on streams that it has cut short, however many", () => {
    const server = victim({ maxConcurrentStreams: 6000, maxResets: 1 })
    const ids = Array.from({ length: 6000 }, (_, i) => 2 * i + 1)
    for (const id of ids) server.send(headers(id))
    for (const id of ids) server.connection.reset(server.stream(id), errorCode.cancel)
    for (const id of ids) server.send(data(id, Buffer.of(1)))
    assert.deepEqual(server.failures, [])
  })

  test("gives bytes of which a slice is a copy, also if the socket's are a Buffer", () => {
    const kept: Array<Uint8Array> = []
    const server = victim({}, { data: (_, bytes, start, end) => kept.push(bytes.slice(start, end)) })
    const chunk = Buffer.concat([headers(1), data(1, Buffer.from("abc"))])
    server.send(chunk)
    chunk.fill(0)
    assert.equal(Buffer.concat(kept).toString(), "abc")
  })

  test("asks for no more of a request that it has answered", () => {
    const server = types(headers(1))
    server.connection.sendHeaders(server.stream(1), fields({ ":status": "404" }), true)
    server.flush()
    assert.deepEqual(server.resets(1), [errorCode.noError])
  })

  const goaways = ({ sent }: Pick<Victim, "sent">) =>
    sent.filter(({ type }) => type === frameType.goaway).map(({ payload }) => payload.readUInt32BE(0))
  const pong = (payload: Uint8Array) => frame(frameType.ping, flag.ack, 0, payload)

  test("that drains takes what was under way to it, and refuses what comes behind its last word", () => {
    const server = types(headers(1))
    server.connection.drain()
    server.send(headers(3, true), data(1, Buffer.of(1), true), pong(Buffer.alloc(8)), headers(5, true))
    assert.deepEqual([1, 3, 5].map(server.resets), [[], [], [errorCode.refusedStream]])
    assert.deepEqual(server.ended, [3, 1])
    assert.deepEqual(goaways(server), [0x7fff_ffff, 3])
  })

  test("never names a later stream as the last than it has before", () => {
    const server = types(headers(1))
    server.connection.part()
    server.send(headers(3))
    server.connection.drain()
    server.send(data(9, Buffer.of(1)))
    const last = goaways(server)
    assert.ok(last.length >= 2 && last.every((id) => id === 1), `${last}`)
  })

  test("that drains names its last stream when the PING of that is answered, and not an earlier one; and once", () => {
    const server = types(headers(1, true))
    server.connection.ping()
    server.connection.drain()
    server.connection.drain()
    server.flush()
    const [before, after, ...more] = server.sent.filter(({ type }) => type === frameType.ping)
    assert.ok(before !== undefined && after !== undefined && more.length === 0)
    server.send(pong(before.payload))
    assert.deepEqual(goaways(server), [0x7fff_ffff])
    server.send(pong(after.payload), pong(after.payload))
    assert.deepEqual(goaways(server), [0x7fff_ffff, 1])
  })

  test("that drains is done when it has named its last stream, without an answer too, and none is open", () => {
    const server = types(headers(1, true))
    server.connection.drain()
    server.flush()
    server.connection.part()
    server.flush()
    assert.deepEqual(goaways(server), [0x7fff_ffff, 1])
    assert.equal(server.connection.done, false)
    server.connection.sendHeaders(server.stream(1), fields({ ":status": "200" }), true)
    assert.equal(server.connection.done, true)
  })
})

describe("what is half there", () => {
  test("has another number for each frame and header block, and none when all is whole", () => {
    const { connection, send } = victim()
    const seen: Array<number> = []
    const note = (...parts: ReadonlyArray<Uint8Array>) => {
      send(...parts)
      seen.push(connection.half)
    }
    const [head, body] = [headers(1), data(1, Buffer.alloc(100))]
    note()
    note(head.subarray(0, 4))
    note(head.subarray(4, 12))
    note(head.subarray(12), body.subarray(0, 20))
    note(body.subarray(20, 30))
    note(body.subarray(30))
    const [none, first, same, second, alsoSecond, noneAgain] = seen
    assert.deepEqual([none, noneAgain], [0, 0])
    assert.ok(first !== 0 && first === same && second !== 0 && second !== first && second === alsoSecond)
    // A header block is one, however many frames it has.
    const [begin = Buffer.alloc(0), ...rest] = cut(block(requestFields), [10])
    seen.length = 0
    note(frame(frameType.headers, 0, 3, begin))
    for (const piece of rest) note(frame(frameType.continuation, 0, 3, piece).subarray(0, 9), piece)
    assert.equal(new Set(seen).size, 1)
    assert.notEqual(seen[0], 0)
    note(frame(frameType.continuation, flag.endHeaders, 3, Buffer.alloc(0)))
    note(frame(frameType.headers, 0, 5, begin))
    assert.equal(seen.at(-2), 0)
    assert.ok(seen.at(-1) !== 0 && seen.at(-1) !== seen[0])
  })
})
