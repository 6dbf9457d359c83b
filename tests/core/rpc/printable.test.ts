import assert from "node:assert/strict"
import { test } from "node:test"
import { Cause } from "effect"
import { escaped, printable, printableCause, quoted, withoutUser } from "../../../src/core/rpc/printable.ts"

// What moves a terminal's cursor, rings, ends a line, begins a sequence of C1, turns text around, is no text.
const hostile = "\u001b[31m \u0007 \r\n \u009b2J \u202e \u2028 \u007f \ud800"
const harmless = "\\u001b[31m \\u0007 \\r\\n \\u009b2J \\u202e \\u2028 \\u007f \\ud800"

test("what a terminal would obey is written as JSON writes it, and all else as it is", () => {
  assert.equal(escaped(hostile), harmless)
  for (const text of ["", "plain", "ä € 漢 🙂", 'a "b" \\n']) assert.equal(escaped(text), text)
})

test("JSON stays the same JSON", () => {
  assert.deepEqual(JSON.parse(escaped(JSON.stringify({ hostile }))), { hostile })
  assert.equal(JSON.parse(quoted(hostile)), hostile)
})

test("a text is in quotes where it could be taken for another one", () => {
  assert.deepEqual(["key", "", '"key"', "a\nb"].map(printable), ["key", '""', '"\\"key\\""', '"a\\nb"'])
})

test("a cause without anything unprintable is itself", () => {
  const cause = Cause.die(new Error("no", { cause: new Error("why") }))
  assert.equal(printableCause(cause), cause)
})

test("a cause says nothing raw, however deep it is, and still says where", () => {
  const inner = new Error(hostile)
  for (const cause of [
    Cause.die(inner),
    Cause.fail(inner),
    Cause.die(hostile),
    Cause.die(new Error("outer", { cause: inner })),
  ]) {
    const text = Cause.pretty(printableCause(cause))
    assert.ok(text.includes(harmless), text)
    assert.doesNotMatch(text.replaceAll("\n", ""), /\p{C}/u)
  }
  assert.match(Cause.pretty(printableCause(Cause.die(inner))), /\n +at .*printable\.test/)
})

test("errors that are each other's cause have an end", () => {
  const error = new Error(hostile)
  error.cause = error
  assert.match(Cause.pretty(printableCause(Cause.die(error))), /u001b/)
})

test("nothing of a URL is shown that stands before an @", () => {
  for (const [url, shown] of [
    ["http://example.org/a", "http://example.org/a"],
    ["http://ada:sec@ret@one:80", "http://…@one:80"],
    ["redis-cluster://:secret@one,two", "redis-cluster://…@one,two"],
    ["secret:word@one", "…@one"],
    ["etcd:/ada:secret@one", "…@one"],
    ["http://ada:sec\nret@one", "http://…@one"],
  ] as const) {
    assert.equal(withoutUser(url), shown)
  }
})
