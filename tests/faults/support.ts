/**
 * What the tests of faults share: servers that are processes, and calls that can be told apart.
 */
import assert from "node:assert/strict"
import { Cause, Effect, Random, type Scope } from "effect"
import { intercept } from "../../src/core/layers/intercept.ts"
import * as Backoff from "../../src/core/rpc/backoff.ts"
import type { ServeOptions } from "../../src/transport/server.ts"
import { file, running } from "../e2e/command.ts"
import { test } from "../effect.ts"
import type { Registering } from "./countingServer.ts"

/** Connects again at once, for tests that don't care how long to wait. */
export const eager: Backoff.Backoff = { ...Backoff.connection, initial: "20 millis", max: "100 millis" }

export type Counting = Effect.Success<ReturnType<typeof counting>>

/** A server that counts, for as long as the scope is open. */
export const counting = Effect.fnUntraced(function* (options: ServeOptions = {}, registering?: Registering) {
  const all: ServeOptions = { port: 0, grace: "1 minute", ...options }
  const args = registering === undefined ? [all] : [all, registering]
  const server = yield* running(file("tests/faults/countingServer.ts", ...args.map((arg) => JSON.stringify(arg))))
  const said = (pattern: RegExp) => Effect.promise(() => server.said(pattern))
  const [, port = ""] = yield* said(/port (\d+)\./)
  const finished = Effect.promise(() => server.finished)
  return {
    url: `http://127.0.0.1:${port}`,
    port: Number(port),
    said,
    /** Ends it in the middle of what it does. */
    kill: Effect.andThen(
      Effect.sync(() => server.signal("SIGKILL")),
      finished,
    ),
    /** Lets it stand still: its machine takes what comes for it, and it says nothing. */
    freeze: Effect.sync(() => server.signal("SIGSTOP")),
    /** Lets it take no more calls; what runs may end. */
    drain: Effect.sync(() => server.signal("SIGTERM")),
    /** Lets those calls end that it holds. */
    release: Effect.sync(() => server.signal("SIGUSR2")),
    /** How often it ran each call, once it has come to its end, and to a good one. */
    ran: Effect.map(finished, ({ code, stdout, stderr }) => {
      assert.deepEqual([code, stderr], [0, ""])
      const [, counts = ""] = /ran (.*)/.exec(stdout) ?? []
      return JSON.parse(counts) as ReadonlyArray<readonly [string, number]>
    }),
  }
})

/** Counts what happens, and waits for more of it. */
export const tally = () => {
  let count = 0
  const waiting = new Map<() => void, number>()
  return {
    count: () => count,
    add: () => {
      count++
      for (const [resume, at] of waiting) if (count >= at) resume()
    },
    more: (by: number) =>
      Effect.callback<void>((resume) => {
        const resumed = () => {
          waiting.delete(resumed)
          resume(Effect.void)
        }
        waiting.set(resumed, count + by)
      }),
  }
}

/** Runs an effect over and over, so many at a time, until it fails; the fiber ends with the first that does. */
export const over = <A, E>(effect: Effect.Effect<A, E>, atOnce: number) =>
  Effect.forkChild(
    Effect.all(
      Array.from({ length: atOnce }, () => Effect.forever(effect)),
      { concurrency: "unbounded", discard: true },
    ),
  )

/** A layer that gives each call an id, by which a server counts it: its method's name and a number. */
export const identified = () => {
  let ids = 0
  const id = (name: string): readonly [string, string] => ["x-id", `${name} ${++ids}`]
  const layer = intercept((call, next) => next({ ...call, metadata: [...call.metadata, id(call.method.name)] }))
  return { layer, ids: () => ids }
}

/** A test that draws from Effect's `Random`, and says with what seed if it fails; `SEED` sets it. */
export const testWithSeed = <E>(name: string, body: () => Effect.Effect<void, E, Scope.Scope>): void =>
  test(name, () => {
    const seed = process.env.SEED ?? `${Math.random()}`
    return body().pipe(
      Random.withSeed(seed),
      Effect.catchCause((cause) => Effect.die(new Error(`it fails with SEED=${seed}`, { cause: Cause.squash(cause) }))),
    )
  })
