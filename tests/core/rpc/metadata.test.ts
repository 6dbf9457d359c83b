import assert from "node:assert/strict"
import { test } from "node:test"
import { Result } from "effect"
import fc from "fast-check"
import * as Metadata from "../../../src/core/rpc/metadata.ts"

const bytes = new Uint8Array([0, 255])

const isBinary = (key: string) => key.toLowerCase().endsWith("-bin")
const key = fc.stringMatching(/^[0-9A-Za-z_.-]{1,12}$/).filter((key) => !Metadata.isReserved(key.toLowerCase()))
const textKey = key.filter((key) => !isBinary(key))
const binaryKey = fc.tuple(key, fc.constantFrom("-bin", "-Bin", "-BIN")).map((parts) => parts.join(""))
const text = fc.stringMatching(/^[\x20-\x7e]{0,20}$/)
const entry: fc.Arbitrary<readonly [string, Metadata.Value]> = fc.oneof(
  fc.tuple(textKey, text),
  fc.tuple(binaryKey, fc.uint8Array({ maxLength: 20 })),
)
const metadata = fc.array(entry).map(Metadata.of)

/** What is said about an entry that can't be sent; it must name the key. */
const refusal = (key: string, value: Metadata.Value): string => {
  const made = Metadata.make([
    ["fine", "text"],
    [key, value],
  ])
  assert.ok(Result.isFailure(made), `${key} is taken`)
  assert.ok(made.failure instanceof Metadata.MetadataError)
  assert.equal(made.failure.key, key)
  const named = JSON.stringify(key).replace("ä", "\\u00e4").replace("\u0130", "\\u0130")
  assert.ok(made.failure.message.includes(named), made.failure.message)
  return made.failure.message
}

test("valid entries are all kept, in order, under keys in lower case", () => {
  fc.assert(
    fc.property(fc.array(entry), (entries) => {
      assert.deepEqual(
        Result.getOrThrow(Metadata.make(entries)),
        entries.map(([key, value]) => [key.toLowerCase(), value]),
      )
    }),
  )
})

test("a record gives an entry for each value of a list, in its place", () => {
  assert.deepEqual(Metadata.of({ B: ["1", "2"], a: "3", none: [], "t-bin": [bytes, new Uint8Array()] }), [
    ["b", "1"],
    ["b", "2"],
    ["a", "3"],
    ["t-bin", bytes],
    ["t-bin", new Uint8Array()],
  ])
})

test("a key of other characters than letters, digits, '-', '_' and '.' is refused", () => {
  for (const key of ["", " ", "a b", "ä", "a:b", "a/b", "a\n", "a,b", "K\u0130"]) {
    assert.match(refusal(key, "text"), /other characters than letters, digits, "-", "_" and "\."/)
  }
})

test("a key that the protocols keep for themselves is refused, in any case", () => {
  const reserved = ["grpc-timeout", "grpc-", "connect-protocol-version", "content-type", "content-length", "te"]
  const hops = ["connection", "host", "keep-alive", "proxy-connection", "trailer", "transfer-encoding", "upgrade"]
  for (const key of [...reserved, ...hops, "accept-encoding", "content-encoding", "grpc-status-details-bin"]) {
    assert.ok(Metadata.isReserved(key))
    assert.match(refusal(key, "text"), /reserved/)
    assert.match(refusal(key.toUpperCase(), "text"), /reserved/)
  }
  assert.ok(Metadata.isReserved(":path"))
  for (const key of ["x-grpc-", "grpcx", "authorization", "user-agent", "x-content-type"]) {
    assert.ok(!Metadata.isReserved(key))
    assert.deepEqual(Metadata.of({ [key]: "text" }), [[key, "text"]])
  }
})

test("text under a -bin key is refused, and bytes under any other", () => {
  fc.assert(
    fc.property(text, binaryKey, textKey, fc.uint8Array(), (text, binaryKey, textKey, bytes) => {
      assert.match(refusal(binaryKey, text), /ends in "-bin", so its value must be bytes/)
      assert.match(refusal(textKey, bytes), /must end in "-bin"/)
    }),
  )
})

test("text that is not printable ASCII is refused, and -bin named as the way out", () => {
  for (const value of ["a\nb", "a\r\nset-cookie: b", "\t", "\x7f", "\0", "é", "π", "😀"]) {
    assert.match(refusal("X-Text", value), /not printable ASCII.*"x-text-bin"/)
  }
})

test("the first bad entry is the one that is told", () => {
  const made = Metadata.make({ fine: "text", "first bad": "text", te: "text" })
  assert.ok(Result.isFailure(made) && made.failure.key === "first bad")
})

test("of gives what make gives, and throws what make fails with", () => {
  assert.deepEqual(Metadata.of([["A", "1"]]), [["a", "1"]])
  assert.throws(() => Metadata.of({ "bad key": "1" }), { _tag: "MetadataError", key: "bad key" })
})

test("a key is looked up in any case: its first value, its first text, all its values in order", () => {
  const sent = Metadata.of([
    ["Trace-Bin", bytes],
    ["x", "1"],
    ["y", "2"],
    ["X", "3"],
  ])
  for (const key of ["x", "X"]) {
    assert.equal(Metadata.get(sent, key), "1")
    assert.equal(Metadata.getText(sent, key), "1")
    assert.deepEqual(Metadata.getAll(sent, key), ["1", "3"])
  }
  assert.equal(Metadata.get(sent, "TRACE-BIN"), bytes)
  assert.equal(Metadata.getText(sent, "trace-bin"), undefined)
  assert.equal(Metadata.get(sent, "z"), undefined)
  assert.deepEqual(Metadata.getAll(sent, "z"), [])
})

test("concat gives the first one's entries, then the second's", () => {
  fc.assert(
    fc.property(metadata, metadata, (first, second) => {
      assert.deepEqual(Metadata.concat(first, second), [...first, ...second])
    }),
  )
  assert.deepEqual(Metadata.concat(Metadata.empty, Metadata.empty), [])
})
