import assert from "node:assert/strict"
import { describe } from "node:test"
import { Duration, Effect } from "effect"
import { staticRegistry } from "../../../src/core/discovery/static.ts"
import { test } from "../../effect.ts"
import { settle } from "../support.ts"
import { present, watching } from "./support.ts"

describe("a static registry", () => {
  const registry = staticRegistry([{ address: "a:1" }, { address: "b:2" }, { address: "a:1" }])

  test("has its endpoints for every service, each once, and they stay", () =>
    Effect.gen(function* () {
      const { seen, fiber } = yield* watching(registry, "any")
      yield* settle
      assert.deepEqual(seen, [["a:1", "b:2"]])
      assert.equal(fiber.pollUnsafe(), undefined)
      assert.deepEqual(yield* present(registry, "another"), ["a:1", "b:2"])
    }))

  test("takes no registrations", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(registry.register("pi", { address: "c:3" }, Duration.seconds(5)))
      assert.equal(error.code, "unimplemented")
      assert.match(error.message, /c:3 can't be registered/)
    }))
})
