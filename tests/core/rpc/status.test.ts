import assert from "node:assert/strict"
import { test } from "node:test"
import fc from "fast-check"
import * as Status from "../../../src/core/rpc/status.ts"

// grpc/doc/statuscodes.md, and the table "Error codes" of the Connect protocol (which has no line for ok).
const codes = [
  [0, "ok", 200],
  [1, "cancelled", 499],
  [2, "unknown", 500],
  [3, "invalid_argument", 400],
  [4, "deadline_exceeded", 504],
  [5, "not_found", 404],
  [6, "already_exists", 409],
  [7, "permission_denied", 403],
  [8, "resource_exhausted", 429],
  [9, "failed_precondition", 400],
  [10, "aborted", 409],
  [11, "out_of_range", 400],
  [12, "unimplemented", 501],
  [13, "internal", 500],
  [14, "unavailable", 503],
  [15, "data_loss", 500],
  [16, "unauthenticated", 401],
] as const

// grpc/doc/http-grpc-status-mapping.md, and "HTTP to Error Code" of the Connect protocol: they agree.
const fromHttp = new Map<number, Status.Code>([
  [400, "internal"],
  [401, "unauthenticated"],
  [403, "permission_denied"],
  [404, "unimplemented"],
  [429, "unavailable"],
  [502, "unavailable"],
  [503, "unavailable"],
  [504, "unavailable"],
])

const anyCase = (name: string) =>
  fc
    .array(fc.boolean(), { minLength: name.length, maxLength: name.length })
    .map((upper) => Array.from(name, (letter, i) => (upper[i] ? letter.toUpperCase() : letter)).join(""))

test("each of the 17 codes has its number, both ways", () => {
  assert.deepEqual(
    Status.names,
    codes.map(([, name]) => name),
  )
  for (const [number, name] of codes) {
    assert.equal(Status.toNumber(name), number)
    assert.equal(Status.fromNumber(number), name)
  }
})

test("a number that gRPC doesn't define is unknown", () => {
  const undefinedNumber = fc.oneof(fc.integer(), fc.double()).filter((n) => !(Number.isInteger(n) && n >= 0 && n <= 16))
  fc.assert(fc.property(undefinedNumber, (number) => assert.equal(Status.fromNumber(number), "unknown")))
  for (const number of [-1, 17, 1.5, Number.NaN]) assert.equal(Status.fromNumber(number), "unknown")
})

test("a name is found in any case, and cancelled in either spelling", () => {
  const spelled = [...codes.map(([, name]) => [name, name] as const), ["canceled", "cancelled"] as const]
  for (const [text, name] of spelled) {
    assert.equal(Status.fromName(text), name)
    assert.equal(Status.fromName(text.toUpperCase()), name)
    fc.assert(fc.property(anyCase(text), (cased) => assert.equal(Status.fromName(cased), name)))
  }
})

test("any other name is no code", () => {
  const known = new Set<string>([...Status.names, "canceled"])
  fc.assert(
    fc.property(
      fc.string().filter((name) => !known.has(name.toLowerCase())),
      (name) => assert.equal(Status.fromName(name), undefined),
    ),
  )
  for (const name of ["", "0", "constructor", "not found", "NOT-FOUND", " ok"]) {
    assert.equal(Status.fromName(name), undefined)
  }
})

test("each code has the HTTP status of the Connect protocol", () => {
  for (const [, name, http] of codes) assert.equal(Status.toHttp(name), http, name)
})

test("each HTTP status has the code of both specifications, and what they don't name is unknown", () => {
  for (let http = 100; http < 600; http++)
    assert.equal(Status.fromHttp(http), fromHttp.get(http) ?? "unknown", `${http}`)
})
