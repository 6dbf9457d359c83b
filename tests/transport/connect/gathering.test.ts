import assert from "node:assert/strict"
import { Buffer } from "node:buffer"
import { describe, test } from "node:test"
import fc from "fast-check"
import { gather } from "../../../src/transport/connect/gathering.ts"
import { cut } from "../http2/support.ts"
import { envelope } from "../support.ts"

const maxBytes = 1000

const gathered = async (header: Readonly<Record<string, string>>, pieces: ReadonlyArray<Uint8Array>) => {
  const each = async function* () {
    yield* pieces
  }
  const all: Array<Buffer> = []
  for await (const piece of gather(new Headers(header), each(), maxBytes)) all.push(Buffer.from(piece))
  return all
}

const streams = { "content-type": "application/connect+proto" }
const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1 })

describe("a body that is gathered", () => {
  test("has what was sent, in whole messages, however it was cut", () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 100 })), sizes, async (messages, chunks) => {
        const sent = Buffer.concat(messages.map((message) => envelope(message)))
        const pieces = await gathered(streams, cut(sent, chunks))
        assert.deepEqual(Buffer.concat(pieces), sent)
        const ends = new Set<number>()
        for (const [i, _] of messages.entries()) {
          ends.add(messages.slice(0, i + 1).reduce((length, message) => length + 5 + message.length, 0))
        }
        let at = 0
        for (const { length } of pieces) {
          at += length
          assert.ok(ends.has(at), `a piece ends at ${at}`)
        }
      }),
    ))

  test("has what was sent, whatever it is and ends with", () =>
    fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 300 }),
        fc.constantFrom("application/connect+json", "application/grpc-web", "application/proto"),
        sizes,
        async (bytes, contentType, chunks) => {
          const pieces = await gathered({ "content-type": contentType }, cut(bytes, chunks))
          assert.deepEqual(Buffer.concat(pieces), Buffer.from(bytes))
        },
      ),
    ))

  test("passes on what says that it is too long as it comes, to be refused", async () => {
    const said = Buffer.of(0, 0, 0, 4, 0)
    for (const header of [streams, { "content-type": "application/grpc-web+json" }]) {
      assert.deepEqual(await gathered(header, [said, Buffer.alloc(7), said]), [said, Buffer.alloc(7), said])
    }
  })

  test("has few pieces where it has no envelopes, of bytes that came one by one", async () => {
    const single = Array.from({ length: 100_000 }, (_, i) => Buffer.of(i))
    const pieces = await gathered({ "content-type": "application/json" }, single)
    assert.deepEqual(Buffer.concat(pieces), Buffer.concat(single))
    assert.ok(pieces.length < 10, `${pieces.length} pieces`)
  })

  test("has no length that anything could be reserved for, unless it is to be refused", async () => {
    const none = async function* () {}
    for (const [length, left] of [
      ["1000", null],
      ["1001", "1001"],
    ] as const) {
      const header = new Headers({ "content-length": length })
      gather(header, none(), maxBytes)
      assert.equal(header.get("content-length"), left)
    }
  })
})
