/**
 * Tests of Effects, alone and with something in common.
 */
import assert from "node:assert/strict"
import { after, before, test as nodeTest } from "node:test"
import { Effect, Exit, Scope } from "effect"

/**
 * A test of an Effect, in a scope of its own. Processes take longer than the runner gives a test by default; and it is
 * the Effect that ends when something hangs, so that they are stopped.
 */
export const test = <E>(name: string, body: () => Effect.Effect<void, E, Scope.Scope>): void => {
  const limited = Effect.timeout(Effect.scoped(Effect.suspend(body)), "30 seconds")
  nodeTest(name, { timeout: 60_000 }, () => Effect.runPromise(limited))
}

/**
 * What all the tests of a `describe` share, made before the first of them and closed after the last: to start a server
 * takes longer than most tests.
 */
export const shared = <A, E>(make: Effect.Effect<A, E, Scope.Scope>): (() => A) => {
  const scope = Scope.makeUnsafe()
  let made: { readonly value: A } | undefined
  before(async () => {
    made = { value: await Effect.runPromise(Effect.timeout(Scope.provide(make, scope), "50 seconds")) }
  })
  after(() => Effect.runPromise(Scope.close(scope, Exit.void)))
  return () => (made ?? assert.fail("what the tests share could not be made")).value
}
