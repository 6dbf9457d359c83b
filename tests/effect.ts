/**
 * Tests that are Effects, under `node:test`, which Bun, Deno and Node all run.
 */
import { test as nodeTest } from "node:test"
import { Effect, type Scope } from "effect"
import { TestClock } from "effect/testing"

/** A test of an Effect, in a scope of its own that closes when the test ends. */
export const test = <E>(name: string, body: () => Effect.Effect<void, E, Scope.Scope>): void => {
  nodeTest(name, () => Effect.runPromise(Effect.scoped(Effect.suspend(body))))
}

/** The same under a `TestClock`: time stands still but for `TestClock.adjust`. */
export const testWithClock = <E>(name: string, body: () => Effect.Effect<void, E, Scope.Scope>): void =>
  test(name, () => Effect.provide(body(), TestClock.layer()))
