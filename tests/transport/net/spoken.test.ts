import assert from "node:assert/strict"
import { test } from "node:test"
import { longestBeginning, spokenIn } from "../../../src/transport/net/spoken.ts"

const beginnings: ReadonlyArray<readonly [text: string, spoken: ReturnType<typeof spokenIn>]> = [
  ["", "unclear"],
  ["P", "unclear"],
  ["PRI *", "unclear"],
  ["PRI * HTTP/2.0\r\n", "http/2"],
  ["PUT", "unclear"],
  ["GET ", "http/1.1"],
  ["GET  / HTTP/1.1", "http/1.1"],
  ["PROPFIND ", "unclear"],
  ["PROPFIND /", "http/1.1"],
  ["OPTIONS *", "http/1.1"],
  ["INVALID CONNECTION PREFACE\r\n", "neither"],
  ["\x16\x03\x01", "neither"],
  ["get /", "neither"],
  [`${"A".repeat(33)}`, "neither"],
]

for (const [text, spoken] of beginnings) {
  test(`${JSON.stringify(text)} is ${spoken}`, () => assert.equal(spokenIn(text), spoken))
}

test("as many bytes as are looked at are enough to tell", () => {
  for (const [text] of beginnings) {
    assert.notEqual(spokenIn(`${text}${" ".repeat(longestBeginning)}`.slice(0, longestBeginning)), "unclear")
  }
})
