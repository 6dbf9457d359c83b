import assert from "node:assert/strict"
import { describe, test } from "node:test"
import { Sightings } from "../../../src/transport/http2/hpackSightings.ts"

describe("sightings", () => {
  test("tell what comes again from what comes once", () => {
    const sightings = new Sightings()
    const hashes = [1, 2, 62, -5, 0x7fff_ffff]
    assert.ok(hashes.every((hash) => !sightings.again(hash)))
    for (let again = 0; again < 2; again++) assert.ok(hashes.every((hash) => sightings.again(hash)))
  })

  test("forget what another hash has taken the place of", () => {
    const sightings = new Sightings()
    assert.deepEqual(
      [1, 65, 1, 1].map((hash) => sightings.again(hash)),
      [false, false, false, true],
    )
  })
})
